package simulate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket"
	"coffer/store"
)

// A lie is a listing that is not true.
type lie struct {
	name string
	tell func(page []bucket.Info) []bucket.Info
}

func lies() []lie {
	return []lie{
		{"empty", func([]bucket.Info) []bucket.Info { return nil }},
		{"without the first", func(p []bucket.Info) []bucket.Info { return p[min(1, len(p)):] }},
		{"without the last", func(p []bucket.Info) []bucket.Info { return p[:max(0, len(p)-1)] }},
		{"without the middle", func(p []bucket.Info) []bucket.Info {
			return slices.Delete(slices.Clone(p), len(p)/3, min(len(p), len(p)/3+max(1, len(p)/3)))
		}},
	}
}

// TestListingLies lets one listing of a prune lie, each in turn, or all of one
// kind: it may refuse, and it may find nothing to do, but what is valid stays.
func TestListingLies(t *testing.T) {
	base, step := newRepo(t), 1
	if testing.Short() {
		step = 5
	}
	prunes := func(a *actor) error { return fullPrune(a, store.PruneOptions{RepackBelow: 0.9, Wait: time.Hour}) }
	for _, v := range []struct {
		name string
		from stage
		do   func(*actor) error
	}{{"prune", aged(t, base), prunes}, {"close", opened(t, base), prunes}, {"tidy", crowded(t, base), tidy}, {"tidy while it is open", opened(t, base), tidy}} {
		for _, l := range lies() {
			t.Run(v.name+"/"+l.name, func(t *testing.T) {
				t.Parallel()
				n := tell(t, v.from, v.do, l, func(int, string) bool { return false })
				for k := 0; k < n; k += step {
					tell(t, v.from, v.do, l, func(i int, _ string) bool { return i == k })
				}
				for _, prefix := range []string{"packs/", "index/", "catalogue/", "sessions/", "asks/"} {
					tell(t, v.from, v.do, l, func(_ int, p string) bool { return strings.HasPrefix(p, prefix) })
				}
			})
		}
	}
}

// tell runs a prune among lies and returns how many listings it made.
func tell(t *testing.T, from stage, do func(*actor) error, l lie, when func(int, string) bool) (listings int) {
	t.Helper()
	w := simulate(t, calm(true, 1), from, func(w *world) {
		w.lie = func(_ *port, prefix string, page []bucket.Info) []bucket.Info {
			if prefix == "keys/" {
				return page
			}
			listings++
			if when(listings-1, prefix) {
				w.log("-", "LIE", prefix, l.name)
				return l.tell(page)
			}
			return page
		}
		w.start("victim0", 1, do)
	})
	if w.failed != nil {
		t.Errorf("%s: %s", l.name, w.report())
	}
	return listings
}
