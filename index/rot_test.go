package index_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coffer/index"
)

// spoilers damage one file of a table that nobody uses.
var spoilers = map[string]func(path string, size int64, rnd *rand.Rand) error{
	"deleted":   func(path string, _ int64, _ *rand.Rand) error { return os.Remove(path) },
	"emptied":   func(path string, _ int64, _ *rand.Rand) error { return os.Truncate(path, 0) },
	"truncated": func(path string, size int64, _ *rand.Rand) error { return os.Truncate(path, size/2) },
	"garbage": func(path string, size int64, rnd *rand.Rand) error {
		data := make([]byte, min(size, 1<<20))
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		return os.WriteFile(path, data, 0o600)
	},
	"flipped": func(path string, size int64, rnd *rand.Rand) error {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		for range 20 {
			data[rnd.IntN(min(len(data), 64<<10))] ^= 1 << rnd.IntN(8)
		}
		return os.WriteFile(path, data, 0o600)
	},
}

// TestTableRots damages every file of a table in every way. The next view finds
// out, at the latest when it misses a chunk that should be there, and builds the
// table again; never does it say where a chunk is that is not there.
func TestTableRots(t *testing.T) {
	for how, spoil := range spoilers {
		t.Run(how, func(t *testing.T) {
			for n := 0; ; n++ {
				w := newWorld(t)
				w.grow(3, 400)
				w.kill("index/1", 0, 3, 7)
				v, _ := w.view()
				w.close(v)
				path, size := w.file(n)
				if path == "" {
					return
				}
				if err := spoil(path, size, rand.New(rand.NewPCG(uint64(n), 1))); err != nil {
					t.Fatal(err)
				}
				w.heals(filepath.Base(path))
			}
		})
	}
}

// file returns the n-th file of the first table.
func (w *world) file(n int) (path string, size int64) {
	err := filepath.WalkDir(w.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if n--; n >= 0 {
			return nil
		}
		info, err := d.Info()
		path, size = p, info.Size()
		return errors.Join(err, fs.SkipAll)
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		w.t.Fatal(err)
	}
	return path, size
}

func (w *world) heals(file string) {
	w.t.Helper()
	v, _ := w.view()
	defer func() {
		if err := v.Close(); err != nil {
			w.t.Errorf("%s: close: %v", file, err)
		}
	}()
	if bad := w.misses(v); bad > 0 {
		again, err := v.Distrust(func(name string) (*index.Segment, error) { return index.Decode(w.segs[name].data) })
		if !again || err != nil {
			w.t.Errorf("%s: %d are missed, and Distrust gives %v, %v", file, bad, again, err)
		}
	}
	w.check(v)
}

// misses counts what is not found. What is found must be right.
func (w *world) misses(v *index.View) (n int) {
	for id, places := range w.places() {
		got, ok, err := v.Lookup(id)
		switch {
		case ok && err == nil && !slices.Contains(places, got):
			w.t.Errorf("%s: %+v; want one of %+v", id.Short(), got, places)
		case len(places) > 0 && (err != nil || !ok):
			n++
		}
	}
	return n
}

// TestTableRotsAfterCrash: a run ended while the table was open, and then a
// block in the middle of a file rots, which Badger would meet when it compacts.
func TestTableRotsAfterCrash(t *testing.T) {
	w := newWorld(t)
	w.grow(2, 5000)
	v, _ := w.view()
	w.close(v)
	if err := os.WriteFile(filepath.Join(w.dir, "table-0.lock"), []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "table-0", "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range files {
		if err := spoilers["flipped"](name, 0, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
	}
	v, added := w.view()
	if added != 2 {
		t.Errorf("%d segments added: the damage was not found", added)
	}
	w.check(v)
	w.close(v)
}

// TestMergeCutOff: the process ended between a segment's entries and its mark.
func TestMergeCutOff(t *testing.T) {
	w := newWorld(t)
	id := w.id()
	w.segs["a"], w.segs["b"] = w.make(t, 200, false, id), w.make(t, 200, false, id)
	v := index.NewView(w.open, 1)
	w.add(v, "a")
	index.CutOffMerge(v, "b", decode(t, w.segs["b"].data))
	w.close(v)
	delete(w.segs, "b") // a prune took it away
	v, _ = w.view()
	w.check(v)
	w.close(v)
}
