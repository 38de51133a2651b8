package capture

import (
	"context"
	"errors"
	"strings"
	"testing"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// decoded returns the snapshots among commits.
func decoded(commits []store.Commit) ([]snapshot.Snapshot, error) {
	records := make([]snapshot.Record, len(commits))
	for i, c := range commits {
		records[i] = snapshot.Record(c)
	}
	return snapshot.Collect(records, nil)
}

// A fencing place fails the first commits as a prune does that took the session
// for dead.
type fencing struct {
	Place
	left int
}

func (f *fencing) Begin(ctx context.Context) (Keeper, error) {
	k, err := f.Place.Begin(ctx)
	return &fencedKeeper{k, f}, err
}

type fencedKeeper struct {
	Keeper
	f *fencing
}

func (k *fencedKeeper) Commit(ctx context.Context, payload []byte) (store.Commit, error) {
	if k.f.left > 0 {
		k.f.left--
		return store.Commit{}, errors.Join(store.ErrFenced, k.Abort(ctx))
	}
	return k.Keeper.Commit(ctx, payload)
}

func TestFencedCaptureBeginsAgain(t *testing.T) {
	r := newRig(t)
	want := faultTree(r)
	rep, err := RunAt(context.Background(), &fencing{here{r.s}, 2}, r.opt)
	if err != nil || rep.Snapshot.State != snapshot.Complete {
		t.Fatalf("%+v, %v", rep, err)
	}
	got := r.content(rep.Snapshot.Manifest)
	for p, w := range want {
		if got[p] != w {
			t.Errorf("%s holds %q", p, got[p])
		}
	}
	if _, err := RunAt(context.Background(), &fencing{here{r.s}, 3}, r.opt); !errors.Is(err, store.ErrFenced) {
		t.Errorf("fenced time and again: %v", err)
	}
}

// A losing place is one in which repair has found some chunks lost.
type losing struct {
	Place
	lost map[chunk.ID]bool
}

func (l losing) Begin(ctx context.Context) (Keeper, error) {
	k, err := l.Place.Begin(ctx)
	return &losingKeeper{k, l.lost}, err
}

type losingKeeper struct {
	Keeper
	lost map[chunk.ID]bool
}

func (k *losingKeeper) AnyLost() bool         { return len(k.lost) > 0 }
func (k *losingKeeper) Lost(id chunk.ID) bool { return k.lost[id] }

func TestLostContentIsReadAgain(t *testing.T) {
	r := newRig(t)
	faultTree(r)
	r.run()
	if rep := r.run(); rep.Unmodified != 13 || rep.Changed != 0 {
		t.Fatalf("%+v", rep)
	}
	small := chunk.Sum(chunk.Data, []byte(strings.Repeat("content 4 ", 200)))
	rep, err := RunAt(context.Background(), losing{here{r.s}, map[chunk.ID]bool{small: true}}, r.opt)
	if err != nil || rep.Changed != 1 || rep.Unmodified != 12 {
		t.Errorf("%+v, %v", rep, err)
	}
}
