package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"coffer/chunk"
)

// A Reader reads the content of a file entry, holes as zeros. It keeps the
// chunk it used last, and the list of all chunks once it has read. It is safe
// for concurrent use, except that Read and Seek share a position.
type Reader struct {
	ctx    context.Context
	loader Loader
	entry  *Entry
	pos    int64

	layoutOnce sync.Once
	layoutErr  error
	refs       []Ref
	starts     []int64 // where in the data (the file without holes) each ref begins
	holes      []Extent
	before     []int64 // bytes of holes before each hole

	mu   sync.Mutex
	held int // index of the chunk in data
	data []byte
}

// NewReader returns a Reader of e. It loads nothing yet.
func NewReader(ctx context.Context, l Loader, e *Entry) *Reader {
	return &Reader{ctx: ctx, loader: l, entry: e, held: -1}
}

// Size returns the logical size of the file.
func (r *Reader) Size() int64 { return r.entry.Size }

// layout finds out, once, which byte is where.
func (r *Reader) layout() error {
	r.layoutOnce.Do(func() { r.layoutErr = r.loadLayout() })
	return r.layoutErr
}

func (r *Reader) loadLayout() error {
	e := *r.entry
	if err := Fill(r.ctx, r.loader, &e); err != nil {
		return err
	}
	if err := checkSum(e.Size, e.Holes, e.Content); err != nil {
		return fmt.Errorf("read %q: %w", e.Name, err)
	}
	r.refs, r.holes = e.Content, e.Holes
	at := int64(0)
	for i := range r.refs {
		r.starts = append(r.starts, at)
		at += int64(r.refs[i].Length)
	}
	at = 0
	for _, h := range r.holes {
		r.before = append(r.before, at)
		at += h.Length
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %q: %w", r.entry.Name, fs.ErrInvalid)
	}
	if err := r.layout(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) && off+int64(done) < r.entry.Size {
		n, err := r.readRun(p[done:], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readRun reads from one hole or one chunk.
func (r *Reader) readRun(p []byte, off int64) (int, error) {
	// The first hole that ends after off.
	i := sort.Search(len(r.holes), func(i int) bool { return r.holes[i].Offset+r.holes[i].Length > off })
	end, skipped := r.entry.Size, int64(0)
	if i < len(r.holes) {
		end, skipped = r.holes[i].Offset, r.before[i]
	} else if i > 0 {
		skipped = r.before[i-1] + r.holes[i-1].Length
	}
	if off >= end { // in hole i
		n := min(int64(len(p)), r.holes[i].Offset+r.holes[i].Length-off)
		clear(p[:n])
		return int(n), nil
	}
	return r.readData(p[:min(int64(len(p)), end-off)], off-skipped)
}

// readData reads from the chunk that holds the data at off.
func (r *Reader) readData(p []byte, off int64) (int, error) {
	i := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > off }) - 1
	data, err := r.chunk(i)
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", r.entry.Name, err)
	}
	return copy(p, data[off-r.starts[i]:]), nil
}

func (r *Reader) chunk(i int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == i {
		return r.data, nil
	}
	data, err := r.loader.Load(r.ctx, chunk.Data, r.refs[i].ID)
	if err != nil {
		return nil, err
	}
	if len(data) != int(r.refs[i].Length) {
		return nil, damaged("chunk %s has %d bytes and not %d", r.refs[i].ID, len(data), r.refs[i].Length)
	}
	r.held, r.data = i, data
	return data, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.entry.Size
	default:
		return 0, fmt.Errorf("seek %q: %w", r.entry.Name, fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek %q: %w", r.entry.Name, fs.ErrInvalid)
	}
	r.pos = offset
	return offset, nil
}
