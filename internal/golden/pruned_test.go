package golden

import (
	"context"
	"strings"
	"testing"

	"coffer/snapshot/gc"
	"coffer/store"
)

// TestReaderPruned forgets one of two snapshots and prunes, and reads what is
// left with both readers; once with the new generation closed, and once while a
// session keeps it open.
func TestReaderPruned(t *testing.T) {
	needPython(t)
	for name, open := range map[string]bool{"closed": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			r, want := build(t, t.TempDir(), nil)
			secret, err := r.secret()
			must(t, err)
			s, err := r.open(ctx, secret)
			must(t, err)
			if open {
				w, err := s.Begin(ctx)
				must(t, err)
				defer func() { must(t, w.Abort(ctx)) }()
			}
			snaps, err := snapshots(ctx, s)
			must(t, err)
			must(t, s.Forget(ctx, []string{snaps[0].ID}))
			p, err := s.PlanPrune(ctx, store.PruneOptions{Marker: gc.New("", s, nil), RepackBelow: 0.99})
			must(t, err)
			rep, err := p.Run(ctx)
			must(t, err)
			p.Close()
			if rep.Generation != 1 || (len(rep.Waiting) > 0) != open {
				t.Fatalf("%+v", rep)
			}
			want = want[strings.LastIndex(want, "snapshot "):]
			text, damage, err := found(ctx, r, secret)
			if err != nil || len(damage) > 0 && !open {
				t.Fatal(err, damage)
			}
			same(t, text, want)
			same(t, r.readAll(t), want)
			r.mustRead(t, "check")
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
