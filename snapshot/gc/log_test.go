package gc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// small is a history whose log has a few frames in some kilobytes.
func small(t testing.TB) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(1, 1)), lost: map[chunk.ID]bool{}}
	leaf := func() *dir { return &dir{files: map[string][]chunk.ID{"f": {w.id()}}} }
	w.top = &dir{dirs: map[string]*dir{"a": leaf(), "b": {dirs: map[string]*dir{"c": leaf(), "d": leaf()}}}}
	for i := range 4 {
		w.commit(w.save(w.top), nil)
		w.top.dirs["b"].dirs[string(rune('e'+i))] = leaf()
	}
	return w
}

func TestLogCutAnywhere(t *testing.T) {
	w, b, dir := small(t), newBox(t), t.TempDir()
	w.calm = true
	m := w.marker(dir, b)
	m.frame = 100
	w.mark(m, w.commits, "first")
	good := readLog(t, dir)
	useful := 0
	all := w.loads(func() { w.markQuiet(w.marker("", nil)) })
	for n := range len(good) + 1 {
		writeLog(t, dir, good[:n])
		if w.loads(func() { w.markQuiet(m) }) < all {
			useful++
		}
		w.markFromLog(m, w.commits[2:], "cut, again")
		if n%5 > 0 {
			continue
		}
		writeLog(t, dir, append(append([]byte(nil), good[:n]...), make([]byte, 300)...))
		w.mark(m, w.commits, "cut, zeros behind")
		w.markFromLog(m, w.commits, "cut, zeros behind, again")
	}
	if useful < len(good)/2 {
		t.Errorf("%d of %d prefixes of a log were of use", useful, len(good))
	}
}

func (w *world) markQuiet(m *Marker) {
	live := store.NewLiveSet()
	if err := m.Mark(w.t.Context(), w, w.commits, live); err != nil {
		w.t.Fatal(err)
	}
	if n := live.Len(); n != len(w.reach(w.commits)) {
		w.t.Fatalf("%d are live", n)
	}
}

func TestLogRotAnywhere(t *testing.T) {
	w, b, dir := small(t), newBox(t), t.TempDir()
	w.calm = true
	m := w.marker(dir, b)
	m.frame = 100
	w.mark(m, w.commits[:3], "first")
	good := readLog(t, dir)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		writeLog(t, dir, bad)
		w.mark(m, w.commits, "rotten")
		w.markFromLog(m, w.commits, "rotten, again")
	}
	// Once more as one who may not write.
	lock := m.openLog()
	defer lock.close()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		writeLog(t, dir, bad)
		w.mark(m, w.commits, "rotten, another holds the log")
	}
}

func TestOldLog(t *testing.T) {
	w, b, dir := small(t), newBox(t), t.TempDir()
	w.calm = true
	m := w.marker(dir, b)
	w.mark(m, w.commits[:2], "two")
	old := readLog(t, dir)
	w.mark(m, w.commits, "all")
	writeLog(t, dir, old)
	w.mark(m, w.commits[1:], "an old copy")
	w.mark(m, w.commits, "an old copy")
	w.markFromLog(m, w.commits, "an old copy, again")

	// A log of another repository.
	theirs := t.TempDir()
	w.mark(w.marker(theirs, newBox(t)), w.commits, "theirs")
	writeLog(t, dir, readLog(t, theirs))
	w.mark(m, w.commits, "a log of others")
	w.markFromLog(m, w.commits, "a log of others, again")
}

// TestSplicedLogs puts frames, and halves of frames, where they were not
// written: all of them open with our keys.
func TestSplicedLogs(t *testing.T) {
	w, b, dir := small(t), newBox(t), t.TempDir()
	w.calm = true
	m := w.marker(dir, b)
	m.frame = 1
	w.mark(m, w.commits[:1], "one")
	old := readLog(t, dir)
	w.mark(m, w.commits, "all")
	one, oneAt := readLog(t, dir), frames(t, m)
	writeLog(t, dir, old)
	for i := len(w.commits) - 1; i >= 0; i-- {
		w.mark(m, w.commits[i:i+1], "the other way")
	}
	two, twoAt := readLog(t, dir), frames(t, m)
	try := func(log []byte) {
		t.Helper()
		writeLog(t, dir, log)
		w.mark(m, w.commits, "spliced")
		for _, c := range w.commits {
			w.mark(m, []store.Commit{c}, "spliced, again")
		}
	}
	for _, f := range oneAt {
		for _, g := range twoAt {
			try(slices.Concat(one[:f.at+int64(f.sealed)], two[g.at+int64(g.sealed):]))
			head := bytes.Clone(one[:f.at])
			names := f.at - frameHead
			for names > 0 && int64(binary.LittleEndian.Uint32(head[names:])) != f.at-frameHead-names {
				names--
			}
			binary.LittleEndian.PutUint32(head[names+4:], uint32(g.sealed))
			try(slices.Concat(head, two[g.at:g.at+int64(g.sealed)], one[f.at+int64(f.sealed):]))
		}
	}
}

func frames(t *testing.T, m *Marker) []frame {
	t.Helper()
	l := m.openLog()
	defer l.close()
	return l.frames
}

