// Package store is the content-addressed store: it deduplicates, packs, seals
// and commits what sessions save, and loads it again. It joins bucket, seal,
// chunk and index; nobody above it sees a pack, an index or a bucket.
//
// What is saved becomes real by one record, written once: the fate of its
// session. Packs are durable before the index segments that name them, and
// those before the fate. Before the fate exists nothing has happened; once it
// exists everything has. Reads verify: Load returns the bytes of the ID it was
// asked for, or a *DamageError.
//
// The protocol is in docs/format.md, "Sessions and fates".
package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"coffer/bucket"
	"coffer/chunk"
	"coffer/index"
	"coffer/internal/scratch"
	"coffer/seal"
)

// Env is what a store takes from the machine. The command sets it.
type Env struct {
	Now      func() time.Time // nil: time.Now
	Rand     io.Reader        // nil: crypto/rand
	Log      *slog.Logger     // nil: nothing is logged
	CacheDir string           // "": no cache on disk
	Level    seal.Level       // "": Fastest; see docs/benchmarks.md
	Workers  int              // 0: one for each processor
	Host     string           // for people who look at sessions

	MemoryEntries int // 0: index.MemoryEntries; larger indexes go into the cache

	BeatEvery time.Duration // 0: each minute; see register.go
	PollEvery time.Duration // 0: every ten seconds; see reader.go
}

func (e Env) filled() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Reader
	}
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Level == "" {
		e.Level = seal.Fastest
	}
	if e.Workers == 0 {
		e.Workers = runtime.GOMAXPROCS(0)
	}
	if e.BeatEvery == 0 {
		e.BeatEvery = beatEvery
	}
	if e.PollEvery == 0 {
		e.PollEvery = pollEvery
	}
	return e
}

// A Store is an open repository. It is safe for concurrent use.
type Store struct {
	bucket bucket.Bucket
	env    Env
	cfg    Config
	master seal.Master
	keys   *seal.Keys
	box    *seal.Box
	hash   sync.Pool      // *chunk.Hasher
	buf    *scratch.Shelf // sealed and plain bytes on their way
	solids *scratch.Shelf // open solid blocks
	blocks *blockCache

	fates  *memo[fate]
	pieces *memo[[]settled]
	asks   *memo[[]string]
	notes  *memo[note]

	reading sync.Mutex // held while segments are loaded into a view
	mu      sync.Mutex
	view    *view // newest that was read; nil before the first
}

func newStore(b bucket.Bucket, env Env, master seal.Master, cfg Config) (*Store, error) {
	env = env.filled()
	id, err := cfg.repositoryID()
	if err != nil {
		return nil, err
	}
	s := &Store{bucket: b, env: env, cfg: cfg, master: master, keys: master.Keys(id), blocks: newBlockCache(blockCacheBytes),
		fates: newMemo[fate](4096), pieces: newMemo[[]settled](64), asks: newMemo[[]string](4096), notes: newMemo[note](4096)}
	s.hash.New = func() any { return chunk.NewHasher() }
	s.buf = scratch.NewShelf(2*env.Workers, 2<<20+4<<10) // nearly all blocks: seal.keptBuffer
	s.solids = scratch.NewShelf(env.Workers+2, 1<<20)
	s.box, err = seal.NewBox(s.keys, env.Rand, env.Level, env.Workers)
	return s, err
}

// Open opens the repository in b with the first of secrets that fits one of its
// key slots.
func Open(ctx context.Context, b bucket.Bucket, env Env, secrets ...seal.Secret) (*Store, error) {
	id, sealed, err := readConfig(ctx, b)
	if err != nil {
		return nil, err
	}
	master, err := unlock(ctx, b, secrets)
	if err != nil {
		return nil, err
	}
	s, err := newStore(b, env, master, Config{ID: id})
	if err != nil {
		return nil, err
	}
	s.cfg, err = decodeConfig(s.box, sealed)
	if err == nil && s.cfg.ID != id {
		err = fmt.Errorf("config: two repository ids: %w", seal.ErrDamaged)
	}
	return s, err
}

// Config returns what never changes in this repository.
func (s *Store) Config() Config { return s.cfg }

// Close releases the caches. Sessions must have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	v := s.view
	s.view = nil
	s.mu.Unlock()
	v.release()
	return nil
}

// sum returns the ID of data.
func (s *Store) sum(k chunk.Kind, data []byte) chunk.ID {
	h := s.hash.Get().(*chunk.Hasher)
	defer s.hash.Put(h)
	return h.Sum(k, data)
}

// draw returns 128 random bits, of which names are made that are never used again.
func (s *Store) draw() (id [16]byte, err error) {
	if _, err := io.ReadFull(s.env.Rand, id[:]); err != nil {
		return id, fmt.Errorf("draw a name: %w", err)
	}
	return id, nil
}

// put stores a small object.
func (s *Store) put(ctx context.Context, name string, data []byte) error {
	return s.bucket.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
}

// putRecord seals and stores a small record under its name.
func (s *Store) putRecord(ctx context.Context, name string, plain []byte) error {
	sealed, err := s.box.SealRecord(name, plain)
	if err != nil {
		return err
	}
	return s.put(ctx, name, sealed)
}

// getRecord reads and opens a record.
func (s *Store) getRecord(ctx context.Context, name string, limit int) ([]byte, error) {
	sealed, err := readAll(ctx, s.bucket, name, limit)
	if err != nil {
		return nil, err
	}
	return s.box.OpenRecord(name, sealed, limit)
}

// readAll reads an object of at most limit bytes and what sealing adds: who
// keeps the objects cannot make us run out of memory.
func readAll(ctx context.Context, b bucket.Bucket, name string, limit int) ([]byte, error) {
	r, err := b.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	limit += seal.Overhead + len(configMagic)
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("read %s: more than %d bytes: %w", name, limit, seal.ErrDamaged)
	}
	return data, errors.Join(err, r.Close())
}

// openTable opens the index cache of this repository.
func (s *Store) openTable() (*index.Table, error) {
	dir := filepath.Join(s.env.CacheDir, s.cfg.ID, "index")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make index cache: %w", err)
	}
	return index.OpenTable(dir, s.keys.LookupKey())
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
