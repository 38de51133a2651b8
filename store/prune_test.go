package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/chunk"
	"coffer/store"
)

// A listMarker takes payloads for what they are in these tests: the IDs of the
// chunks that the commit needs.
type listMarker struct{}

func (listMarker) Mark(_ context.Context, _ store.MarkView, commits []store.Commit, live *store.LiveSet) error {
	for _, c := range commits {
		for b := c.Payload; len(b) > 0; b = b[chunk.IDSize:] {
			live.Add(chunk.ID(b[:chunk.IDSize]))
		}
	}
	return nil
}

// needs is the payload that names all pieces.
func needs(list []piece) string {
	var b []byte
	for _, id := range ids(list) {
		b = append(b, id[:]...)
	}
	return string(b)
}

// keep backs pieces up under a payload that names them.
func keep(t testing.TB, s *store.Store, list []piece) store.Commit {
	t.Helper()
	return mustBackup(t, s, needs(list), list)
}

func pruneOptions() store.PruneOptions { return store.PruneOptions{Marker: listMarker{}} }

func prune(t testing.TB, s *store.Store, opt store.PruneOptions) (*store.PrunePlan, store.PruneReport) {
	t.Helper()
	p, err := s.PlanPrune(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rep, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p, rep
}

func forget(t testing.TB, s *store.Store, commits ...store.Commit) {
	t.Helper()
	var list []string
	for _, c := range commits {
		list = append(list, c.ID)
	}
	if err := s.Forget(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// stored returns the number of objects under prefix and their bytes.
func stored(t testing.TB, b bucket.Bucket, prefix string) (n int, bytes int64) {
	t.Helper()
	for info, err := range b.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		bytes += info.Size
	}
	return n, bytes
}

func TestPruneFreesWhatWasForgotten(t *testing.T) {
	s, b := newRepo(t)
	shared, old, young := pieces(1, 60), pieces(2, 60), pieces(3, 60)
	c := keep(t, s, append(old[:60:60], shared...))
	keep(t, s, append(young[:60:60], shared...))
	_, before := stored(t, b, "packs/")
	forget(t, s, c)
	p, rep := prune(t, s, pruneOptions())
	if len(p.Drop) != 1 || rep.Dropped != 1 || rep.Generation != 1 {
		t.Errorf("plan drops %v, report %+v", p.Drop, rep)
	}
	_, after := stored(t, b, "packs/")
	if after > before*7/10 {
		t.Errorf("%d bytes before, %d after a third was forgotten", before, after)
	}
	if rep.Freed < (before-after)*9/10 || rep.Freed > (before-after)*11/10 {
		t.Errorf("it says that %d bytes are free, and they are %d", rep.Freed, before-after)
	}
	for _, s := range []*store.Store{s, openRepo(t, b)} {
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkLoads(t, s, append(shared[:60:60], young...))
		checkClean(t, s)
		if got := payloads(t, s); len(got) != 1 || got[c.ID] != "" {
			t.Errorf("%d commits, the dropped one has %d bytes", len(got), len(got[c.ID]))
		}
	}
	if p, rep := prune(t, s, pruneOptions()); !p.Idle() || rep.Removed.Objects != 0 {
		t.Errorf("the second prune has something to do: %+v, %+v", p, rep)
	}
	keep(t, s, old)
	checkLoads(t, s, old)
	checkClean(t, s)
}

func TestPruneMergesWhatManySmallSessionsLeave(t *testing.T) {
	s, b := newRepo(t)
	var all []piece
	for i := range 300 {
		list := pieces(uint64(i), 4)
		keep(t, s, list)
		all = append(all, list...)
		if err := s.Tidy(t.Context(), listMarker{}); err != nil {
			t.Fatal(err)
		}
		if n, _ := stored(t, b, "fates/"); n > 200 {
			t.Fatalf("after %d sessions there are %d fates", i+1, n)
		}
		if n, _ := stored(t, b, "index/"); n > 200 {
			t.Fatalf("after %d sessions there are %d segments", i+1, n)
		}
	}
	prune(t, s, pruneOptions())
	prune(t, s, pruneOptions())
	for prefix, most := range map[string]int{"packs/": 60, "index/": 20, "catalogue/": 30, "fates/": 80, "sessions/": 80} {
		if n, _ := stored(t, b, prefix); n > most {
			t.Errorf("%d objects in %s, want at most %d", n, prefix, most)
		}
	}
	fresh := openRepo(t, b)
	checkLoads(t, fresh, all)
	checkClean(t, fresh)
	if got := payloads(t, fresh); len(got) != 300 {
		t.Errorf("%d commits", len(got))
	}
}

func TestPruneRescuesWhatASessionReliesOn(t *testing.T) {
	s, b := newRepo(t)
	old := pieces(1, 80)
	c := keep(t, s, old)
	other := openRepo(t, b)
	w, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forget(t, s, c)
	if _, rep := prune(t, s, pruneOptions()); len(rep.Waiting) != 1 || !rep.Waiting[0].Writer || rep.Removed.Objects != 0 {
		t.Fatalf("with a session under way: %+v", rep)
	}
	if err := save(t.Context(), w, old); err != nil { // found in packs that are condemned by now
		t.Fatal(err)
	}
	if st := w.Stats(); st.NewChunks != 0 {
		t.Fatalf("%d chunks were stored again", st.NewChunks)
	}
	if _, err := w.Commit(t.Context(), []byte(needs(old))); err != nil {
		t.Fatal(err)
	}
	later := keep(t, openRepo(t, b), pieces(2, 20)) // while the generation is open
	if _, err := s.PlanPrune(t.Context(), pruneOptions()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*store.Store{s, openRepo(t, b)} {
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkLoads(t, s, old)
		checkClean(t, s)
		if got := payloads(t, s); len(got) != 2 || got[w.ID()] == "" || got[later.ID] == "" {
			t.Errorf("%d commits", len(got))
		}
	}
}

// noLocks hides that a bucket knows who is alive.
type noLocks struct{ bucket.Bucket }

func TestPruneFencesASessionThatDoesNotBeat(t *testing.T) {
	_, inner := newRepo(t)
	b := noLocks{inner}
	s := openRepo(t, b)
	c := keep(t, s, pieces(1, 30))
	w, err := openRepo(t, b).Begin(t.Context()) // its first beat is a minute away
	if err != nil {
		t.Fatal(err)
	}
	if err := save(t.Context(), w, pieces(1, 30)); err != nil {
		t.Fatal(err)
	}
	forget(t, s, c)
	opt := pruneOptions()
	opt.Wait, opt.Patience = time.Minute, 50*time.Millisecond
	if _, rep := prune(t, s, opt); len(rep.Waiting) != 0 || rep.Removed.Objects == 0 {
		t.Fatalf("%+v", rep)
	}
	if _, err := w.Commit(t.Context(), []byte(needs(pieces(1, 30)))); !errors.Is(err, store.ErrFenced) {
		t.Errorf("commit of a session that was taken for dead: %v", err)
	}
	if got := payloads(t, openRepo(t, b)); len(got) != 0 {
		t.Errorf("%d commits", len(got))
	}
}

func TestBeatsKeepASessionAlive(t *testing.T) {
	_, inner := newRepo(t)
	b := noLocks{inner}
	s := openRepo(t, b)
	c := keep(t, s, pieces(1, 30))
	env := new(logbook).env()
	env.BeatEvery = 5 * time.Millisecond
	w, err := openWith(t, b, env).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forget(t, s, c)
	opt := pruneOptions()
	opt.Wait, opt.Patience = time.Second, 300*time.Millisecond
	if _, rep := prune(t, s, opt); len(rep.Waiting) != 1 {
		t.Fatalf("%+v", rep)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, rep := prune(t, s, opt); len(rep.Waiting) != 0 {
		t.Fatalf("%+v", rep)
	}
	prune(t, s, opt)
	if n, _ := stored(t, b, "packs/"); n != 0 {
		t.Errorf("%d packs are left", n)
	}
}

func TestReaderOfAForgottenSnapshotFinishes(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(1, 80)
	c := keep(t, s, list)
	env := new(logbook).env()
	env.PollEvery = time.Millisecond
	r := openWith(t, b, env)
	err := r.Read(t.Context(), []string{c.ID}, func(context.Context) error {
		forget(t, s, c)
		prune(t, s, pruneOptions())
		time.Sleep(20 * time.Millisecond)
		prune2, err := s.PlanPrune(t.Context(), pruneOptions())
		var wait *store.WaitError
		if !errors.As(err, &wait) {
			t.Errorf("another prune: %v, %v", prune2, err)
		}
		checkLoads(t, r, list)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.PlanPrune(t.Context(), pruneOptions()); err != nil || !p.Idle() {
		t.Errorf("%+v, %v", p, err)
	}
	if n, _ := stored(t, b, "packs/"); n != 0 {
		t.Errorf("%d packs are left", n)
	}
	if err := r.Read(t.Context(), []string{c.ID}, func(context.Context) error { return nil }); !errors.Is(err, store.ErrGone) {
		t.Errorf("reading what is gone: %v", err)
	}
}

func TestReaderMovesOn(t *testing.T) {
	s, b := newRepo(t)
	gone, list := keep(t, s, pieces(1, 40)), pieces(2, 40)
	c := keep(t, s, list)
	env := new(logbook).env()
	env.PollEvery = time.Millisecond
	r := openWith(t, b, env)
	err := r.Read(t.Context(), []string{c.ID}, func(context.Context) error {
		forget(t, s, gone)
		opt := pruneOptions()
		opt.Wait = time.Minute
		if _, rep := prune(t, s, opt); len(rep.Waiting) != 0 || rep.Removed.Objects == 0 {
			t.Errorf("%+v", rep)
		}
		checkLoads(t, r, list)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPruneRefusesAListingThatLies(t *testing.T) {
	for _, prefix := range []string{"packs/", "index/", "catalogue/"} {
		s, b := newRepo(t)
		first := keep(t, s, pieces(1, 60))
		keep(t, s, pieces(2, 60))
		prune(t, s, pruneOptions())
		keep(t, s, pieces(3, 60))
		forget(t, s, first)
		prune(t, s, pruneOptions())
		forget(t, s, keep(t, s, pieces(4, 60)))
		before := objects(t, b)
		lie := func(name string) bool { return strings.HasPrefix(name, prefix) }
		liar := openRepo(t, shortList{b, lie})
		p, err := liar.PlanPrune(t.Context(), pruneOptions())
		if err == nil {
			_, err = p.Run(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), "listing lacks") {
			t.Errorf("prune believes a listing without %s: %v", prefix, err)
		}
		for name := range before {
			if _, err := buckettest.Read(t.Context(), b, name, 0, -1); err != nil {
				t.Errorf("%s is gone: %v", name, err)
			}
		}
	}
}

// A shortList leaves the last of certain names out of its listings.
type shortList struct {
	bucket.Bucket
	lie func(string) bool
}

func (b shortList) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		var held []bucket.Info
		for info, err := range b.Bucket.List(ctx, prefix, after) {
			if err == nil && b.lie(info.Name) {
				if held = append(held, info); len(held) < 2 {
					continue
				}
				info, held = held[0], held[1:]
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestTidyGathersVerySmallPacks(t *testing.T) {
	s, b := newRepo(t)
	var all []piece
	for i := range 400 {
		list := []piece{{chunk.Data, fmt.Appendf(nil, "data %d", i)}, {chunk.Tree, fmt.Appendf(nil, "tree %d", i)}}
		keep(t, s, list)
		all = append(all, list...)
		if err := s.Tidy(t.Context(), listMarker{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := stored(t, b, "packs/"); n > 250 {
		t.Errorf("400 sessions left %d packs", n)
	}
	fresh := openRepo(t, b)
	checkLoads(t, fresh, all)
	checkClean(t, fresh)
}

func TestThoroughPruneLeavesNothingDead(t *testing.T) {
	s, _ := newRepo(t)
	secret := []piece{{chunk.Data, []byte("the secret")}}
	list := pieces(1, 200)
	both := keep(t, s, append(list[:200:200], secret...)) // in one block with others that stay
	keep(t, s, list)
	forget(t, s, both)
	has := func() bool {
		t.Helper()
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		ok, err := s.Has(t.Context(), secret[0].id())
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	prune(t, s, pruneOptions())
	if !has() {
		t.Fatal("an ordinary prune wrote a pack again for a few bytes: this test proves nothing")
	}
	opt := pruneOptions()
	opt.Thorough = true
	if _, rep := prune(t, s, opt); has() || rep.Copied == 0 {
		t.Errorf("the secret is still there: %+v", rep)
	}
	checkLoads(t, s, list)
	checkClean(t, s)
	if p, _ := prune(t, s, opt); !p.Idle() {
		t.Errorf("a second thorough prune has something to do: %+v", p)
	}
}
