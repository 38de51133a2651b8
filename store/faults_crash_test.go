package store_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"coffer/bucket"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
	"coffer/seal"
	"coffer/store"
)

// A prunable is a repository on a disk that forgets. It has been pruned once, and
// the next prune has something of everything to do: a commit to drop, packs that
// are dead, packs to write again, old records and pieces.
type prunable struct {
	base  *crashfs.FS
	stays []piece
	keeps []store.Commit
	gone  store.Commit
	was   []piece // of gone alone
}

func newPrunable(t testing.TB) *prunable {
	t.Helper()
	p := &prunable{base: crashfs.New(), was: pieces(62, 10)}
	b, err := local.CreateFS(p.base, "/repo")
	if err != nil {
		t.Fatal(err)
	}
	initRepo(t, b)
	s := openRepo(t, b)
	first, shared := keep(t, s, pieces(60, 3)), pieces(61, 4)
	p.gone = keep(t, s, mixed(p.was, shared))
	forget(t, s, first)
	prune(t, s, pruneOptions())
	for i := range uint64(2) {
		list := append(pieces(63+i, 4), shared...)
		p.keeps = append(p.keeps, keep(t, s, list))
		p.stays = append(p.stays, list...)
	}
	forget(t, s, p.gone)
	plan, err := openRepo(t, b).PlanPrune(t.Context(), pruneOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if len(plan.Drop) != 1 || plan.Dead.Objects == 0 || plan.Copy == 0 {
		t.Fatalf("there is little to do: %+v", plan)
	}
	return p
}

// tryPrune is a prune by a process that comes upon a fault.
func tryPrune(ctx context.Context, b bucket.Bucket) (rep store.PruneReport, err error) {
	s, err := store.Open(ctx, b, new(logbook).env(), secret)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := s.PlanPrune(ctx, pruneOptions())
	if err != nil {
		return rep, err
	}
	defer p.Close()
	return p.Run(ctx)
}

// clean demands of what a fault has left: all that was acknowledged loads, the
// next backup works, and two prunes leave no garbage. also are more commits that
// must be there, all of which need pieces in more.
func (p *prunable) clean(t *testing.T, b bucket.Bucket, more []piece, also ...store.Commit) {
	t.Helper()
	s := briefly(t, b)
	defer closeStore(t, s)
	got := payloads(t, s)
	for _, c := range slices.Concat(p.keeps, also) {
		if got[c.ID] != string(c.Payload) {
			t.Fatalf("commit %s was acknowledged and is gone", c.ID)
		}
	}
	want := append(p.stays[:len(p.stays):len(p.stays)], more...)
	checkLoads(t, s, want)
	c := keep(t, s, append(pieces(69, 3), p.was...))
	if _, rep := prune(t, s, pruneOptions()); len(rep.Waiting)+len(rep.Kept) > 0 {
		t.Errorf("the next prune: %+v", rep)
	}
	forget(t, s, c)
	prune(t, s, pruneOptions())
	fresh := briefly(t, b)
	defer closeStore(t, fresh)
	checkLoads(t, fresh, want)
	checkClean(t, fresh)
	noGarbage(t, fresh, b)
	if got := payloads(t, fresh); len(got) != len(p.keeps)+len(also) {
		t.Errorf("%d commits are left, want %d", len(got), len(p.keeps)+len(also))
	}
}

// briefly is openRepo for who opens so many that they cannot all wait for the end
// of the test.
func briefly(t testing.TB, b bucket.Bucket) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), b, new(logbook).env(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// noGarbage demands that a prune has nothing to remove and that the bucket holds
// the packs which the index names, and no others.
func noGarbage(t testing.TB, s *store.Store, b bucket.Bucket) {
	t.Helper()
	p, err := s.PlanPrune(t.Context(), pruneOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Orphans.Objects+p.Leftover.Objects+p.Dead.Objects > 0 {
		t.Errorf("garbage is left: %d orphans, %d leftovers, %d dead packs", p.Orphans.Objects, p.Leftover.Objects, p.Dead.Objects)
	}
	if n, size := stored(t, b, "packs/"); n != p.Packs.Objects || size != p.Packs.Bytes {
		t.Errorf("%d packs of %d bytes, the index names %d of %d", n, size, p.Packs.Objects, p.Packs.Bytes)
	}
}

// atNth fails the n-th call of the kinds in ops, and after it all of the kinds in
// then. fired says whether it came to that.
func atNth(fsys *crashfs.FS, n int, err error, ops []crashfs.Op, then ...crashfs.Op) (fired *bool) {
	fired = new(bool)
	seen := 0
	fsys.Hook(func(c crashfs.Call) error {
		if slices.Contains(ops, c.Op) {
			seen++
			if seen-1 == n {
				*fired = true
				return err
			}
		}
		if *fired && slices.Contains(then, c.Op) {
			return err
		}
		return nil
	})
	return fired
}

// boundaries are the calls before which a cut finds something else than before
// the call ahead of them.
var boundaries = []crashfs.Op{crashfs.Sync, crashfs.SyncDir, crashfs.Move, crashfs.Remove, crashfs.Mkdir}

func stride(t testing.TB, short int) int {
	t.Helper()
	if testing.Short() {
		return short
	}
	return 1
}

// Fault 4: the power goes at every fsync boundary of a prune. Fault 5: what it
// has reported stays.
func TestFaultsPrunePowerCut(t *testing.T) {
	t.Parallel()
	p := newPrunable(t)
	for n := 0; ; n += stride(t, 9) {
		fsys := p.base.Cut(crashfs.Everything)
		fired := atNth(fsys, n, crashfs.ErrPowerOff, boundaries)
		rep, err := tryPrune(t.Context(), openLocalOrNil(fsys))
		fsys.Hook(nil)
		if *fired != (err != nil) {
			t.Logf("boundary %d: fired %v, the prune says %v", n, *fired, err) // the last calls need not succeed
		}
		for _, keep := range []crashfs.Keep{crashfs.Nothing, crashfs.Some(uint64(n))} {
			b := openLocal(t, fsys.Cut(keep))
			if s := briefly(t, b); err == nil && rep.Dropped == 1 && payloads(t, s)[p.gone.ID] != "" {
				t.Errorf("boundary %d: the prune said that it dropped %s", n, p.gone.ID)
			}
			p.clean(t, b, nil)
		}
		if t.Failed() {
			t.Fatalf("at boundary %d; the prune said %v", n, err)
		}
		if !*fired {
			if n < 20 || err != nil {
				t.Errorf("%d boundaries, %v", n, err)
			}
			return
		}
	}
}

// Fault 4: a prune dies at every fsync boundary, with records that have names and
// are not on the disk. A writer that began before it, and one that came after,
// build on what they see and commit; then the power goes.
func TestFaultsWriterBesideDyingPrune(t *testing.T) {
	t.Parallel()
	p := newPrunable(t)
	for n := 0; ; n += stride(t, 9) {
		fsys := p.base.Cut(crashfs.Everything)
		old := begin(t, openLocal(t, fsys))
		fired := atNth(fsys, n, syscall.EIO, boundaries, dead...)
		_, err := tryPrune(t.Context(), openLocalOrNil(fsys))
		fsys.Hook(nil)
		list := append(pieces(66, 2), p.was...)
		first := commit(t, old, append(list[:len(list):len(list)], p.stays...))
		second := commit(t, begin(t, openLocal(t, fsys)), list) // mostly what the first has stored
		for _, k := range []crashfs.Keep{crashfs.Nothing, crashfs.Some(uint64(n))} {
			p.clean(t, openLocal(t, fsys.Cut(k)), list, first, second)
		}
		if t.Failed() {
			t.Fatalf("at boundary %d; the prune said %v", n, err)
		}
		if !*fired {
			return
		}
	}
}

func begin(t testing.TB, b bucket.Bucket) *store.Session {
	t.Helper()
	w, err := openRepo(t, b).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// commit saves pieces and commits a payload that names them.
func commit(t testing.TB, w *store.Session, list []piece) store.Commit {
	t.Helper()
	if err := save(t.Context(), w, list); err != nil {
		t.Fatal(err)
	}
	c, err := w.Commit(t.Context(), []byte(needs(list)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Faults 23, 25, 26: at every call of a prune that changes the disk, one fsync
// fails, or the disk is full or readable only from there on. The prune says so,
// or it has done its work; nothing torn is visible, not even if the power goes
// then; and when the disk is well, the next one frees the space.
func TestFaultsPruneOnBadDisk(t *testing.T) {
	t.Parallel()
	p := newPrunable(t)
	for _, f := range []struct {
		name string
		err  error
		ops  []crashfs.Op
		then []crashfs.Op
	}{
		{"EIO on fsync", syscall.EIO, []crashfs.Op{crashfs.Sync, crashfs.SyncDir}, nil},
		{"full", syscall.ENOSPC, taking, taking},
		{"full once", syscall.ENOSPC, taking, nil},
		{"read-only", syscall.EROFS, changing, changing},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n += stride(t, 13) {
				fsys := p.base.Cut(crashfs.Everything)
				fired := atNth(fsys, n, f.err, f.ops, f.then...)
				_, err := tryPrune(t.Context(), openLocalOrNil(fsys))
				fsys.Hook(nil)
				if !*fired {
					if n < 10 || err != nil {
						t.Errorf("%d calls, %v", n, err)
					}
					return
				}
				if err != nil && !errors.Is(err, f.err) {
					t.Errorf("the prune does not say why: %v", err)
				}
				p.clean(t, openLocal(t, fsys.Cut(crashfs.Some(uint64(n)))), nil)
				if t.Failed() {
					t.Fatalf("at call %d; the prune said %v", n, err)
				}
			}
		})
	}
}

// What takes space, and what changes anything.
var (
	taking   = []crashfs.Op{crashfs.Create, crashfs.Mkdir, crashfs.Write, crashfs.Allocate}
	changing = append([]crashfs.Op{crashfs.Move, crashfs.Remove}, taking...)
	dead     = append([]crashfs.Op{crashfs.Sync, crashfs.SyncDir, crashfs.Open, crashfs.Read, crashfs.ReadDir}, changing...)
)

// Faults 4, 5, 23, 25, 26: a request to forget, at every call that it makes. What
// was acknowledged is asked for after a power cut; what failed is asked for or
// not, and nothing else.
func TestFaultsForget(t *testing.T) {
	t.Parallel()
	p := newPrunable(t)
	for _, fault := range []error{crashfs.ErrPowerOff, syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		for n := 0; ; n++ {
			fsys := p.base.Cut(crashfs.Everything)
			s := openRepo(t, openLocal(t, fsys))
			fsys.Hook(crashfs.FailAt(fsys.Calls()+n, fault))
			before := fsys.Calls()
			err := s.Forget(t.Context(), []string{p.keeps[0].ID})
			fsys.Hook(nil)
			last := fsys.Calls() <= before+n
			for _, k := range []crashfs.Keep{crashfs.Nothing, crashfs.Some(uint64(n))} {
				plan, planErr := openRepo(t, openLocal(t, fsys.Cut(k))).PlanPrune(t.Context(), pruneOptions())
				if planErr != nil {
					t.Fatalf("%v at call %d: %v", fault, n, planErr)
				}
				if plan.Close(); len(plan.Drop) > 2 || err == nil && len(plan.Drop) != 2 || !slices.Contains(plan.Drop, p.gone.ID) {
					t.Errorf("%v at call %d: forget said %v, and the next prune drops %d", fault, n, err, len(plan.Drop))
				}
			}
			if last {
				if n < 5 || err != nil {
					t.Errorf("%d calls, %v", n, err)
				}
				break
			}
		}
	}
}

// Fault 8: the power goes at every call of adding a key, and of removing one: the
// old one always opens, the new one if it was acknowledged, and one that was
// removed does not.
func TestFaultsKeyPowerCut(t *testing.T) {
	t.Parallel()
	with := newPrunable(t).base
	without := with.Cut(crashfs.Everything)
	another := secret
	another.Value = []byte("another")
	id, err := openRepo(t, openLocal(t, with)).AddKey(t.Context(), another, "second")
	if err != nil {
		t.Fatal(err)
	}
	opens := func(fsys *crashfs.FS) bool {
		openRepo(t, openLocal(t, fsys))
		_, err := store.Open(t.Context(), openLocal(t, fsys), store.Env{}, another)
		if err != nil && !errors.Is(err, seal.ErrWrongSecret) {
			t.Error(err)
		}
		return err == nil
	}
	for what, c := range map[string]struct {
		base *crashfs.FS
		do   func(*store.Store) error
		want bool
	}{
		"add":    {without, func(s *store.Store) error { _, err := s.AddKey(t.Context(), another, "second"); return err }, true},
		"remove": {with, func(s *store.Store) error { _, err := s.RemoveKey(t.Context(), id); return err }, false},
	} {
		for n := 0; ; n++ {
			fsys := c.base.Cut(crashfs.Everything)
			s := openRepo(t, openLocal(t, fsys))
			before := fsys.Calls()
			fsys.Hook(crashfs.FailAt(before+n, crashfs.ErrPowerOff))
			err := c.do(s)
			fsys.Hook(nil)
			for _, k := range []crashfs.Keep{crashfs.Nothing, crashfs.Some(uint64(n))} {
				if got := opens(fsys.Cut(k)); err == nil && got != c.want {
					t.Errorf("%s said yes at call %d, and the key opens: %v", what, n, got)
				}
			}
			if fsys.Calls() <= before+n {
				if n < 5 || err != nil {
					t.Errorf("%s: %d calls, %v", what, n, err)
				}
				break
			}
		}
	}
}
