package store_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/store"
)

// without returns the repository without the objects that drop names.
func (h *history) without(t testing.TB, drop func(name string) bool) *mem.Bucket {
	t.Helper()
	c := mem.New()
	for name, data := range h.objects {
		if !drop(name) {
			put(t, c, name, data)
		}
	}
	return c
}

// heals repairs and demands that everything that lives is there.
func (h *history) heals(t *testing.T, b bucket.Bucket, opt store.RepairOptions) store.RepairReport {
	t.Helper()
	s := openRepo(t, b)
	_, rep := repair(t, s, opt)
	fresh := openRepo(t, b)
	checkClean(t, fresh)
	checkLoads(t, fresh, h.all())
	got := payloads(t, fresh)
	for id, list := range h.alive {
		if got[id] != needs(list) {
			t.Errorf("commit %s: %d bytes", id, len(got[id]))
		}
	}
	if rep.Snapshots != 0 || len(rep.Fates) != 0 || len(rep.Unreadable) != 0 {
		t.Errorf("%+v", rep)
	}
	for range 2 {
		prune(t, openRepo(t, b), pruneOptions())
	}
	checkClean(t, openRepo(t, b))
	return rep
}

// TestRepairWhatIsGoneAltogether: all objects of a kind are gone at once.
func TestRepairWhatIsGoneAltogether(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for _, c := range []struct {
		what      string
		drop      []string
		mayReturn bool
	}{
		{"index", []string{"index/"}, false},
		{"generations", []string{"generations/"}, true},
		{"index and generations", []string{"index/", "generations/"}, true},
		{"the newest records", []string{"generations/0000000002"}, true},
		{"registrations", []string{"sessions/"}, false},
		{"closings", []string{"generations/0000000001.done", "generations/0000000002.done"}, false},
		{"second copies and old records", []string{"generations/0000000001", "generations/0000000000"}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			b := h.without(t, func(name string) bool {
				return slices.ContainsFunc(c.drop, func(p string) bool { return strings.HasPrefix(name, p) })
			})
			rep := h.heals(t, b, repairOptions())
			if rep.MayReturn != c.mayReturn {
				t.Errorf("may return: %v", rep.MayReturn)
			}
			if c.drop[0] == "index/" && rep.Rebuilt.Objects == 0 {
				t.Errorf("%+v", rep)
			}
		})
	}
}

