package buckettest

import (
	"context"
	"io"
	"iter"
	"slices"
	"sync"

	"coffer/bucket"
)

// A Call is one call to a bucket: for a listing the prefix is its name. Bytes
// are those of the body put, or those read so far. Items counts names listed
// so far, or names given to Delete and Settle, of which Name is the first.
type Call struct {
	Kind  Kind
	Name  string
	Bytes int64
	Items int
	Err   error
}

// A Trace remembers all calls to the buckets it wraps.
type Trace struct {
	mu    sync.Mutex
	calls []*Call
}

// Wrap puts the trace in front of a bucket.
func (t *Trace) Wrap(b bucket.Bucket) bucket.Bucket {
	w := traced{b, t}
	if h, ok := bucket.As[bucket.Holder](b); ok {
		return tracedHolder{w, h}
	}
	return w
}

// Calls returns the calls so far, in the order they began.
func (t *Trace) Calls() []Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := make([]Call, len(t.calls))
	for i, c := range t.calls {
		calls[i] = *c
	}
	return calls
}

// Count counts the calls of these kinds, of all where none is given.
func (t *Trace) Count(kinds ...Kind) int {
	n := 0
	for _, c := range t.Calls() {
		if len(kinds) == 0 || slices.Contains(kinds, c.Kind) {
			n++
		}
	}
	return n
}

// Bytes adds up the bytes of the calls of a kind.
func (t *Trace) Bytes(kind Kind) int64 {
	var n int64
	for _, c := range t.Calls() {
		if c.Kind == kind {
			n += c.Bytes
		}
	}
	return n
}

// Reset forgets the calls so far.
func (t *Trace) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = nil
}

// begin notes a call; what it returns changes the note.
func (t *Trace) begin(c Call) func(change func(*Call)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, &c)
	return func(change func(*Call)) {
		t.mu.Lock()
		defer t.mu.Unlock()
		change(&c)
	}
}

// note notes a call and runs it.
func (t *Trace) note(c Call, run func() error) error {
	amend := t.begin(c)
	err := run()
	amend(func(c *Call) { c.Err = err })
	return err
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

type traced struct {
	inner bucket.Bucket
	t     *Trace
}

func (b traced) Unwrap() bucket.Bucket { return b.inner }

func (b traced) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	return b.t.note(Call{Kind: Put, Name: name, Bytes: size}, func() error {
		return b.inner.Put(ctx, name, body, size)
	})
}

func (b traced) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	amend := b.t.begin(Call{Kind: Get, Name: name})
	r, err := b.inner.Get(ctx, name, off, n)
	if err != nil {
		amend(func(c *Call) { c.Err = err })
		return nil, err
	}
	return tracedReader{r, amend}, nil
}

type tracedReader struct {
	io.ReadCloser
	amend func(func(*Call))
}

func (r tracedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.amend(func(c *Call) {
		c.Bytes += int64(n)
		if err != io.EOF {
			c.Err = err
		}
	})
	return n, err
}

func (b traced) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		amend := b.t.begin(Call{Kind: List, Name: prefix})
		for info, err := range b.inner.List(ctx, prefix, after) {
			amend(func(c *Call) {
				if c.Err = err; err == nil {
					c.Items++
				}
			})
			if !yield(info, err) {
				return
			}
		}
	}
}

func (b traced) Delete(ctx context.Context, names ...string) error {
	return b.t.note(Call{Kind: Delete, Name: first(names), Items: len(names)}, func() error {
		return b.inner.Delete(ctx, names...)
	})
}

func (b traced) Settle(ctx context.Context, names ...string) error {
	return b.t.note(Call{Kind: Settle, Name: first(names), Items: len(names)}, func() error {
		return bucket.Settle(ctx, b.inner, names...)
	})
}

// tracedHolder keeps As from finding the Holder behind the trace.
type tracedHolder struct {
	traced
	holder bucket.Holder
}

func (b tracedHolder) PutHeld(ctx context.Context, name string, data []byte) (release func() error, err error) {
	call := Call{Kind: Put, Name: name, Bytes: int64(len(data))}
	err = b.t.note(call, func() (err error) {
		release, err = b.holder.PutHeld(ctx, name, data)
		return err
	})
	return release, err
}

func (b tracedHolder) Held(ctx context.Context, name string) (held bool, err error) {
	err = b.t.note(Call{Kind: Held, Name: name}, func() (err error) {
		held, err = b.holder.Held(ctx, name)
		return err
	})
	return held, err
}
