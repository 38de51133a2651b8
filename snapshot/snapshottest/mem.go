// Package snapshottest keeps chunks in memory, for tests of what reads and
// writes snapshots.
package snapshottest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	"coffer/chunk"
)

// A Key names a chunk.
type Key struct {
	Kind chunk.Kind
	ID   chunk.ID
}

// Mem is a snapshot.Saver and snapshot.Streamer in memory. It is safe for
// concurrent use; the zero value is empty and ready.
type Mem struct {
	mu     sync.Mutex
	chunks map[Key][]byte
	loads  map[Key]int
	saves  int
}

// Save keeps a copy of data.
func (m *Mem) Save(ctx context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	if err := ctx.Err(); err != nil {
		return chunk.ID{}, err
	}
	id := chunk.Sum(k, data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.chunks == nil {
		m.chunks = make(map[Key][]byte)
	}
	if _, ok := m.chunks[Key{k, id}]; !ok {
		m.chunks[Key{k, id}] = append([]byte(nil), data...)
	}
	return id, nil
}

// Load returns the bytes of a chunk, or an error that is fs.ErrNotExist.
func (m *Mem) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loads == nil {
		m.loads = make(map[Key]int)
	}
	m.loads[Key{k, id}]++
	data, ok := m.chunks[Key{k, id}]
	if !ok {
		return nil, fmt.Errorf("load %s chunk %s: %w", k, id, fs.ErrNotExist)
	}
	return data, nil
}

// Each loads all of ids from two goroutines, the last ones first, so that code
// which counts on an order fails.
func (m *Mem) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error {
	errs := make(chan error, 2)
	for part := range 2 {
		go func() { errs <- m.each(ctx, k, ids, part, fn) }()
	}
	first, second := <-errs, <-errs
	if first != nil {
		return first
	}
	return second
}

func (m *Mem) each(ctx context.Context, k chunk.Kind, ids []chunk.ID, part int, fn func(int, []byte, error) error) error {
	for i := len(ids) - 1; i >= 0; i-- {
		if i%2 != part {
			continue
		}
		data, err := m.Load(ctx, k, ids[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A copy that is wiped afterwards shows who keeps data too long.
		data = append([]byte(nil), data...)
		if err := fn(i, data, err); err != nil {
			return err
		}
		clear(data)
	}
	return nil
}

// Keys returns the names of all chunks.
func (m *Mem) Keys() map[Key]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make(map[Key]bool, len(m.chunks))
	for k := range m.chunks {
		keys[k] = true
	}
	return keys
}

// Loads returns how often each chunk was asked for since ResetLoads.
func (m *Mem) Loads() map[Key]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.loads)
}

// ResetLoads sets all counts of loads to zero.
func (m *Mem) ResetLoads() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads = nil
}

// Saves returns how often Save was called, also with chunks that were there.
func (m *Mem) Saves() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// Delete removes a chunk, to see what misses it.
func (m *Mem) Delete(k chunk.Kind, id chunk.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.chunks, Key{k, id})
}

// Set puts data under a name that need not be its own, to see who believes it.
func (m *Mem) Set(k chunk.Kind, id chunk.ID, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chunks == nil {
		m.chunks = make(map[Key][]byte)
	}
	m.chunks[Key{k, id}] = data
}