// TestRepairIndexAnew: a whole index is made anew on demand.
func TestRepairIndexAnew(t *testing.T) {
	h := newHistory(t)
	b := copyOf(t, h.b)
	opt := repairOptions()
	opt.Index = true
	if rep := h.heals(t, b, opt); rep.Rebuilt.Objects == 0 || len(rep.Lost) != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestRepairNothing(t *testing.T) {
	h := newHistory(t)
	b := copyOf(t, h.b)
	p, rep := repair(t, openRepo(t, b), repairOptions())
	if !p.Idle() || rep.Generation != 2 || len(objects(t, b)) != len(h.objects) {
		t.Errorf("%+v, %+v", p, rep)
	}
}

// TestRepairCatalogue: with both copies of a piece its commits are gone, unless
// their fates are still there.
func TestRepairCatalogue(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	b := h.without(t, func(name string) bool { return strings.HasPrefix(name, "catalogue/") })
	if _, err := openRepo(t, b).Commits(t.Context()); err == nil || !strings.Contains(err.Error(), "coffer repair") {
		t.Errorf("opening says %v", err)
	}
	_, rep := repair(t, openRepo(t, b), repairOptions())
	fresh := openRepo(t, b)
	checkClean(t, fresh)
	got := payloads(t, fresh)
	if len(got)+rep.Snapshots != len(h.alive) || rep.Snapshots == 0 || got[h.young] == "" {
		t.Errorf("%d of %d commits, report %+v", len(got), len(h.alive), rep)
	}
	for id := range got {
		if h.alive[id] == nil {
			t.Errorf("the dropped commit %s is back", id)
		}
		checkLoads(t, fresh, h.alive[id])
	}
}

// TestRepairFindsTheSecondCopy: of a chunk in two packs the index of a segment
// names one. When that pack goes, the other serves.
func TestRepairFindsTheSecondCopy(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(1, 20)
	one, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two, err := openRepo(t, b).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*store.Session{one, two} {
		if err := save(t.Context(), w, list); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context(), []byte(needs(list))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 70 { // until the segments are merged
		keep(t, s, pieces(uint64(100+i), 1))
	}
	if err := s.Tidy(t.Context(), listMarker{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := stored(t, b, "index/"); n > 10 {
		t.Fatalf("%d segments", n)
	}
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		name, err := s.PackOf(t.Context(), p.id())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	_, rep := repair(t, openRepo(t, b), repairOptions())
	if len(rep.Lost) != 0 || rep.Salvaged == 0 || len(rep.Condemned) == 0 {
		t.Errorf("%+v", rep)
	}
	fresh := openRepo(t, b)
	checkClean(t, fresh)
	checkLoads(t, fresh, list)
}

// TestUnreadablePack is a disk that fails to read one pack: all else is there, the
// list of what is damaged is exact, and backing up again heals.
func TestUnreadablePack(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(1, 40)
	keep(t, s, list)
	name, err := s.PackOf(t.Context(), list[6].id())
	if err != nil {
		t.Fatal(err)
	}
	eio := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Prefix: name, Times: -1, Err: errors.New("input/output error")}).Wrap(b)
	bad := openRepo(t, eio)
	found := damageFound(t, bad)
	if got := damagedPacks(found); !slices.Equal(got, []string{name}) {
		t.Fatalf("damaged: %v", found)
	}
	opt := repairOptions()
	opt.Packs = []string{name}
	_, rep := repair(t, bad, opt)
	for _, p := range list {
		_, err := bad.Load(t.Context(), p.kind, p.id())
		in, _ := s.PackOf(t.Context(), p.id())
		if lost := slices.Contains(rep.Lost, p.id()); lost != (err != nil) || lost != (in == name) {
			t.Errorf("chunk %s in %s: lost %v, %v", p.id().Short(), in, lost, err)
		}
	}
	w, err := bad.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !w.AnyLost() || !w.Lost(list[6].id()) {
		t.Error("the next session does not know what is lost")
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(t, bad, list)
	prune(t, bad, pruneOptions())
	checkLoads(t, openRepo(t, eio), list)
	checkClean(t, openRepo(t, eio))
}

// TestRepairIsCutOff at each call, and run again.
func TestRepairIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	pack := ""
	for name := range h.objects {
		if strings.HasPrefix(name, "packs/0000000000/") {
			pack = max(pack, name)
		}
	}
	for what, drop := range map[string]func(name string) bool{
		"a pack":          func(name string) bool { return name == pack },
		"the index":       func(name string) bool { return strings.HasPrefix(name, "index/") },
		"the generations": func(name string) bool { return strings.HasPrefix(name, "generations/0000000002") },
	} {
		base := h.without(t, drop)
		step := 3
		if testing.Short() {
			step = 17
		}
		for call := 0; ; call += step {
			b := copyOf(t, base)
			f := buckettest.NewFaults(buckettest.Rule{Call: call, Fault: buckettest.CrashBefore})
			err := tryRepair(t, f.Wrap(b))
			if f.Fired() == 0 {
				if err != nil || call < 20 {
					t.Errorf("%s: after %d calls without a fault: %v", what, call, err)
				}
				break
			}
			_, rep := repair(t, openRepo(t, b), repairOptions())
			fresh := openRepo(t, b)
			checkClean(t, fresh)
			got := payloads(t, fresh)
			for id := range h.alive {
				if got[id] == "" {
					t.Errorf("commit %s is gone", id)
				}
			}
			lost, err := fresh.LostChunks(t.Context())
			for _, p := range h.all() {
				if _, loadErr := fresh.Load(t.Context(), p.kind, p.id()); (loadErr != nil) != slices.Contains(lost, p.id()) || loadErr != nil && what != "a pack" {
					t.Errorf("%v, %v", loadErr, err)
				}
			}
			prune(t, openRepo(t, b), pruneOptions())
			checkClean(t, openRepo(t, b))
			if t.Failed() {
				t.Fatalf("%s: at call %d: %v, %+v", what, call, err, rep)
			}
		}
	}
}

func tryRepair(t *testing.T, b bucket.Bucket) error {
	s, err := store.Open(t.Context(), b, new(logbook).env(), secret)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	p, err := s.PlanRepair(t.Context(), repairOptions())
	if err != nil {
		return err
	}
	_, err = p.Run(t.Context())
	return err
}

// TestRepairBesideASession: one that began before commits afterwards.
func TestRepairBesideASession(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for what, prefix := range map[string]string{"index": "index/0000000001/", "the newest generation": "generations/0000000002"} {
		t.Run(what, func(t *testing.T) {
			b := copyOf(t, h.b)
			list := append(pieces(50, 10), h.all()[:10]...)
			w, err := openRepo(t, b).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := save(t.Context(), w, list[:5]); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name := range objects(t, b) {
				if strings.HasPrefix(name, prefix) {
					if err := b.Delete(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := openRepo(t, b)
			if _, rep := repair(t, s, repairOptions()); len(rep.Waiting) != 1 {
				t.Errorf("%+v", rep)
			}
			if err := save(t.Context(), w, list[5:]); err != nil {
				t.Fatal(err)
			}
			c, err := w.Commit(t.Context(), []byte(needs(list)))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				fresh := openRepo(t, b)
				if payloads(t, fresh)[c.ID] == "" {
					t.Error("the commit is gone")
				}
				checkLoads(t, fresh, append(list, h.all()...))
				checkClean(t, fresh)
				if got := payloads(t, fresh); len(got) < len(h.alive) {
					t.Errorf("%d commits", len(got))
				}
				opt := pruneOptions()
				opt.Wait = time.Minute
				prune(t, s, opt)
				delete(h.alive, h.young)
			}
		})
	}
}

// TestRepairAnOpenGeneration: a prune condemned packs and waits for a session;
// meanwhile something is damaged that its closing needs.
func TestRepairAnOpenGeneration(t *testing.T) {
	for _, prefix := range []string{"index/", "generations/0000000001.done", "catalogue/", "fates/0000000001/"} {
		s, b := newRepo(t)
		base := pieces(1, 30)
		keep(t, s, base)
		gone := keep(t, s, pieces(2, 30))
		forget(t, s, gone)
		prune(t, s, pruneOptions())
		last := keep(t, s, pieces(3, 30))
		w, err := openRepo(t, b).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		forget(t, s, last)
		if _, rep := prune(t, s, pruneOptions()); len(rep.Waiting) != 1 {
			t.Fatalf("%+v", rep)
		}
		if err := save(t.Context(), w, pieces(3, 30)); err != nil { // relies on what is condemned
			t.Fatal(err)
		}
		c, err := w.Commit(t.Context(), []byte(needs(pieces(3, 30))))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range objects(t, b) {
			if strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, ".b") && !strings.HasSuffix(name, c.ID) {
				if err := b.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
				if prefix == "fates/0000000001/" {
					put(t, b, name, data[:10])
				}
			}
		}
		_, rep := repair(t, openRepo(t, b), repairOptions())
		fresh := openRepo(t, b)
		got := payloads(t, fresh)
		if got[c.ID] == "" {
			t.Errorf("%s: the commit is gone: %+v", prefix, rep)
		}
		checkClean(t, fresh)
		checkLoads(t, fresh, append(base, pieces(3, 30)...))
		prune(t, openRepo(t, b), pruneOptions())
		checkLoads(t, openRepo(t, b), append(base, pieces(3, 30)...))
	}
}

// TestRepairKnowsAbsentChunks: a pack is gone with the only segment that names
// it, and nothing says what was in it but the snapshots.
func TestRepairKnowsAbsentChunks(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(1, 30)
	keep(t, s, list)
	pack, err := s.PackOf(t.Context(), list[6].id())
	if err != nil {
		t.Fatal(err)
	}
	for name := range objects(t, b) {
		if name == pack || strings.HasPrefix(name, "index/") {
			if err := b.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	opt := repairOptions()
	opt.Missing = nil
	if _, rep := repair(t, openRepo(t, b), opt); len(rep.Lost) != 0 {
		t.Errorf("%+v", rep)
	}
	if _, err := openRepo(t, b).PlanPrune(t.Context(), pruneOptions()); err == nil {
		t.Error("prune goes on though chunks are missing")
	}
	again := repairOptions()
	again.Chunks = []chunk.ID{list[6].id()}
	_, rep := repair(t, openRepo(t, b), again)
	for _, p := range list {
		if in, _ := s.PackOf(t.Context(), p.id()); slices.Contains(rep.Lost, p.id()) != (in == pack) {
			t.Errorf("chunk %s of %s: %+v", p.id().Short(), in, rep)
		}
	}
	prune(t, openRepo(t, b), pruneOptions())
}

// A forgetfulList leaves a pack out of its first listing.
type forgetfulList struct {
	bucket.Bucket
	pack string
	once sync.Once
}

func (b *forgetfulList) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	list := b.Bucket.List(ctx, prefix, after)
	if !strings.HasPrefix("packs/", prefix) {
		return list
	}
	b.once.Do(func() {
		list = shortList{b.Bucket, func(name string) bool { return name == b.pack }}.List(ctx, prefix, after)
	})
	return list
}

// TestRepairDoubtsListings: a pack that a listing leaves out is not lost for it.
func TestRepairDoubtsListings(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	pack := ""
	for name := range h.objects {
		if strings.HasPrefix(name, "packs/") {
			pack = max(pack, name)
		}
	}
	for what, b := range map[string]*mem.Bucket{
		"whole":    copyOf(t, h.b),
		"no index": h.without(t, func(name string) bool { return strings.HasPrefix(name, "index/") }),
	} {
		p, err := openRepo(t, &forgetfulList{Bucket: b, pack: pack}).PlanRepair(t.Context(), repairOptions())
		if err != nil {
			t.Fatal(err)
		}
		if what == "whole" {
			if !p.Idle() {
				t.Errorf("it has something to do: %+v", p)
			}
			continue
		}
		if _, err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), pack) {
			t.Errorf("%s: it is believed: %v", what, err)
		}
		h.heals(t, b, repairOptions())
	}
}
