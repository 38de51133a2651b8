package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

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
	clock   time.Time           // zero: the real one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, b: mem.New(), content: map[string]chunk.ID{}, trees: map[string]chunk.ID{}}
	if _, err := store.Init(t.Context(), w.b, store.Env{}, store.InitOptions{Secret: secret, Pack: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time {
	if w.clock.IsZero() {
		return time.Now()
	}
	return w.clock
}

// sizes knows the sizes of packs.
func (w *world) sizes() func(string) int64 {
	w.t.Helper()
	m := map[string]int64{}
	for info, err := range w.b.List(w.t.Context(), "packs/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		m[info.Name] = info.Size
	}
	return func(name string) int64 { return m[name] }
}

func (w *world) open(b bucket.Bucket) *store.Store {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), b, store.Env{Level: seal.Off, Now: w.now}, secret)
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
