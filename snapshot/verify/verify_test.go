package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"coffer/bucket/buckettest"
	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/verify"
	"coffer/store"
)

func TestClean(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 10)
	w.backup(4, 10)
	rep := w.run(w.b, verify.Options{})
	want := verify.Report{Snapshots: 2, Trees: 6, Refs: 40, Packs: rep.Packs, Bytes: rep.Bytes}
	if fmt.Sprintf("%+v", rep) != fmt.Sprintf("%+v", want) || rep.Packs < 4 {
		t.Errorf("%+v", rep)
	}
	var last, total int64
	rep = w.run(w.b, verify.Options{ReadData: true, Event: func(d, n int64) { last, total = d, n }})
	if !rep.OK() || rep.PacksRead != rep.Packs || rep.BytesRead != rep.Bytes || rep.Chunks != 46 || last != total || last != rep.Bytes {
		t.Errorf("%+v; %d of %d", rep, last, total)
	}
	if none, err := verify.Run(t.Context(), w.open(w.b), nil, verify.Options{ReadData: true}); err != nil || !none.OK() {
		t.Errorf("no snapshots: %+v, %v", none, err)
	}
}

// TestPagesOnce: what snapshots share is read once.
func TestPagesOnce(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.backup(2, 300)
	}
	one := w.run(w.b, verify.Options{})
	w.snaps = w.snaps[:1]
	if again := w.run(w.b, verify.Options{}); again.Trees != one.Trees || again.Refs != 600 || again.Trees < 6 {
		t.Errorf("%+v, %+v", one, again)
	}
}

func TestDamagedContent(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	w.backup(3, 10)
	name := w.packOf(w.content["/dir001/file0003"])
	var inPack []string
	for at, id := range w.content {
		if w.packOf(id) == name {
			inPack = append(inPack, at)
		}
	}
	var want []string
	for i := range 2 {
		for _, at := range slices.Sorted(slices.Values(inPack)) {
			if i == 1 || at < "/dir002" {
				want = append(want, fmt.Sprintf("%d:%s", i, at))
			}
		}
	}
	for how, data := range map[string][]byte{"missing": nil, "emptied": {}, "cut": w.read(name)[:1000]} {
		for _, opt := range []verify.Options{{}, {ReadData: true}} {
			rep := w.run(altered{w.b, map[string][]byte{name: data}}, opt)
			got := w.paths(rep)
			if !slices.Equal(got, want) || rep.BadPaths != int64(len(want)) || len(rep.BadSnapshots) != 2 {
				t.Errorf("%s, %v: %q; want %q", how, opt.ReadData, got, want)
			}
			if rep.Damaged[0].Pack != name || rep.DamagedTotal != int64(len(rep.Damaged)) {
				t.Errorf("%s: %+v", how, rep.Damaged[0])
			}
		}
	}
}

