package gc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

func TestMarkIsExact(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed)
		b, dir := newBox(t), t.TempDir()
		for round := range 4 {
			w.history(3)
			m := w.marker(dir, b)
			w.mark(w.marker("", nil), w.commits, "without cache")
			if round%2 == 0 {
				w.mark(m, w.some(), "some, partly from the log")
			}
			w.mark(m, w.commits, "all, partly from the log")
			w.markFromLog(m, w.commits, "all from the log")
			w.markFromLog(m, w.some(), "some from the log")
			w.markFromLog(m, nil, "none")
		}
	}
}

func TestTopOfManifest(t *testing.T) {
	w := newWorld(t, 1)
	m := w.marker(t.TempDir(), newBox(t))
	piece, file := w.id(), w.id()
	root := w.listing("f", chunk.ID{}, file)
	page, err := w.Mem.Load(t.Context(), chunk.Tree, root)
	if err != nil {
		t.Fatal(err)
	}
	w.Set(chunk.Tree, piece, page)
	top, err := snapshot.EncodeEntry(&snapshot.Entry{Name: "root", Type: snapshot.Dir, Tree: root, Spill: snapshot.Spill{IDs: []chunk.ID{piece}}})
	if err != nil {
		t.Fatal(err)
	}
	c := []store.Commit{w.commit(root, top)}
	for _, what := range []string{"new", "from the log"} {
		live := store.NewLiveSet()
		if err := m.Mark(t.Context(), w, c, live); err != nil {
			t.Fatal(err)
		}
		ids{root: 0, piece: 0, file: 0}.is(t, live, what)
	}
	empty := []store.Commit{w.commit(chunk.ID{}, nil)}
	w.mark(m, empty, "an empty snapshot")
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	w := newWorld(t, 2)
	w.history(2)
	m := w.marker(t.TempDir(), newBox(t))
	mark := func(commits []store.Commit) error { return m.Mark(t.Context(), w, commits, store.NewLiveSet()) }

	if err := mark([]store.Commit{{ID: "broken", Payload: []byte{1}}}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a payload that is no manifest: %v", err)
	}
	for id, k := range w.reach(w.commits) {
		if k != chunk.Tree {
			continue
		}
		page, err := w.Mem.Load(t.Context(), k, id)
		if err != nil {
			t.Fatal(err)
		}
		w.Delete(k, id)
		if err := mark(w.commits); err == nil || !strings.Contains(err.Error(), id.String()) {
			t.Fatalf("a page that is not there: %v", err)
		}
		w.Set(k, id, []byte("not a page"))
		if err := mark(w.commits); !errors.Is(err, snapshot.ErrDamaged) || !strings.Contains(err.Error(), id.String()) {
			t.Fatalf("a page that is none: %v", err)
		}
		w.Set(k, id, page)
		m = w.marker(t.TempDir(), m.box)
	}
}

func TestLostPages(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed)
		w.history(6)
		m := w.marker(t.TempDir(), newBox(t))
		pages := map[chunk.ID][]byte{}
		for id, k := range w.reach(w.commits) {
			if k == chunk.Tree && w.r.IntN(10) == 0 {
				pages[id], _ = w.Mem.Load(t.Context(), k, id)
				w.Delete(k, id)
				w.lost[id] = true
			}
		}
		for range 2 {
			w.mark(m, w.some(), "some, with losses")
			w.mark(m, w.commits, "all, with losses")
			w.mark(w.marker("", nil), w.commits, "all, with losses, without cache")
		}
		// Healed, some of them before repair knows.
		for id, page := range pages {
			w.Set(chunk.Tree, id, page)
			if w.r.IntN(2) == 0 {
				delete(w.lost, id)
			}
		}
		w.mark(m, w.commits, "healed")
		w.markFromLog(m, w.commits, "healed, again")
	}
}

// TestStopsAnywhere ends marks after every number of pages, by an error and by
// cancelling. What the log knows afterwards must be closed.
func TestStopsAnywhere(t *testing.T) {
	w := small(t)
	w.top.dirs["big"] = w.random(3)
	w.history(2)
	stop := errors.New("stop")
	for n := 0; ; n++ {
		m := w.marker(t.TempDir(), newBox(t))
		m.frame = 1 + n%300
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		left := n
		w.onLoad = func(chunk.ID) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left >= 0 {
				return nil
			}
			if n%2 == 0 {
				return stop
			}
			cancel()
			return ctx.Err()
		}
		err := m.Mark(ctx, w, w.commits, store.NewLiveSet())
		cancel()
		w.onLoad = nil
		if err != nil && !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		w.mark(m, w.commits[1:], "one, after a mark that stopped")
		w.mark(m, w.commits, "all, after a mark that stopped")
		w.markFromLog(m, w.commits, "all, from the log")
		if err == nil {
			return
		}
	}
}

