package gc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"coffer/chunk"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
	"coffer/store"
)

// A box seals as a store does.
type box struct {
	*seal.Box
	fail atomic.Bool
	left atomic.Int64 // the call after so many fails, and no other; 0: none
}

func (b *box) SealCache(name string, plain []byte) ([]byte, error) {
	if b.fail.Load() || b.left.Add(-1) == 0 {
		return nil, errors.New("no")
	}
	return b.SealRecord(name, plain)
}

func (b *box) OpenCache(name string, sealed []byte, limit int) ([]byte, error) {
	return b.OpenRecord(name, sealed, limit)
}

func newBox(t testing.TB) *box {
	t.Helper()
	master, err := seal.NewMaster(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := seal.NewBox(master.Keys(seal.RepositoryID{1}), rand.Reader, seal.Fastest, 2)
	if err != nil {
		t.Fatal(err)
	}
	return &box{Box: b}
}

// A dir is a directory to be listed. Files have content only.
type dir struct {
	files map[string][]chunk.ID
	dirs  map[string]*dir
}

// A world is a history of snapshots in memory.
type world struct {
	snapshottest.Mem
	t       testing.TB
	r       *mrand.Rand
	top     *dir
	commits []store.Commit
	lost    map[chunk.ID]bool
	onLoad  func(chunk.ID) error // nil: nothing
	calm    bool                 // warnings are expected
}

// alarm fails the test on warnings: a log that we wrote is never rotten.
type alarm struct {
	slog.Handler
	w *world
}

func (a *alarm) Enabled(context.Context, slog.Level) bool { return true }

func (a *alarm) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && !a.w.calm {
		r.Attrs(func(attr slog.Attr) bool { a.w.t.Error(r.Message, attr); return true })
	}
	return nil
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, r: mrand.New(mrand.NewPCG(seed, 1)), lost: map[chunk.ID]bool{}}
	w.top = w.random(0)
	return w
}

func (w *world) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	if w.onLoad != nil {
		if err := w.onLoad(id); err != nil {
			return nil, err
		}
	}
	return w.Mem.Load(ctx, k, id)
}

func (w *world) Lost(id chunk.ID) bool { return w.lost[id] }

func (w *world) id() (id chunk.ID) {
	for i := range id {
		id[i] = byte(w.r.Uint32())
	}
	return id
}

func (w *world) content() []chunk.ID {
	n := w.r.IntN(4)
	if w.r.IntN(40) == 0 {
		n = 450 + w.r.IntN(1000) // spills
	}
	ids := make([]chunk.ID, n)
	for i := range ids {
		ids[i] = w.id()
	}
	return ids
}

func (w *world) random(depth int) *dir {
	d := &dir{files: map[string][]chunk.ID{}, dirs: map[string]*dir{}}
	for range w.r.IntN(5) {
		d.files[fmt.Sprintf("f%d", w.r.Uint32())] = w.content()
	}
	if w.r.IntN(20) == 0 {
		for i := range 200 { // several pages
			d.files[fmt.Sprintf("many%d", i)] = nil
		}
	}
	if depth < 4 {
		for range w.r.IntN(4) + 2 - depth/3 {
			d.dirs[fmt.Sprintf("d%d", w.r.Uint32())] = w.random(depth + 1)
		}
	}
	return d
}

// change changes some places below d.
func (w *world) change(d *dir) {
	if w.r.IntN(3) == 0 && d.files != nil {
		d.files[fmt.Sprintf("f%d", w.r.Uint32())] = w.content()
	}
	for _, name := range slices.Sorted(maps.Keys(d.dirs)) {
		switch w.r.IntN(12) {
		case 0:
			delete(d.dirs, name)
		case 1:
			d.dirs[name+"x"] = d.dirs[name] // the same listing once more
		case 2:
			w.top.dirs[name] = d.dirs[name]
			delete(d.dirs, name)
		default:
			w.change(d.dirs[name])
		}
	}
}

