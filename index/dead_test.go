package index_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/index"
)

// kill makes packs of a segment dead, and no others.
func (w *world) kill(name string, packs ...uint32) {
	m := w.segs[name]
	m.dead = packs
	w.segs[name] = m
}

// inMemoryAndTable runs a test with a view that keeps everything in memory, one
// that has one segment there, and one whose table has all.
func inMemoryAndTable(t *testing.T, test func(w *world)) {
	for _, limit := range []int{1 << 20, 400, 1} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			w := newWorld(t)
			w.limit = limit
			test(w)
		})
	}
}

// TestDeadPacks: what is only in dead packs is not found, what has a live copy
// is, whichever segment comes first, and a live recipe wins over a dead whole
// copy.
func TestDeadPacks(t *testing.T) {
	inMemoryAndTable(t, func(w *world) {
		for _, segments := range []int{2, 12} { // without and with a directory
			for dead := range segments {
				clear(w.segs)
				twice, pair := w.id(), w.id()
				for i := range segments {
					ids := []chunk.ID{twice}
					if i < 2 {
						ids = append(ids, pair)
					}
					w.segs[fmt.Sprint("index/", i)] = w.make(w.t, 120, i == 1, ids...)
				}
				w.kill(fmt.Sprint("index/", dead), 0, 2) // 0 has the copies
				v := index.NewView(w.open, w.limit)
				for i := range segments {
					w.add(v, fmt.Sprint("index/", i))
				}
				w.check(v)
				w.close(v)
			}
		}
	})
}

// TestAllPacksDead: a segment that brings the table no pack begins there where
// the next one does.
func TestAllPacksDead(t *testing.T) {
	w := newWorld(t)
	w.grow(6, 70)
	for _, name := range []string{"index/1", "index/2", "index/4"} {
		w.kill(name, 0, 1)
	}
	for i := range 8 { // which one is merged first is up to chance
		w.dir = t.TempDir()
		for round := range 2 {
			v, added := w.view()
			if (added == 0) != (round == 1) {
				t.Errorf("%d: %d segments were added in round %d", i, added, round)
			}
			w.check(v)
			w.close(v)
		}
	}
}

// TestTableOfAnotherGeneration: a table is used again only by who wants the same
// dead packs. One from before a prune has entries that are stale, one from after
// it lacks some.
func TestTableOfAnotherGeneration(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 130)
	for i, c := range []struct {
		dead  []uint32
		again bool
	}{
		{nil, true}, {nil, false}, {[]uint32{1}, true}, {[]uint32{1}, false}, {[]uint32{2}, true},
		{[]uint32{0, 2}, true}, {[]uint32{0, 2}, false}, {[]uint32{}, true}, {nil, false},
	} {
		w.kill("index/2", c.dead...)
		v, added := w.view()
		if want := map[bool]int{true: 4}[c.again]; added != want {
			t.Errorf("%d: %d segments were added, not %d", i, added, want)
		}
		w.check(v)
		w.close(v)
	}
}

// TestTablePutBack: the table is restored as it was before a prune, which has
// condemned packs, or dropped a segment, or both.
func TestTablePutBack(t *testing.T) {
	prunes := map[string]func(w *world){
		"packs":   func(w *world) { w.kill("index/0", 1) },
		"more":    func(w *world) { w.kill("index/3", 0, 1, 2) },
		"segment": func(w *world) { delete(w.segs, "index/1") },
		"both":    func(w *world) { w.kill("index/0", 1); delete(w.segs, "index/1") },
		"merged": func(w *world) {
			w.kill("index/0", 1)
			w.segs["index/9"] = w.mergeAll()
			for _, name := range []string{"index/0", "index/1", "index/2", "index/3"} {
				delete(w.segs, name)
			}
		},
	}
	for name, prune := range prunes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.grow(4, 130)
			w.kill("index/3", 0, 1)
			v, _ := w.view()
			w.close(v)
			before := filepath.Join(t.TempDir(), "before")
			if err := os.CopyFS(before, os.DirFS(w.dir)); err != nil {
				t.Fatal(err)
			}
			prune(w)
			v, _ = w.view()
			w.check(v)
			w.close(v)
			w.dir = before
			v, added := w.view()
			if added != len(w.segs) {
				t.Errorf("%d segments were added, not %d", added, len(w.segs))
			}
			w.check(v)
			w.close(v)
		})
	}
}

