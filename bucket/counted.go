package bucket

import (
	"context"
	"io"
	"iter"
	"sync/atomic"
)

// Counts is a number of requests, by kind, and the bytes they moved.
type Counts struct {
	Puts    int64 `json:"puts"`
	Gets    int64 `json:"gets"`
	Lists   int64 `json:"lists"`
	Deletes int64 `json:"deletes"`
	Probes  int64 `json:"probes"` // of holds
	Sent    int64 `json:"bytes_sent"`
	Got     int64 `json:"bytes_received"`
	Listed  int64 `json:"names_listed"`
	Deleted int64 `json:"names_deleted"`
}

// A Counter counts what goes through the buckets that Counted wraps with it.
// Failed requests count too: they were made. Bytes sent are counted for Puts
// that succeed, bytes received as they are read.
type Counter struct {
	puts, gets, lists, deletes, probes atomic.Int64
	sent, got, listed, deleted         atomic.Int64
}

// Counts reads the counter.
func (c *Counter) Counts() Counts {
	return Counts{
		Puts: c.puts.Load(), Gets: c.gets.Load(), Lists: c.lists.Load(),
		Deletes: c.deletes.Load(), Probes: c.probes.Load(),
		Sent: c.sent.Load(), Got: c.got.Load(),
		Listed: c.listed.Load(), Deleted: c.deleted.Load(),
	}
}

// Counted returns b with all requests counted in c.
func Counted(b Bucket, c *Counter) Bucket {
	w := counted{inner: b, c: c}
	if h, ok := As[Holder](b); ok {
		return countedHolder{w, h}
	}
	return w
}

type counted struct {
	inner Bucket
	c     *Counter
}

func (b counted) Unwrap() Bucket { return b.inner }

func (b counted) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	b.c.puts.Add(1)
	err := b.inner.Put(ctx, name, body, size)
	if err == nil {
		b.c.sent.Add(size)
	}
	return err
}

func (b counted) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	b.c.gets.Add(1)
	r, err := b.inner.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return countedReader{r, b.c}, nil
}

func (b counted) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		b.c.lists.Add(1)
		for info, err := range b.inner.List(ctx, prefix, after) {
			if err == nil {
				b.c.listed.Add(1)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (b counted) Delete(ctx context.Context, names ...string) error {
	b.c.deletes.Add(1)
	err := b.inner.Delete(ctx, names...)
	if err == nil {
		b.c.deleted.Add(int64(len(names)))
	}
	return err
}

type countedReader struct {
	io.ReadCloser
	c *Counter
}

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.c.got.Add(int64(n))
	return n, err
}

// countedHolder keeps As from finding the Holder behind the counter, where
// its requests would not be counted.
type countedHolder struct {
	counted
	holder Holder
}

func (b countedHolder) PutHeld(ctx context.Context, name string, data []byte) (func() error, error) {
	b.c.puts.Add(1)
	release, err := b.holder.PutHeld(ctx, name, data)
	if err == nil {
		b.c.sent.Add(int64(len(data)))
	}
	return release, err
}

func (b countedHolder) Held(ctx context.Context, name string) (bool, error) {
	b.c.probes.Add(1)
	return b.holder.Held(ctx, name)
}