// save stores a directory and returns its listing's ID.
func (w *world) save(d *dir) chunk.ID {
	w.t.Helper()
	l := snapshot.NewListing(&w.Mem)
	names := slices.Concat(slices.Collect(maps.Keys(d.files)), slices.Collect(maps.Keys(d.dirs)))
	slices.Sort(names)
	for _, name := range names {
		e := &snapshot.Entry{Name: name, Type: snapshot.File, Mode: 0o644}
		for _, id := range d.files[name] {
			e.Content = append(e.Content, snapshot.Ref{ID: id, Length: 7})
		}
		e.Size = 7 * int64(len(e.Content))
		if sub := d.dirs[name]; sub != nil {
			e.Type, e.Tree = snapshot.Dir, w.save(sub)
		}
		if err := l.Add(w.t.Context(), e); err != nil {
			w.t.Fatal(err)
		}
	}
	id, _, err := l.Close(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// listing stores a directory of one entry, for trees that are made by hand.
func (w *world) listing(name string, tree chunk.ID, content ...chunk.ID) chunk.ID {
	w.t.Helper()
	e := &snapshot.Entry{Name: name, Type: snapshot.Dir, Tree: tree}
	if len(content) > 0 {
		e = &snapshot.Entry{Name: name, Type: snapshot.File, Size: 7 * int64(len(content))}
		for _, id := range content {
			e.Content = append(e.Content, snapshot.Ref{ID: id, Length: 7})
		}
	}
	l := snapshot.NewListing(&w.Mem)
	if err := l.Add(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	id, _, err := l.Close(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) commit(root chunk.ID, top []byte) store.Commit {
	w.t.Helper()
	m := snapshot.Manifest{Host: "h", Name: "default", State: snapshot.Complete, Root: root, Top: top}
	payload, err := snapshot.EncodeManifest(&m)
	if err != nil {
		w.t.Fatal(err)
	}
	c := store.Commit{ID: fmt.Sprint(len(w.commits)), Payload: payload}
	w.commits = append(w.commits, c)
	return c
}

// history makes n snapshots.
func (w *world) history(n int) {
	for range n {
		w.commit(w.save(w.top), nil)
		w.change(w.top)
	}
}

type ids map[chunk.ID]chunk.Kind

// reach is what commits need by the judge that knows no cache. What is lost
// names nothing.
func (w *world) reach(commits []store.Commit) ids {
	w.t.Helper()
	all := ids{}
	for _, c := range commits {
		m, err := snapshot.DecodeManifest(c.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		empty := w.listing("empty", chunk.ID{})
		page, _ := w.Mem.Load(w.t.Context(), chunk.Tree, empty)
		err = snapshot.Reach(w.t.Context(), lossy{w, page}, m.Root, func(k chunk.Kind, id chunk.ID) bool {
			_, ok := all[id]
			all[id] = k
			return !ok
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

type lossy struct {
	w     *world
	empty []byte
}

func (l lossy) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := l.w.Mem.Load(ctx, k, id)
	if errors.Is(err, fs.ErrNotExist) && l.w.lost[id] {
		return l.empty, nil
	}
	return data, err
}

// is fails the test if a live set holds anything but exactly want.
func (want ids) is(t testing.TB, live *store.LiveSet, what string) {
	t.Helper()
	missing := 0
	for id := range want {
		if !live.Has(id) {
			missing++
		}
	}
	if missing > 0 || live.Len() != len(want) {
		t.Fatalf("%s: %d of %d are missing, %d are live", what, missing, len(want), live.Len())
	}
}

// mark marks, and checks that what is found is exact.
func (w *world) mark(m *Marker, commits []store.Commit, what string) *store.LiveSet {
	w.t.Helper()
	live := store.NewLiveSet()
	if err := m.Mark(w.t.Context(), w, commits, live); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	w.reach(commits).is(w.t, live, what)
	return live
}

// loads returns how many chunks fn loads.
func (w *world) loads(fn func()) int {
	w.ResetLoads()
	fn()
	n := 0
	for _, times := range w.Loads() {
		n += times
	}
	return n
}

// quiet marks with a log that knows everything.
func (w *world) markFromLog(m *Marker, commits []store.Commit, what string) {
	w.t.Helper()
	n := w.loads(func() {
		if err := m.Mark(w.t.Context(), w, commits, store.NewLiveSet()); err != nil {
			w.t.Fatal(err)
		}
	})
	if n > 0 {
		w.t.Errorf("%s: %d pages were loaded again", what, n)
	}
	w.mark(m, commits, what)
}

// marker returns a Marker with small frames.
func (w *world) marker(dir string, b Sealer) *Marker {
	m := New(dir, b, slog.New(&alarm{Handler: slog.DiscardHandler, w: w}))
	m.frame = 500
	return m
}

func (w *world) some() []store.Commit {
	var out []store.Commit
	for _, c := range w.commits {
		if w.r.IntN(3) == 0 {
			out = append(out, c)
		}
	}
	return out
}

func readLog(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeLog(t testing.TB, dir string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, logFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func sortIDs(s []chunk.ID) []chunk.ID {
	slices.SortFunc(s, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	return s
}
