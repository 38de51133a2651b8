package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/snapshot/verify"
	"coffer/store"
)

var secret = seal.Secret{Kind: seal.KeyFile, Value: []byte("x")}

// A world is a repository and what is in it.
type world struct {
	t       *testing.T
	b       *mem.Bucket
	snaps   []snapshot.Snapshot
	content map[string]chunk.ID // by path: one chunk for each file
	trees   map[string]chunk.ID // listings by path
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, b: mem.New(), content: map[string]chunk.ID{}, trees: map[string]chunk.ID{}}
	if _, err := store.Init(t.Context(), w.b, store.Env{}, store.InitOptions{Secret: secret, Pack: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(b bucket.Bucket) *store.Store {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), b, store.Env{Level: seal.Off}, secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// backup makes a snapshot of a directory for each of dirs, with files of 20 KB.
// A directory is the same in all snapshots that have one of its number.
func (w *world) backup(dirs, files int, more ...func(ctx context.Context, s snapshot.Saver, l *snapshot.Listing) error) {
	w.t.Helper()
	m := snapshot.Manifest{Version: 1, Host: "h", Name: "default", State: snapshot.Complete, Sequence: uint64(len(w.snaps) + 1)}
	c, err := w.open(w.b).Write(w.t.Context(), func(ctx context.Context, s *store.Session) ([]byte, error) {
		top := snapshot.NewListing(s)
		for i := range dirs {
			name := fmt.Sprintf("dir%03d", i)
			if err := top.Add(ctx, w.dir(ctx, s, "/"+name, files)); err != nil {
				return nil, err
			}
		}
		for _, add := range more {
			if err := add(ctx, s, top); err != nil {
				return nil, err
			}
		}
		var err error
		if m.Root, _, err = top.Close(ctx); err != nil {
			return nil, err
		}
		w.trees["/"] = m.Root
		return snapshot.EncodeManifest(&m)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.snaps = append(w.snaps, snapshot.Snapshot{ID: c.ID, Manifest: m})
}

func (w *world) dir(ctx context.Context, s snapshot.Saver, at string, files int) *snapshot.Entry {
	w.t.Helper()
	l := snapshot.NewListing(s)
	for i := range files {
		e := w.file(ctx, s, fmt.Sprintf("%s/file%04d", at, i))
		if err := l.Add(ctx, e); err != nil {
			w.t.Fatal(err)
		}
	}
	id, totals, err := l.Close(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.trees[at] = id
	return &snapshot.Entry{Name: at[1:], Type: snapshot.Dir, Mode: 0o755, Tree: id, Items: totals.Items, Files: totals.Files, Size: totals.Bytes}
}

// file saves a file whose content its path decides.
func (w *world) file(ctx context.Context, s snapshot.Saver, at string) *snapshot.Entry {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(uint64(len(at)), uint64(at[len(at)-1])))
	data := []byte(at)
	for len(data) < 20_000 {
		data = append(data, byte(rnd.Uint32()))
	}
	id, err := s.Save(ctx, chunk.Data, data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.content[at] = id
	return &snapshot.Entry{Name: at[strings.LastIndex(at, "/")+1:], Type: snapshot.File, Mode: 0o644, Size: int64(len(data)),
		Content: []snapshot.Ref{{ID: id, Length: uint32(len(data))}}}
}

func (w *world) run(b bucket.Bucket, opt verify.Options) verify.Report {
	w.t.Helper()
	rep, err := verify.Run(w.t.Context(), w.open(b), w.snaps, opt)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rep.Damaged) > 2*verify.MaxListed || rep.OK() != (len(rep.Damaged) == 0) {
		w.t.Errorf("%d of %d findings", len(rep.Damaged), rep.DamagedTotal)
	}
	return rep
}

// packOf returns the name of the pack that a chunk is in.
func (w *world) packOf(id chunk.ID) string {
	w.t.Helper()
	name, err := w.open(w.b).PackOf(w.t.Context(), id)
	if err != nil || name == "" {
		w.t.Fatal(name, err)
	}
	return name
}

// altered has other bytes, or none, in place of some objects.
type altered struct {
	bucket.Bucket
	objects map[string][]byte
}

func (a altered) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	data, ok := a.objects[name]
	if !ok {
		return a.Bucket.Get(ctx, name, off, n)
	}
	other := mem.New()
	if data != nil {
		if err := other.Put(ctx, name, bytes.NewReader(data), int64(len(data))); err != nil {
			return nil, err
		}
	}
	return other.Get(ctx, name, off, n)
}

func (a altered) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for info, err := range a.Bucket.List(ctx, prefix, after) {
			if data, ok := a.objects[info.Name]; ok {
				if data == nil {
					continue
				}
				info.Size = int64(len(data))
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (w *world) read(name string) []byte {
	w.t.Helper()
	data, err := buckettest.Read(w.t.Context(), w.b, name, 0, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// paths lists what cannot be restored, as "number of snapshot:path".
func (w *world) paths(rep verify.Report) []string {
	var out []string
	for _, d := range rep.Damaged {
		if i := slices.IndexFunc(w.snaps, func(s snapshot.Snapshot) bool { return s.ID == d.Snapshot }); i >= 0 {
			out = append(out, fmt.Sprintf("%d:%s", i, d.Path))
		}
	}
	return out
}

func TestClean(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 10)
	w.backup(4, 10)
	rep := w.run(w.b, verify.Options{})
	want := verify.Report{Snapshots: 2, Trees: 6, Refs: 40, Packs: rep.Packs, Bytes: rep.Bytes}
	if fmt.Sprintf("%+v", rep) != fmt.Sprintf("%+v", want) || rep.Packs < 10 {
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
		"/dir002": {"1:/dir002"},
		"/":       {"1:/"},
	} {
		name := w.packOf(w.trees[at])
		rep := w.run(altered{w.b, map[string][]byte{name: nil}}, verify.Options{})
		if got := w.paths(rep); !slices.Contains(got, want[0]) {
			t.Errorf("%s: %q", at, got)
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
	seen := map[int64]bool{}
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
	for seed := range uint64(30) { // in time every pack is read
		var mu trace
		w.run(mu.Wrap(w.b), verify.Options{ReadData: true, Percent: 20, Seed: seed})
		for i, name := range mu.packs() {
			seen[int64(i)] = seen[int64(i)] || name
		}
	}
}

// trace tells which packs were read.
type trace struct{ buckettest.Trace }

func (tr *trace) packs() map[int]bool {
	out := map[int]bool{}
	for i, c := range tr.Calls() {
		out[i] = c.Kind == buckettest.Get && strings.HasPrefix(c.Name, "packs/")
	}
	return out
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

// TestOffline: no connection is an error, not damage.
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