func TestNoLog(t *testing.T) {
	w, b := small(t), newBox(t)
	w.calm = true
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mark(w.marker(filepath.Join(file, "dir"), b), w.commits, "a directory that cannot be made")

	for _, name := range []string{logFile, lockFile, logFile + ".new"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.mark(w.marker(dir, b), w.commits, "a directory called "+name)
	}

	dir := t.TempDir()
	m := w.marker(dir, b)
	m.frame = 1
	w.mark(m, w.commits[:1], "good")
	b.fail.Store(true) // as a disk that is full
	w.mark(m, w.commits, "cannot be written")
	b.fail.Store(false)
	w.mark(m, w.commits[2:], "can be written again")
	w.mark(m, w.commits, "can be written again")
	w.markFromLog(m, w.commits, "can be written again")

	for n := range int64(30) {
		m = w.marker(t.TempDir(), b)
		m.frame = 1
		b.left.Store(n + 1)
		w.mark(m, w.commits, "a frame could not be written")
		for _, c := range w.commits {
			w.mark(m, []store.Commit{c}, "after one could not be written")
		}
		w.markFromLog(m, w.commits, "after one could not be written")
	}
}

func TestNothingInTheClear(t *testing.T) {
	w, dir := newWorld(t, 1), t.TempDir()
	w.history(2)
	m := w.marker(dir, newBox(t))
	w.mark(m, w.commits, "first")
	log := readLog(t, dir)
	l := m.openLog()
	defer l.close()
	clear := map[[6]byte]bool{}
	for ; len(log) >= 6; log = log[1:] {
		clear[[6]byte(log)] = true
	}
	for id := range w.reach(w.commits) {
		n := l.names.of(id)
		for _, secret := range [][]byte{id[:], n[:], l.key[:]} {
			if clear[[6]byte(secret)] {
				t.Fatalf("%x is in the log", secret[:6])
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, logFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func TestCompact(t *testing.T) {
	for seed := range uint64(3) {
		w, b, dir := newWorld(t, seed), newBox(t), t.TempDir()
		w.history(1)
		for range 3 { // much of it goes with each
			w.top = w.random(0)
			w.history(2)
		}
		m := w.marker(dir, b)
		live := w.mark(m, w.commits, "all")
		before := readLog(t, dir)
		compact := func(live *store.LiveSet) {
			t.Helper()
			if err := m.Compact(t.Context(), live); err != nil {
				t.Fatal(err)
			}
		}
		if compact(live); !bytes.Equal(before, readLog(t, dir)) {
			t.Error("a log that is all live was rewritten")
		}
		left := w.commits[len(w.commits)-2:]
		live = w.mark(m, left, "the last")
		compact(live)
		if n := len(readLog(t, dir)); n > len(before)/2 {
			t.Errorf("%d of %d bytes are left", n, len(before))
		}
		w.markFromLog(m, left, "after compacting")
		w.mark(m, w.commits, "all, after compacting")
		w.markFromLog(m, w.commits, "all, after compacting")

		// A live set that lacks what pages in it need: the log stays closed.
		odd := store.NewLiveSet()
		for id, k := range w.reach(left) {
			if k == chunk.Tree && w.r.IntN(2) == 0 {
				odd.Add(id)
			}
		}
		compact(odd)
		w.mark(m, left, "after an odd one")
		compact(store.NewLiveSet())
		w.mark(m, w.commits, "after compacting to nothing")
		w.markFromLog(m, w.commits, "after compacting to nothing")
	}
}

func TestCompactRotten(t *testing.T) {
	w, b, dir := small(t), newBox(t), t.TempDir()
	w.calm = true
	m := w.marker(dir, b)
	m.frame = 100
	w.mark(m, w.commits, "first")
	good := readLog(t, dir)
	for i := 0; i < len(good); i += 3 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		writeLog(t, dir, bad)
		if err := m.Compact(t.Context(), store.NewLiveSet()); err != nil {
			t.Fatal(err)
		}
		w.mark(m, w.commits, "after compacting what was rotten")
	}
	writeLog(t, dir, good)
	b.fail.Store(true)
	if err := m.Compact(t.Context(), store.NewLiveSet()); err != nil {
		t.Fatal(err)
	}
	b.fail.Store(false)
	if !bytes.Equal(good, readLog(t, dir)) {
		t.Error("a log that could not be rewritten was changed")
	}
	w.markFromLog(m, w.commits, "it could not be rewritten")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Compact(ctx, store.NewLiveSet()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(appendRecord(appendRecord(nil, 7, nil, []uint64{1, 2}), 8, []uint32{0, 0}, []uint64{3}), uint32(2))
	f.Add([]byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		rs, err := splitRecords(nil, b, 0, count)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range rs {
			var trees []uint32
			var data []uint64
			for i := range r.trees() {
				trees = append(trees, r.tree(i))
			}
			for i := range r.data() {
				data = append(data, r.datum(i))
			}
			again = appendRecord(again, r.prefix, trees, data)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func TestNames(t *testing.T) {
	a, b := newNames(newKey()), newNames(newKey())
	r := rand.New(rand.NewPCG(1, 2))
	var all []chunk.ID
	for i := range 50000 {
		id := chunk.ID{}
		for j := range 4 {
			id[r.IntN(32)] = byte(r.Uint32() >> j)
		}
		id[0], id[1], id[17] = byte(i), byte(i>>8), byte(i)
		all = append(all, id)
		if _, ok := a.find(a.of(id)); ok {
			t.Fatal("known before it was added")
		}
		if num := a.add(a.of(id)); num != uint32(i) {
			t.Fatal(num, i)
		}
		if a.of(id) == b.of(id) {
			t.Fatal("a name does not depend on the key")
		}
	}
	for i, id := range all {
		if num, ok := a.find(a.of(id)); !ok || num != uint32(i) {
			t.Fatal(i, num, ok)
		}
	}
}

var (
	_ snapshot.Loader = (*world)(nil)
	_ Sealer          = (*store.Store)(nil)
)
