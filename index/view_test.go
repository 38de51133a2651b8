package index_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer/chunk"
	"coffer/index"
)

var key = [32]byte{1, 2, 3}

// A world is some segments and one directory for tables.
type world struct {
	*maker
	t      *testing.T
	dir    string
	segs   map[string]made
	limit  int
	opened int // tables
}

func newWorld(t *testing.T) *world {
	return &world{maker: newMaker(7), t: t, dir: t.TempDir(), segs: map[string]made{}, limit: 100}
}

// grow adds segments of n entries.
func (w *world) grow(segments, n int) {
	for range segments {
		w.segs[fmt.Sprintf("index/%d", len(w.segs))] = w.make(w.t, n, false)
	}
}

func (w *world) open() (*index.Table, error) {
	t, err := index.OpenTable(w.dir, key)
	if err == nil {
		w.opened++
	}
	return t, err
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.segs)) }

func (w *world) wants() (out []index.Want) {
	for _, name := range w.names() {
		out = append(out, w.want(name))
	}
	return out
}

func (w *world) want(name string) index.Want { return index.Want{Name: name, Dead: w.segs[name].dead} }

// view makes a view as a store does: what the table has, and then the rest. It
// returns how many segments had to be added.
func (w *world) view() (*index.View, int) {
	w.t.Helper()
	v := index.NewView(w.open, w.limit)
	missing, err := v.Attach(w.open, w.wants())
	if err != nil {
		missing = w.wants()
	}
	for _, want := range missing {
		w.add(v, want.Name)
	}
	return v, len(missing)
}

func (w *world) add(v *index.View, names ...string) {
	w.t.Helper()
	for _, name := range names {
		if err := v.Add(name, decode(w.t, w.segs[name].data), w.segs[name].dead); err != nil {
			w.t.Fatal(err)
		}
	}
}

// places returns all live places of every chunk; none of one that is only in
// dead packs.
func (w *world) places() map[chunk.ID][]index.Place {
	out := map[chunk.ID][]index.Place{}
	for _, m := range w.segs {
		live := m.live()
		for id := range m.places {
			if p, ok := live[id]; ok {
				out[id] = append(out[id], p)
			} else if out[id] == nil {
				out[id] = nil
			}
		}
	}
	return out
}

// isBest reports whether got is one of the places of a chunk, and no recipe if
// there is a whole copy.
func isBest(got index.Place, places []index.Place) bool {
	whole := func(p index.Place) bool { return !p.Recipe }
	return slices.Contains(places, got) && (whole(got) || !slices.ContainsFunc(places, whole))
}

// check looks up everything that is there, and some that is not.
func (w *world) check(v *index.View) {
	w.t.Helper()
	for _, want := range w.wants() {
		if !v.Has(want) {
			w.t.Errorf("%v is missing", want)
		}
		if other := append(slices.Clone(want.Dead), 1<<20); v.Has(index.Want{Name: want.Name, Dead: other}) {
			w.t.Errorf("%s is there with dead packs %v, not %v", want.Name, other, want.Dead)
		}
	}
	for id, places := range w.places() {
		got, ok, err := v.Lookup(id)
		if err != nil || ok != (len(places) > 0) || ok && !isBest(got, places) {
			w.t.Fatalf("%s: %+v, %v, %v; want one of %+v", id.Short(), got, ok, err, places)
		}
	}
	for range 500 {
		if p, ok, err := v.Lookup(w.id()); ok || err != nil {
			w.t.Fatalf("a stale hit: %+v, %v", p, err)
		}
	}
}

