// Package mem is a bucket in memory, for tests and simulations.
//
// Contract: it keeps bucket.Bucket and bucket.Holder as strictly as they can
// be kept. Every call takes effect at one instant, Delete at once; a listing
// shows the bucket as it was when the iteration began. A hold lasts until its
// release, since the process that would drop it is the one that looks.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"

	"coffer/bucket"
)

// A Bucket is safe for concurrent use. The zero Bucket is empty and ready.
type Bucket struct {
	mu      sync.RWMutex
	objects map[string]*object
}

// object is immutable but for held, which the bucket's mutex guards.
type object struct {
	data []byte
	held bool
}

// New makes an empty bucket.
func New() *Bucket { return new(Bucket) }

// Put implements bucket.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	data, err := readBody(body, size)
	if err == nil {
		err = b.add(ctx, name, &object{data: data})
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// readBody reads from the beginning, so that a Put can be repeated with the
// same body.
func readBody(body io.ReadSeeker, size int64) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > size {
		return nil, fmt.Errorf("the body is longer than the %d bytes announced: %w", size, fs.ErrInvalid)
	}
	if int64(len(data)) < size {
		return nil, io.ErrUnexpectedEOF
	}
	return data, nil
}

func (b *Bucket) add(ctx context.Context, name string, o *object) error {
	if !bucket.ValidName(name) {
		return fmt.Errorf("not a name for an object: %w", fs.ErrInvalid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, taken := b.objects[name]; taken {
		return fs.ErrExist
	}
	if b.objects == nil {
		b.objects = make(map[string]*object)
	}
	b.objects[name] = o
	return nil
}

// Get implements bucket.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	data, err := b.slice(ctx, name, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *Bucket) slice(ctx context.Context, name string, off, n int64) ([]byte, error) {
	o, err := b.find(ctx, name)
	if err != nil {
		return nil, err
	}
	size := int64(len(o.data))
	switch {
	case off < 0:
		return nil, fs.ErrInvalid
	case off > size, n > size-off:
		return nil, io.ErrUnexpectedEOF
	case n < 0:
		return o.data[off:], nil
	}
	return o.data[off : off+n], nil
}

func (b *Bucket) find(ctx context.Context, name string) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	o, ok := b.objects[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return o, nil
}

// List implements bucket.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for _, info := range b.matches(prefix, after) {
			if err := ctx.Err(); err != nil {
				yield(bucket.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(bucket.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

func (b *Bucket) matches(prefix, after string) []bucket.Info {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var found []bucket.Info
	for name, o := range b.objects {
		if name > after && strings.HasPrefix(name, prefix) {
			found = append(found, bucket.Info{Name: name, Size: int64(len(o.data))})
		}
	}
	slices.SortFunc(found, func(x, y bucket.Info) int { return strings.Compare(x.Name, y.Name) })
	return found
}

// Delete implements bucket.Bucket.
func (b *Bucket) Delete(ctx context.Context, names ...string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %d objects: %w", len(names), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		delete(b.objects, name)
	}
	return nil
}

// PutHeld implements bucket.Holder.
func (b *Bucket) PutHeld(ctx context.Context, name string, data []byte) (func() error, error) {
	o := &object{data: slices.Clone(data), held: true}
	if err := b.add(ctx, name, o); err != nil {
		return nil, fmt.Errorf("put %s: %w", name, err)
	}
	return func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		o.held = false
		return nil
	}, nil
}

// Held implements bucket.Holder.
func (b *Bucket) Held(ctx context.Context, name string) (bool, error) {
	o, err := b.find(ctx, name)
	if err != nil {
		return false, fmt.Errorf("probe %s: %w", name, err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return o.held, nil
}
