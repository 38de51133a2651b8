package local

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"coffer/bucket/local/internal/disk"
)

// A hold is an open, locked file.
type hold struct{ file disk.File }

// hold keeps a locked file open until the function it returns is called. Only
// the first call does anything.
func (b *Bucket) hold(f disk.File) (release func() error) {
	h := &hold{f}
	b.mu.Lock()
	b.held[h] = struct{}{}
	b.mu.Unlock()
	return sync.OnceValue(func() error {
		b.mu.Lock()
		delete(b.held, h)
		b.mu.Unlock()
		return h.release()
	})
}

// release unlocks before it closes: a child process that is just being started
// may share the open file for a moment, and with it the lock.
func (h *hold) release() error {
	err := errors.Join(h.file.Unlock(), h.file.Close())
	if err != nil {
		return fmt.Errorf("release hold: %w", err)
	}
	return nil
}

// Held implements bucket.Holder.
func (b *Bucket) Held(ctx context.Context, name string) (bool, error) {
	held, err := b.probe(ctx, name)
	if err != nil {
		return false, fmt.Errorf("probe %s: %w", name, err)
	}
	return held, nil
}

// probe tries a shared lock: two that look at the same time do not take each
// other for the holder.
func (b *Bucket) probe(ctx context.Context, name string) (bool, error) {
	f, _, err := b.open(ctx, name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	free, err := f.TryLock(true)
	return !free, err
}