func TestStoppedMarkIsNotInVain(t *testing.T) {
	w := newWorld(t, 3)
	w.history(1)
	m := w.marker(t.TempDir(), newBox(t))
	m.frame = 1 << 20
	total := len(w.reach(w.commits))
	var mu sync.Mutex
	n := 0
	w.onLoad = func(chunk.ID) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n > 200 {
			return errors.New("stop")
		}
		return nil
	}
	if err := m.Mark(t.Context(), w, w.commits, store.NewLiveSet()); err == nil {
		t.Fatal("it did not stop: the world is too small")
	}
	w.onLoad = nil
	again := w.loads(func() { _ = m.Mark(t.Context(), w, w.commits, store.NewLiveSet()) })
	first := w.loads(func() { _ = w.marker("", nil).Mark(t.Context(), w, w.commits, store.NewLiveSet()) })
	if again > first-100 {
		t.Errorf("%d pages loaded after 200 of %d were (%d chunks)", again, first, total)
	}
}

// TestCollisions has somebody make pages whose IDs begin as a victim's do, and
// push them first.
func TestCollisions(t *testing.T) {
	for _, same := range []int{8, 16, 24, 31} {
		for seed := range uint64(5) {
			w := newWorld(t, seed)
			w.history(1)
			m := w.marker(t.TempDir(), newBox(t))
			bad := w.listing("nothing", chunk.ID{})
			page, err := w.Mem.Load(t.Context(), chunk.Tree, bad)
			if err != nil {
				t.Fatal(err)
			}
			victim := w.reach(w.commits)
			var attack []store.Commit
			for id, k := range victim {
				if k == chunk.Tree {
					id[31]++
					if same < 31 {
						id[same]++
					}
					w.Set(chunk.Tree, id, page)
					attack = append(attack, w.commit(w.listing("evil", id), nil))
				}
			}
			live := store.NewLiveSet()
			for _, what := range []string{"attack first", "victim too", "all from the log"} {
				commits := attack
				if what != "attack first" {
					commits = w.commits
				}
				if err := m.Mark(t.Context(), w, slices.Clone(commits), live); err != nil {
					t.Fatal(err)
				}
			}
			for id := range victim {
				if !live.Has(id) {
					t.Fatalf("%d bytes the same: %s is not live", same, id)
				}
			}
			// The log alone, and in a mark of its own.
			live = store.NewLiveSet()
			if err := m.Mark(t.Context(), w, w.commits[:1], live); err != nil {
				t.Fatal(err)
			}
			victim.is(t, live, fmt.Sprint("the victim alone, same ", same))
		}
	}
}

func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t, 5)
	w.history(3)
	b, dir := newBox(t), t.TempDir()
	m := w.marker(dir, b)
	w.mark(m, w.commits, "first")
	held := m.openLog()
	if !held.writable() {
		t.Fatal("the lock is not free")
	}
	before := readLog(t, dir)
	w.history(3)
	w.mark(w.marker(dir, b), w.commits, "while another holds the log")
	if err := w.marker(dir, b).Compact(t.Context(), store.NewLiveSet()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, readLog(t, dir)) {
		t.Error("two have written the log")
	}
	held.close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			m := w.marker(dir, b)
			for range 5 {
				live := store.NewLiveSet()
				if err := m.Mark(t.Context(), w, w.commits, live); err != nil {
					t.Error(err)
				}
				if i == 0 {
					if err := m.Compact(t.Context(), store.NewLiveSet()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	w.mark(m, w.commits, "after all")
	w.markFromLog(m, w.commits, "after all")
}

// TestMemory: what a mark keeps for each page, with a cache that was full and
// with one that was empty.
func TestMemory(t *testing.T) {
	const pages = 1 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	n := newNames(newKey())
	for i := range pages {
		n.add(n.of(chunk.ID{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	if per := (heap() - before) / pages; per > 27 {
		t.Errorf("%d bytes for each page", per)
	}
	runtime.KeepAlive(n)
}

// TestHeldPages: the pages that wait for others are those above, not those
// beside.
func TestHeldPages(t *testing.T) {
	w := newWorld(t, 6)
	w.top = &dir{dirs: map[string]*dir{}}
	for i := range 2000 {
		sub := &dir{dirs: map[string]*dir{}}
		for j := range 10 {
			sub.dirs[fmt.Sprint(j)] = &dir{files: map[string][]chunk.ID{"f": {w.id()}}}
		}
		w.top.dirs[fmt.Sprint(i)] = sub
	}
	w.commit(w.save(w.top), nil)
	m := w.marker("", nil)
	roots, err := rootsOf(w.commits)
	if err != nil {
		t.Fatal(err)
	}
	walk := m.newWalk(w, newNames(newKey()))
	most := 0
	walk.page = func(*node, []chunk.ID) { most = max(most, len(walk.open)) }
	if err := walk.run(t.Context(), flatten(roots)); err != nil {
		t.Fatal(err)
	}
	if all := int(walk.names.len()); all < 20000 || most > all/10 {
		t.Errorf("%d of %d pages were held at once", most, all)
	}
	if len(walk.open) > 0 {
		t.Errorf("%d pages are held in the end", len(walk.open))
	}
}