// mergeAll merges all segments into one.
func (w *world) mergeAll() made {
	var parts []index.Part
	for _, name := range w.names() {
		parts = append(parts, w.segs[name].part(w.t))
	}
	out := made{places: map[chunk.ID]index.Place{}}
	for _, s := range merge(w.t, parts, 1<<20) {
		out.data = s.Bytes()
		for id, p := range s.All() {
			out.places[id] = p
		}
	}
	return out
}

// TestDistrustKeepsDead: a table that is begun again lacks the same packs.
func TestDistrustKeepsDead(t *testing.T) {
	w := newWorld(t)
	w.grow(3, 130)
	w.kill("index/0", 2)
	w.kill("index/2", 0, 1)
	v, _ := w.view()
	w.close(v)
	v, added := w.view()
	fetch := func(name string) (*index.Segment, error) { return index.Decode(w.segs[name].data) }
	if again, err := v.Distrust(fetch); !again || err != nil || added != 0 {
		t.Errorf("%d added, distrusted %v, %v", added, again, err)
	}
	w.check(v)
	w.close(v)
}

func TestDeadRefused(t *testing.T) {
	inMemoryAndTable(t, func(w *world) {
		w.grow(1, 130) // 3 packs
		v := index.NewView(w.open, w.limit)
		s := decode(w.t, w.segs["index/0"].data)
		for _, dead := range [][]uint32{{3}, {0, 3}, {1, 0}, {1, 1}, {1 << 31}} {
			if err := v.Add("index/0", s, dead); !errors.Is(err, index.ErrDamaged) {
				w.t.Errorf("%v: %v", dead, err)
			}
			if v.Has(index.Want{Name: "index/0", Dead: dead}) {
				w.t.Errorf("%v is there", dead)
			}
		}
		w.kill("index/0", 1)
		w.add(v, "index/0")
		for _, dead := range [][]uint32{nil, {0}, {1, 2}} {
			if v.Add("index/0", s, dead) == nil {
				w.t.Errorf("%v: added again with other dead packs", dead)
			}
		}
		w.add(v, "index/0") // again: no effect
		w.check(v)
		w.close(v)
	})
}

// TestAttachRefusesOtherDead: what the view has in memory cannot be wanted
// otherwise.
func TestAttachRefusesOtherDead(t *testing.T) {
	w := newWorld(t)
	w.grow(1, 60)
	v := index.NewView(w.open, w.limit)
	w.add(v, "index/0")
	if _, err := v.Attach(w.open, []index.Want{{Name: "index/0", Dead: []uint32{1}}}); err == nil || w.opened > 0 {
		t.Errorf("attached: %v", err)
	}
	w.check(v)
	w.close(v)
}

// TestGenerations goes through generations at random over one directory: new
// segments with chunks that others have too, whole and as recipes, packs that
// die, segments that go, and now and then an old generation.
func TestGenerations(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t)
		w.maker = newMaker(seed)
		w.limit = []int{1, 300, 1000}[seed%3]
		rnd := rand.New(rand.NewPCG(seed, 1))
		var pool []chunk.ID
		for range 60 {
			pool = append(pool, w.id())
		}
		old := map[string]made{}
		for g := range 12 {
			if g == 6 || g == 9 {
				old, w.segs = w.segs, old
			} else {
				w.prune(rnd, pool)
			}
			v, _ := w.view()
			w.check(v)
			w.close(v)
			if g == 5 {
				for name, m := range w.segs {
					old[name] = m
				}
			}
		}
	}
}

// prune adds a segment, and may take one away and condemn packs.
func (w *world) prune(rnd *rand.Rand, pool []chunk.ID) {
	rnd.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	w.segs[fmt.Sprint("index/", w.next)] = w.make(w.t, rnd.IntN(200), rnd.IntN(3) == 0, slices.Clone(pool[:rnd.IntN(len(pool))])...)
	for _, name := range w.names() {
		switch n := rnd.IntN(8); {
		case n == 0 && len(w.segs) > 1:
			delete(w.segs, name)
		case n < 4:
			var dead []uint32
			for p := range decode(w.t, w.segs[name].data).Packs {
				if rnd.IntN(3) == 0 {
					dead = append(dead, uint32(p))
				}
			}
			w.kill(name, dead...)
		}
	}
}
