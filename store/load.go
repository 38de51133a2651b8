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
	defer v.release()
	data, err := s.load(ctx, v, k, id)
	if v.mayHaveMoved(err) && ctx.Err() == nil {
		return s.loadMoved(ctx, v, k, id, err)
	}
	return data, err
}

// mayHaveMoved reports whether what could not be loaded may be elsewhere by now.
func (v *view) mayHaveMoved(err error) bool {
	return isMissing(err) && !errors.Is(err, errAbsent) || err != nil && v.done == nil
}

// loadMoved loads a chunk whose pack has vanished since the view v was read: a
// prune may have moved the chunk to another pack. If none has, err stands.
func (s *Store) loadMoved(ctx context.Context, v *view, k chunk.Kind, id chunk.ID, err error) ([]byte, error) {
	now, viewErr := s.current(ctx)
	if viewErr == nil && now.Number == v.Number && (now.done == nil) == (v.done == nil) {
		now.release()
		now, viewErr = s.newestView(ctx)
	}
	if viewErr != nil {
		return nil, errors.Join(err, viewErr)
	}
	defer now.release()
	if now.Number == v.Number && (now.done == nil) == (v.done == nil) {
		return nil, err
	}
	return s.load(ctx, now, k, id)
}

func (s *Store) load(ctx context.Context, v *view, k chunk.Kind, id chunk.ID) ([]byte, error) {
	p, err := s.find(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return s.loadAt(ctx, p, k, id)
}

// loadAt loads the chunk at a place.
func (s *Store) loadAt(ctx context.Context, p index.Place, k chunk.Kind, id chunk.ID) ([]byte, error) {
	plain, err := s.block(ctx, p)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
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
	for {
		plain, err, shared := s.blocks.flight.Do(name, func() (any, error) { return s.fetchBlock(ctx, key, p) })
		if err == nil {
			return plain.([]byte), nil
		}
		if !shared || !isCancel(err) || ctx.Err() != nil {
			return nil, err
		}
		// It was another caller who gave up, and we shared his read.
	}
}

func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fetchBlock reads a block into the cache. It tries twice: only the transfer
// may have gone wrong.
func (s *Store) fetchBlock(ctx context.Context, key blockKey, p index.Place) ([]byte, error) {
	plain, err := s.readBlock(ctx, p)
	if err != nil && ctx.Err() == nil {
		plain, err = s.readBlock(ctx, p)
	}
	if err == nil {
		s.blocks.add(key, plain)
	}
	return plain, err
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
	defer v.release()
	_, ok, err := v.index.Lookup(id)
	return ok, err
}

// Missing returns those of ids that should be there and are not, as far as the
// index says.
func (s *Store) Missing(ctx context.Context, ids []chunk.ID) ([]chunk.ID, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	defer v.release()
	var missing []chunk.ID
	for _, id := range ids {
		_, err := s.find(ctx, v, id)
		if errors.Is(err, errAbsent) {
			missing = append(missing, id)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// PackOf returns the name of the pack that a chunk is in; "" where none has it.
func (s *Store) PackOf(ctx context.Context, id chunk.ID) (string, error) {
	v, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	defer v.release()
	p, ok, err := v.index.Lookup(id)
	if err != nil || !ok {
		return "", err
	}
	return packName(p.Pack), nil
}