// TestFlippedContent is found only by reading, and costs one block.
func TestFlippedContent(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	name := w.packOf(w.content["/dir000/file0000"])
	bad := w.read(name)
	bad[300] ^= 1
	damaged := altered{w.b, map[string][]byte{name: bad}}
	if rep := w.run(damaged, verify.Options{}); !rep.OK() {
		t.Errorf("%+v", rep)
	}
	rep := w.run(damaged, verify.Options{ReadData: true})
	for _, d := range rep.Damaged {
		if d.Path != "" && (d.Pack != name || d.Chunk != w.content[d.Path].String() || d.Err == "") {
			t.Errorf("%+v", d)
		}
	}
	if len(w.paths(rep)) == 0 || len(w.paths(rep)) == 20 {
		t.Errorf("%+v", rep)
	}
	text, err := json.Marshal(rep)
	if err != nil || !strings.Contains(string(text), `"path":"/dir000/file0000"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestHarmlessDamage: a trailer costs no file.
func TestHarmlessDamage(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 10)
	name := w.packOf(w.content["/dir000/file0000"])
	bad := w.read(name)
	bad[len(bad)-1] ^= 1
	rep := w.run(altered{w.b, map[string][]byte{name: bad}}, verify.Options{ReadData: true})
	if rep.OK() || rep.BadPaths != 0 || len(rep.BadSnapshots) != 0 || rep.Damaged[0].Pack != name {
		t.Errorf("%+v", rep)
	}
}

func TestDamagedTree(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	w.backup(3, 10)
	for at, want := range map[string][]string{
		"/dir001": {"0:/", "1:/dir000", "1:/dir001"}, // in the pack of the first snapshot
		"/":       {"1:/"},                           // of the second
	} {
		name := w.packOf(w.trees[at])
		rep := w.run(altered{w.b, map[string][]byte{name: nil}}, verify.Options{})
		if got := w.paths(rep); !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", at, got, want)
		}
	}
}

// TestNotInTheIndex: the index knows nothing of a chunk of data, of a tree.
func TestNotInTheIndex(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 3, func(ctx context.Context, s snapshot.Saver, l *snapshot.Listing) error {
		ref := snapshot.Ref{ID: chunk.Sum(chunk.Data, []byte("never saved")), Length: 11}
		e := &snapshot.Entry{Name: "never", Type: snapshot.File, Size: 11, Content: []snapshot.Ref{ref}}
		tree := &snapshot.Entry{Name: "no-listing", Type: snapshot.Dir, Tree: chunk.Sum(chunk.Tree, []byte("x")), Items: 1}
		if err := l.Add(ctx, e); err != nil {
			return err
		}
		return l.Add(ctx, tree)
	})
	rep := w.run(w.b, verify.Options{})
	if got := w.paths(rep); !slices.Equal(got, []string{"0:/never", "0:/no-listing"}) {
		t.Errorf("%q", got)
	}
}

// TestSpilled: the content of a large file is named in tree chunks of its own.
func TestSpilled(t *testing.T) {
	w := newWorld(t)
	var last chunk.ID
	w.backup(1, 2, func(ctx context.Context, s snapshot.Saver, l *snapshot.Listing) error {
		e := &snapshot.Entry{Name: "large", Type: snapshot.File}
		for i := range 9000 {
			data := fmt.Appendf(nil, "chunk %d", i)
			id, err := s.Save(ctx, chunk.Data, data)
			if err != nil {
				return err
			}
			if last = id; i == 8999 {
				last = chunk.Sum(chunk.Data, []byte("lost"))
			}
			e.Content = append(e.Content, snapshot.Ref{ID: last, Length: uint32(len(data))})
			e.Size += int64(len(data))
		}
		return l.Add(ctx, e)
	})
	rep := w.run(w.b, verify.Options{})
	if got := w.paths(rep); !slices.Equal(got, []string{"0:/large"}) || rep.Damaged[0].Chunk != last.String() {
		t.Errorf("%+v", rep.Damaged)
	}
	if rep.Refs != 9002 {
		t.Errorf("%d refs", rep.Refs)
	}
}

func TestSubset(t *testing.T) {
	w := newWorld(t)
	w.backup(4, 20)
	for _, c := range []struct {
		percent float64
		read    func(packs int) int
	}{
		{0, func(n int) int { return n }},
		{100, func(n int) int { return n }},
		{0.001, func(int) int { return 1 }},
		{50, func(n int) int { return (n + 1) / 2 }},
	} {
		opt := verify.Options{ReadData: true, Percent: c.percent, Seed: 3}
		rep := w.run(w.b, opt)
		if rep.PacksRead != c.read(rep.Packs) || !rep.OK() {
			t.Errorf("%v %%: %+v", c.percent, rep)
		}
		if again := w.run(w.b, opt); again.BytesRead != rep.BytesRead {
			t.Errorf("%v %%: the same seed reads other packs", c.percent)
		}
	}
	var tr buckettest.Trace
	for seed := range uint64(30) { // in time every pack is read
		w.run(tr.Wrap(w.b), verify.Options{ReadData: true, Percent: 20, Seed: seed})
	}
	read := map[string]bool{}
	for _, c := range tr.Calls() {
		read[c.Name] = read[c.Name] || c.Kind == buckettest.Get
	}
	names, err := buckettest.Names(t.Context(), w.b, "packs/", "")
	for _, name := range names {
		if !read[name] {
			t.Errorf("%s is never read: %v", name, err)
		}
	}
}

// TestManyPaths: the list of what is damaged ends, the count does not.
func TestManyPaths(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 600)
	w.backup(2, 600)
	bad := map[string][]byte{}
	for _, id := range w.content {
		bad[w.packOf(id)] = nil
	}
	rep := w.run(altered{w.b, bad}, verify.Options{})
	if rep.BadPaths != 1800 || len(w.paths(rep)) != verify.MaxListed || rep.DamagedTotal != 1800+int64(len(bad)) {
		t.Errorf("%d paths, %d listed, %d in all", rep.BadPaths, len(w.paths(rep)), rep.DamagedTotal)
	}
}

// TestForgotten: damage that no snapshot needs is told, and blamed on none.
func TestForgotten(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 5)
	w.backup(2, 5)
	name := w.packOf(w.content["/dir001/file0000"])
	bad := w.read(name)
	for i := 100; i < len(bad); i += 1000 {
		bad[i] ^= 1
	}
	w.snaps = w.snaps[:1]
	rep := w.run(altered{w.b, map[string][]byte{name: bad}}, verify.Options{ReadData: true})
	if rep.OK() || rep.BadPaths != 0 || !slices.ContainsFunc(rep.Damaged, func(d verify.Damage) bool { return d.Chunk != "" }) {
		t.Errorf("%+v", rep)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 50)
	ctx, cancel := context.WithCancel(t.Context())
	rep, err := verify.Run(ctx, w.open(w.b), w.snaps, verify.Options{ReadData: true, Event: func(int64, int64) { cancel() }})
	if err == nil || ctx.Err() == nil {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestFailingListing: no connection is an error, not damage.
func TestFailingListing(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 3)
	f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.List, Prefix: "packs/"})
	rep, err := verify.Run(t.Context(), w.open(f.Wrap(w.b)), w.snaps, verify.Options{})
	if err == nil || len(rep.Damaged) > 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestEveryPack loses each pack in turn: what verify says cannot be restored is
// what cannot be walked and loaded.
func TestEveryPack(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 12)
	names, err := buckettest.Names(t.Context(), w.b, "packs/", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b := altered{w.b, map[string][]byte{name: nil}}
		said := map[string]bool{}
		for _, d := range w.run(b, verify.Options{}).Damaged {
			if d.Path != "" {
				said[d.Path] = true
			}
		}
		truth := map[string]bool{}
		s := w.open(b)
		w.walk(s, "/", w.snaps[0].Root, truth)
		if !maps.Equal(said, truth) || len(truth) == 0 {
			t.Errorf("%s: said %v, and it is %v", name, said, truth)
		}
	}
}

func (w *world) walk(s *store.Store, at string, tree chunk.ID, bad map[string]bool) {
	for e, err := range snapshot.List(w.t.Context(), s, tree, "") {
		if err != nil {
			bad[at] = true
			return
		}
		below := strings.TrimSuffix(at, "/") + "/" + e.Name
		if e.Type == snapshot.Dir {
			w.walk(s, below, e.Tree, bad)
			continue
		}
		if _, err := io.ReadAll(snapshot.NewReader(w.t.Context(), s, e)); err != nil {
			bad[below] = true
		}
	}
}
