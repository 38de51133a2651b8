package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"coffer/bucket/local/internal/disk"
)

// Get implements bucket.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := b.get(ctx, name, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return r, nil
}

func (b *Bucket) get(ctx context.Context, name string, off, n int64) (*section, error) {
	f, size, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	n, err = checkRange(off, n, size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &section{ctx, f, name, off, n}, nil
}

// open opens an object and tells its size.
func (b *Bucket) open(ctx context.Context, name string) (disk.File, int64, error) {
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := b.fs.Open(b.path(name))
	if err != nil {
		return nil, 0, b.missing(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Regular {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size, nil
}

// checkRange returns how many bytes a range has, if the object has them all.
func checkRange(off, n, size int64) (int64, error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	if off > size || n > size-off {
		return 0, fmt.Errorf("%d bytes from %d, and there are %d: %w", n, off, size, io.ErrUnexpectedEOF)
	}
	if n < 0 {
		n = size - off
	}
	return n, nil
}

// A section reads a range of an object. It keeps its own place, so the file
// has none that others could move.
type section struct {
	ctx  context.Context
	file disk.File
	name string
	off  int64
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if err := s.ctx.Err(); err != nil {
		return 0, fmt.Errorf("get %s: %w", s.name, err)
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.left)], s.off)
	s.off += int64(n)
	s.left -= int64(n)
	return n, s.verdict(err)
}

// verdict takes the end of the file for an error unless the range ends there.
func (s *section) verdict(err error) error {
	if err == io.EOF {
		if s.left == 0 {
			return nil // the next Read says so
		}
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = fmt.Errorf("get %s: %w", s.name, err)
	}
	return err
}

func (s *section) Close() error { return s.file.Close() }
