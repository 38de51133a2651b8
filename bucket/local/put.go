package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"coffer/bucket/local/internal/disk"
)

// Put implements bucket.Bucket. It reads the body from its beginning, so the
// same body can be put again after a failure.
func (b *Bucket) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	f, err := b.put(ctx, name, body, size)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// put returns the object's file, still locked.
func (b *Bucket) put(ctx context.Context, name string, body io.ReadSeeker, size int64) (disk.File, error) {
	if err := checkPut(ctx, name, size); err != nil {
		return nil, err
	}
	if err := b.ensure(path.Dir(name)); err != nil {
		return nil, err
	}
	t, err := b.newTemp()
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, t, name, body, size); err != nil {
		return nil, t.discard(err)
	}
	return t.file, nil
}

func checkPut(ctx context.Context, name string, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	return ctx.Err()
}

// fill writes the body, and only when all of it is on the disk gives it its name.
func (b *Bucket) fill(ctx context.Context, t *temp, name string, body io.ReadSeeker, size int64) error {
	if err := b.write(ctx, t.file, body, size); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.place(t.path, name)
}

// place also flushes the directory when the name is taken: the caller will
// build on the object that has it, whose writer may not have come that far. A
// name whose flush failed stays: others may have seen it, and it is whole.
func (b *Bucket) place(from, name string) error {
	dir := path.Dir(name)
	err := b.fs.MoveNew(from, b.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		b.forget(dir)
		if err := b.ensure(dir); err != nil {
			return err
		}
		err = b.fs.MoveNew(from, b.path(name))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := b.fs.SyncDir(b.path(dir)); err != nil {
		return err
	}
	return err
}

func (b *Bucket) write(ctx context.Context, f disk.File, body io.ReadSeeker, size int64) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := &bodyWriter{ctx: ctx, w: f, left: size}
	if err := b.copyBody(w, body); err != nil {
		return err
	}
	if w.left > 0 {
		return fmt.Errorf("the body ends %d bytes early: %w", w.left, io.ErrUnexpectedEOF)
	}
	return nil
}

// copyBody lets a body in memory write itself in one go. A file would do so too,
// but in slices of 32 KiB.
func (b *Bucket) copyBody(w io.Writer, body io.Reader) error {
	_, isFile := body.(*os.File)
	if to, ok := body.(io.WriterTo); ok && !isFile {
		_, err := to.WriteTo(w)
		return err
	}
	buffer := b.buffers.Get().(*[bufferSize]byte)
	defer b.buffers.Put(buffer)
	_, err := io.CopyBuffer(w, struct{ io.Reader }{body}, buffer[:])
	return err
}

// bodyWriter stops when the caller gives up or the body is longer than said.
type bodyWriter struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(p)) > w.left {
		return 0, fmt.Errorf("the body is longer than announced: %w", fs.ErrInvalid)
	}
	n, err := w.w.Write(p)
	w.left -= int64(n)
	return n, err
}

// PutHeld implements bucket.Holder. The lock is on the file before the file
// has the object's name, so nobody ever sees the object without it.
func (b *Bucket) PutHeld(ctx context.Context, name string, data []byte) (func() error, error) {
	f, err := b.put(ctx, name, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("put %s: %w", name, err)
	}
	return b.hold(f), nil
}
