package store_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/seal"
	"coffer/store"
)

// secret opens the repositories of these tests, without a slow key derivation.
var secret = seal.Secret{Kind: seal.KeyFile, Value: []byte("the key file of the tests")}

// smallPack makes many packs of little data.
const smallPack = 64 << 10

// A logbook keeps what a store has warned of.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) env() store.Env {
	return store.Env{Log: slog.New(slog.NewTextHandler(l, nil)), Workers: 2, Host: "host-of-the-tests", Level: seal.Off}
}

func initRepo(t testing.TB, b bucket.Bucket) {
	t.Helper()
	if _, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: secret, Label: "test", Pack: smallPack}); err != nil {
		t.Fatal(err)
	}
}

func openRepo(t testing.TB, b bucket.Bucket) *store.Store {
	t.Helper()
	return openWith(t, b, new(logbook).env())
}

func openWith(t testing.TB, b bucket.Bucket, env store.Env) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), b, env, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newRepo is a repository in memory and its bucket.
func newRepo(t testing.TB) (*store.Store, *mem.Bucket) {
	t.Helper()
	b := mem.New()
	initRepo(t, b)
	return openRepo(t, b), b
}

// copyOf returns a bucket with the same objects.
func copyOf(t testing.TB, b bucket.Bucket) *mem.Bucket {
	t.Helper()
	c := mem.New()
	for name, data := range objects(t, b) {
		put(t, c, name, data)
	}
	return c
}

func objects(t testing.TB, b bucket.Bucket) map[string][]byte {
	t.Helper()
	names, err := buckettest.Names(t.Context(), b, "", "")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = buckettest.Read(t.Context(), b, name, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func put(t testing.TB, b bucket.Bucket, name string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

// A piece is a chunk that a test saves.
type piece struct {
	kind chunk.Kind
	data []byte
}

func (p piece) id() chunk.ID { return chunk.Sum(p.kind, p.data) }

// pieces makes n chunks of mixed sizes and kinds, some of which compress.
func pieces(seed uint64, n int) []piece {
	rnd := rand.New(rand.NewPCG(seed, 1))
	sizes := []int{0, 1, 100, 5_000, 20_000, 70_000, 140_000}
	out := make([]piece, n)
	for i := range out {
		data := make([]byte, sizes[i%len(sizes)]+rnd.IntN(50))
		for j := range data {
			data[j] = byte(rnd.Uint32())
			if i%2 == 0 {
				data[j] &= 3
			}
		}
		out[i] = piece{chunk.Kind(1 + i/2%2), fmt.Appendf(data, "%d of %d", i, seed)}
	}
	return out
}

func save(ctx context.Context, w *store.Session, list []piece) error {
	for _, p := range list {
		id, err := w.Save(ctx, p.kind, p.data)
		if err != nil {
			return err
		}
		if id != p.id() {
			return fmt.Errorf("saved as %s and not %s", id, p.id())
		}
	}
	return nil
}

// backup commits the chunks with a payload.
func backup(ctx context.Context, s *store.Store, payload string, list []piece) (store.Commit, error) {
	return s.Write(ctx, func(ctx context.Context, w *store.Session) ([]byte, error) {
		return []byte(payload), save(ctx, w, list)
	})
}

func mustBackup(t testing.TB, s *store.Store, payload string, list []piece) store.Commit {
	t.Helper()
	c, err := backup(t.Context(), s, payload, list)
	if err == nil {
		err = s.Refresh(t.Context()) // loads see it from here on
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkLoads demands every chunk, by Load and by Each.
func checkLoads(t testing.TB, s *store.Store, list []piece) {
	t.Helper()
	byKind := map[chunk.Kind][]piece{}
	for _, p := range list {
		got, err := s.Load(t.Context(), p.kind, p.id())
		if err != nil || !bytes.Equal(got, p.data) {
			t.Fatalf("load: %d bytes of %d, %v", len(got), len(p.data), err)
		}
		byKind[p.kind] = append(byKind[p.kind], p)
	}
	for k, want := range byKind {
		seen := make([]int, len(want))
		var mu sync.Mutex
		err := s.Each(t.Context(), k, ids(want), func(i int, data []byte, err error) error {
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
			if err != nil || !bytes.Equal(data, want[i].data) {
				t.Errorf("each: %d bytes of %d, %v", len(data), len(want[i].data), err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("index %d was called %d times", i, n)
			}
		}
	}
}

func ids(list []piece) []chunk.ID {
	out := make([]chunk.ID, len(list))
	for i := range list {
		out[i] = list[i].id()
	}
	return out
}

// checkClean demands that Check finds nothing.
func checkClean(t testing.TB, s *store.Store) store.CheckReport {
	t.Helper()
	rep, err := s.Check(t.Context(), store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { t.Error(d) }})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func payloads(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	commits, err := s.Commits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range commits {
		out[c.ID] = string(c.Payload)
	}
	return out
}
