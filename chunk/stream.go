package chunk

import (
	"context"
	"io"
	"sync"
)

// readAhead is how much is read at a time beyond what makes a chunk of minimum
// size: a whole number of blocks, and little enough that moving the surplus to
// the next chunk's buffer costs a few per cent of finding the boundary.
const readAhead = 8 * block

// maxEmptyReads is how often in a row a reader may return nothing, as in bufio.
const maxEmptyReads = 100

// A stream hands out the chunks of a reader one by one, to whoever asks.
type stream struct {
	*finder
	r io.Reader

	mu   sync.Mutex
	off  int64  // where the next chunk begins
	over []byte // what was read of it already, less than readAhead + block
	err  error  // why no more can be read
}

// step calls fn for one chunk and reports whether there may be more.
func (s *stream) step(ctx context.Context, buf []byte, fn func(off int64, data []byte) error) (more bool, err error) {
	off, data, err := s.next(ctx, buf)
	if err == io.EOF {
		return false, nil
	}
	if err == nil {
		err = fn(off, data)
	}
	return err == nil, err
}

// next cuts the next chunk into buf, which is max long. At the end it returns
// io.EOF; a read error comes after the last chunk that ends before it.
func (s *stream) next(ctx context.Context, buf []byte) (off int64, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(buf, s.over)
	for end, from := 0, s.min-1; ; {
		if end, from = s.find(buf[:n], from, s.err != nil || n == s.max); end > 0 {
			return s.take(buf[:n], end)
		}
		if n == s.max || n > 0 && s.err == io.EOF {
			return s.take(buf[:n], n)
		}
		if s.err != nil {
			return s.off, nil, s.err
		}
		target := min(max(n, s.min)+readAhead, s.max)
		if n, err = s.fill(ctx, buf[:target], n); err != nil {
			return s.off, nil, err
		}
	}
}

// take splits what was read into the chunk and what comes after it.
func (s *stream) take(buf []byte, n int) (off int64, data []byte, err error) {
	off, s.off = s.off, s.off+int64(n)
	s.over = append(s.over[:0], buf[n:]...)
	return off, buf[:n], nil
}

// fill reads until buf, which holds n bytes, is full or s.err is set. It fails
// only if ctx is done.
func (s *stream) fill(ctx context.Context, buf []byte, n int) (int, error) {
	for empty := 0; n < len(buf) && s.err == nil; empty++ {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var k int
		if k, s.err = s.r.Read(buf[n:]); k > 0 {
			n, empty = n+k, 0
		}
		if empty == maxEmptyReads && s.err == nil {
			s.err = io.ErrNoProgress
		}
	}
	return n, nil
}