func (w *world) close(v *index.View) {
	w.t.Helper()
	if err := v.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func TestViewInMemory(t *testing.T) {
	for _, segments := range []int{0, 1, 8, 9, 50} {
		w := newWorld(t)
		w.grow(segments, 20)
		v := index.NewView(nil, 1)
		w.add(v, w.names()...)
		w.add(v, w.names()...) // again: no effect
		w.check(v)
		w.close(v)
	}
}

// TestViewCollision: IDs that agree in the part that the directory knows.
func TestViewCollision(t *testing.T) {
	w := newWorld(t)
	w.grow(12, 5)
	var twins []chunk.ID
	for i := range 3 {
		twins = append(twins, chunk.ID{0: 9, 7: 9, 20: byte(i)})
		w.segs[fmt.Sprint("twin", i)] = w.make(t, 3, false, twins[i])
	}
	v := index.NewView(nil, 0)
	w.add(v, w.names()...)
	w.check(v)
	if _, ok, err := v.Lookup(chunk.ID{0: 9, 7: 9, 20: 77}); ok || err != nil {
		t.Errorf("a hit for half an ID: %v", err)
	}
}

func TestViewSpillsAndAttaches(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 70)
	v, added := w.view()
	if added != 4 || w.opened != 1 {
		t.Errorf("added %d, opened %d", added, w.opened)
	}
	w.check(v)
	w.close(v)

	w.grow(2, 70) // what others have committed meanwhile
	v, added = w.view()
	if added != 2 {
		t.Errorf("the second time %d were added", added)
	}
	w.check(v)
	w.close(v)

	v, added = w.view()
	if added != 0 {
		t.Errorf("the third time %d were added", added)
	}
	w.check(v)
	w.close(v)
}

// TestViewReset: a table that holds what is not wanted any more is from before
// a prune.
func TestViewReset(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 70)
	v, _ := w.view()
	w.close(v)
	gone := w.segs["index/0"]
	delete(w.segs, "index/0")
	w.grow(1, 10) // takes the name index/3, which has other content only in this test
	w.segs["index/9"] = w.segs["index/3"]
	delete(w.segs, "index/3")
	v, added := w.view()
	if added != len(w.segs) {
		t.Errorf("only %d of %d segments were added again", added, len(w.segs))
	}
	w.check(v)
	for id := range gone.places {
		if _, ok, err := v.Lookup(id); ok || err != nil {
			t.Fatalf("a stale hit: %v", err)
		}
	}
	w.close(v)
}

func TestWholeWins(t *testing.T) {
	for _, limit := range []int{1, 25, 1000} { // all in the table, one there, none
		for _, wholeFirst := range []bool{true, false} {
			w := newWorld(t)
			w.limit = limit
			id := w.id()
			for i := range 12 {
				w.segs[fmt.Sprint("s", i)] = w.make(t, 2, (i == 0) != wholeFirst, id)
				if i > 0 {
					w.segs[fmt.Sprint("s", i)] = w.make(t, 2, wholeFirst, id)
				}
			}
			v := index.NewView(w.open, w.limit)
			w.add(v, w.names()...)
			if p, ok, err := v.Lookup(id); err != nil || !ok || p.Recipe {
				t.Errorf("limit %d, whole first %v: %+v, %v, %v", limit, wholeFirst, p, ok, err)
			}
			w.close(v)
		}
	}
}

func TestTablesForFourProcesses(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 70)
	var views []*index.View
	for range 4 {
		v, _ := w.view()
		views = append(views, v)
	}
	if _, err := w.open(); !errors.Is(err, index.ErrBusy) {
		t.Errorf("the fifth: %v", err)
	}
	v, _ := w.view() // goes on without
	w.check(v)
	if v.Trouble() == nil {
		t.Error("no trouble is told of")
	}
	for _, other := range views {
		w.check(other)
		w.close(other)
	}
	w.close(v)
	v, added := w.view()
	if added != 0 {
		t.Errorf("a table that was left is not used: %d added", added)
	}
	w.close(v)
}

// TestCacheUnusable: no directory, one that cannot be made, a table that fails
// in the middle.
func TestCacheUnusable(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 70)
	file := filepath.Join(w.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.dir = filepath.Join(file, "below")
	v, added := w.view()
	if added != 4 || v.Trouble() == nil {
		t.Errorf("%d added, trouble %v", added, v.Trouble())
	}
	w.check(v)
	w.close(v)
}

func TestViewConcurrent(t *testing.T) {
	w := newWorld(t)
	w.grow(20, 30)
	v := index.NewView(w.open, w.limit)
	var group sync.WaitGroup
	for _, name := range w.names() {
		group.Go(func() { w.add(v, name) })
		group.Go(func() {
			for id, want := range w.segs[name].places {
				if got, ok, err := v.Lookup(id); err != nil || ok && got != want {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	group.Wait()
	w.check(v)
	w.close(v)
}

func TestNoIDInTheCache(t *testing.T) {
	w := newWorld(t)
	w.grow(3, 70)
	v, _ := w.view()
	w.close(v)
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range w.segs {
			for id := range m.places {
				if strings.Contains(string(data), string(id[:8])) {
					t.Errorf("%s has an ID in the clear", path)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
