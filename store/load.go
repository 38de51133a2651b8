package store

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/singleflight"

	"coffer/chunk"
	"coffer/index"
)

// errAbsent says that no pack holds a chunk.
var errAbsent = errors.New("no pack holds it")

// Load returns a chunk, verified against its ID.
func (s *Store) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return s.load(ctx, v, k, id)
}

func (s *Store) load(ctx context.Context, v *view, k chunk.Kind, id chunk.ID) ([]byte, error) {
	p, ok, err := v.index.Lookup(id)
	if err != nil {
		return nil, fmt.Errorf("look up chunk %s: %w", id.Short(), err)
	}
	if !ok {
		return nil, &DamageError{Chunk: id, Err: errAbsent}
	}
	plain, err := s.block(ctx, p)
	if err != nil {
		return nil, &DamageError{Pack: packName(p.Pack), Chunk: id, Err: err}
	}
	return s.verified(plain, p, k, id)
}

// verified cuts a chunk out of its plain block and checks that it is what its
// ID says.
func (s *Store) verified(plain []byte, p index.Place, k chunk.Kind, id chunk.ID) ([]byte, error) {
	if p.Recipe {
		return nil, fmt.Errorf("chunk %s is stored as a recipe, which this version cannot read: use a newer coffer", id.Short())
	}
	if int(p.Offset)+int(p.Length) > len(plain) {
		return nil, &DamageError{Pack: packName(p.Pack), Chunk: id, Err: errors.New("it ends behind its block")}
	}
	data := plain[p.Offset : p.Offset+p.Length : p.Offset+p.Length]
	if s.sum(k, data) != id {
		return nil, &DamageError{Pack: packName(p.Pack), Chunk: id, Err: errors.New("its bytes have another id")}
	}
	return data, nil
}

// block returns the plain bytes of the block at a place, by way of the cache.
// Callers that want the same block at the same time share one read.
func (s *Store) block(ctx context.Context, p index.Place) ([]byte, error) {
	key := blockKey{p.Pack, p.BlockOffset}
	if plain, ok := s.blocks.get(key); ok {
		return plain, nil
	}
	name := fmt.Sprintf("%s@%d", packName(p.Pack), p.BlockOffset)
	plain, err, _ := s.blocks.flight.Do(name, func() (any, error) {
		plain, err := s.readBlock(ctx, p)
		if err == nil {
			s.blocks.add(key, plain)
		}
		return plain, err
	})
	if err != nil {
		return nil, err
	}
	return plain.([]byte), nil
}

func (s *Store) readBlock(ctx context.Context, p index.Place) ([]byte, error) {
	sealed := make([]byte, p.BlockSealed)
	if err := s.readAt(ctx, packName(p.Pack), sealed, int64(p.BlockOffset)); err != nil {
		return nil, err
	}
	return s.box.OpenBlock(nil, sealed, int(p.BlockPlain))
}

// readAt fills b from offset off of an object.
func (s *Store) readAt(ctx context.Context, name string, b []byte, off int64) error {
	r, err := s.bucket.Get(ctx, name, off, int64(len(b)))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, r.Close())
}

// blockCacheBytes holds the tree blocks that a walk goes back and forth in.
const blockCacheBytes = 24 << 20

type blockKey struct {
	pack   index.Pack
	offset uint32
}

type cachedBlock struct {
	key   blockKey
	plain []byte
}

// A blockCache keeps the plain blocks that were used last, up to a number of
// bytes.
type blockCache struct {
	flight singleflight.Group

	mu     sync.Mutex
	limit  int
	used   int
	recent *list.List // of *cachedBlock, newest first
	byKey  map[blockKey]*list.Element
}

func newBlockCache(limit int) *blockCache {
	return &blockCache{limit: limit, recent: list.New(), byKey: map[blockKey]*list.Element{}}
}

func (c *blockCache) get(key blockKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cachedBlock).plain, true
}

func (c *blockCache) add(key blockKey, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok || len(plain) > c.limit {
		return
	}
	c.byKey[key] = c.recent.PushFront(&cachedBlock{key, plain})
	for c.used += len(plain); c.used > c.limit; {
		old := c.recent.Remove(c.recent.Back()).(*cachedBlock)
		delete(c.byKey, old.key)
		c.used -= len(old.plain)
	}
}

// Has reports whether a chunk is stored, as far as the index says.
func (s *Store) Has(ctx context.Context, id chunk.ID) (bool, error) {
	v, err := s.current(ctx)
	if err != nil {
		return false, err
	}
	_, ok, err := v.index.Lookup(id)
	return ok, err
}
