package chunk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"coffer/internal/scratch"
)

// ErrShort is returned by CutAt if there is less to read than the caller said.
var ErrShort = errors.New("shorter than expected")

// Memory. A buffer holds one chunk of up to Params.Max.
const (
	cutterMemory = 64 << 20 // all buffers of a Cutter that are in use
	callMemory   = 32 << 20 // those of one CutAt
)

// A Cutter cuts streams. It may be used by many goroutines at once, and its
// calls share 64 MiB of buffers (and 144 KiB for each call under way): 16 calls
// at the default Max, 4 at the largest. More calls wait for one of these to
// return, so fn must not call the Cutter that called it, and streams that
// depend on each other need Cutters of their own.
type Cutter struct {
	finder  *finder
	workers int
	invalid error
	slots   chan struct{} // one for each buffer in use
	buffers *scratch.Shelf
	size    int // of a buffer
}

// NewCutter returns a Cutter whose CutAt runs up to workers goroutines for a
// file. If p is not valid, its methods fail with what Validate returns.
func NewCutter(p Params, workers int) *Cutter {
	if err := p.Validate(); err != nil {
		return &Cutter{invalid: err}
	}
	return newCutter(p, workers)
}

// newCutter is NewCutter without limits on p.
func newCutter(p Params, workers int) *Cutter {
	size := max(int(p.Max), 1<<20) // so that tests with tiny chunks count buffers as others do
	c := &Cutter{
		finder:  newFinder(p),
		workers: max(1, min(workers, callMemory/size)),
		slots:   make(chan struct{}, cutterMemory/size),
	}
	c.buffers, c.size = scratch.NewShelf(2*c.workers, int(p.Max)), int(p.Max)
	return c
}

// Cut reads r to its end and calls fn for each chunk, in order, with its
// offset. An empty stream has no chunks, and no chunk is empty. fn may change
// data but must not keep it. Cut returns fn's error, or a read error, as it
// is; the latter after fn was called for every chunk that ends before it. What
// follows the last boundary is then not delivered, for it is not known to be a
// chunk. When ctx is done, Cut returns its error as soon as r.Read returns.
func (c *Cutter) Cut(ctx context.Context, r io.Reader, fn func(off int64, data []byte) error) error {
	if c.invalid != nil {
		return c.invalid
	}
	return c.cut(ctx, &stream{finder: c.finder, r: r}, 1, fn)
}

// CutAt is Cut for the first size bytes of r, with the same chunks: fn is
// called by several goroutines at once and in any order, and no fn runs any
// more when CutAt returns. If r ends before size, the last chunk ends there
// and the error is ErrShort.
func (c *Cutter) CutAt(ctx context.Context, r io.ReaderAt, size int64, fn func(off int64, data []byte) error) error {
	if c.invalid != nil {
		return c.invalid
	}
	s := &stream{finder: c.finder, r: io.NewSectionReader(r, 0, size)}
	if err := c.cut(ctx, s, c.workersFor(size), fn); err != nil {
		return err
	}
	if s.off < size {
		return fmt.Errorf("cut %d of %d bytes: %w", s.off, size, ErrShort)
	}
	return nil
}

// CutFrom is Cut with fn called as by CutAt: by several goroutines at once and
// in any order. It is for streams, whose size nobody knows.
func (c *Cutter) CutFrom(ctx context.Context, r io.Reader, fn func(off int64, data []byte) error) error {
	if c.invalid != nil {
		return c.invalid
	}
	return c.cut(ctx, &stream{finder: c.finder, r: r}, c.workers, fn)
}

// Cut cuts one stream as a Cutter does.
func (p Params) Cut(ctx context.Context, r io.Reader, fn func(off int64, data []byte) error) error {
	return NewCutter(p, 1).Cut(ctx, r, fn)
}

// workersFor returns as many workers as can get a chunk of size bytes.
func (c *Cutter) workersFor(size int64) int {
	return int(min(int64(c.workers), size/int64(c.finder.min)+1))
}

// cut lets workers take turns: each finds a boundary, which cannot be done
// side by side, and then runs fn while others find the next ones. So no core
// waits while there is a chunk to find or to work on, and nothing is searched
// twice.
func (c *Cutter) cut(ctx context.Context, s *stream, workers int, fn func(off int64, data []byte) error) error {
	buf, err := c.borrow(ctx)
	if err != nil {
		return err
	}
	if workers == 1 {
		return c.lead(ctx, s, buf, fn)
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	group.Go(func() error {
		defer end()
		return c.lead(ctx, s, buf, fn)
	})
	for range workers - 1 {
		group.Go(func() error { return c.help(ctx, s, fn) })
	}
	return group.Wait()
}

// lead works until the stream ends. It keeps its buffer until then, so that
// every call that has begun also ends, whatever others do.
func (c *Cutter) lead(ctx context.Context, s *stream, buf []byte, fn func(off int64, data []byte) error) error {
	defer c.giveBack(buf)
	for {
		if more, err := s.step(ctx, buf, fn); !more {
			return err
		}
	}
}

// help works while there are buffers to spare: it gives its own back after
// each chunk, so that a long file does not keep other calls from beginning.
func (c *Cutter) help(ctx context.Context, s *stream, fn func(off int64, data []byte) error) error {
	for {
		if more, err := c.helpOnce(ctx, s, fn); !more {
			return err
		}
	}
}

func (c *Cutter) helpOnce(ctx context.Context, s *stream, fn func(off int64, data []byte) error) (more bool, err error) {
	buf, err := c.borrow(ctx)
	if err != nil {
		return false, nil // the stream has ended, or lead will say why it cannot go on
	}
	defer c.giveBack(buf)
	return s.step(ctx, buf, fn)
}

// borrow waits for a buffer. Waiters are served in turn.
func (c *Cutter) borrow(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
		return c.buffers.Get(c.size)[:c.size], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Cutter) giveBack(buf []byte) {
	c.buffers.Put(buf)
	<-c.slots
}
