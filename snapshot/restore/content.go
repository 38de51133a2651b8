package restore

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"coffer/chunk"
)

// A sourceError is an error of the repository. Whatever is behind it, a disk of
// the repository that can not be read does not mean that the target can not be
// written.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func fromSource(err error) error {
	if err == nil {
		return nil
	}
	return &sourceError{err}
}

// sifted puts the comparing of content, on all cores, between the walk and the
// planner: it returns what the planner takes files from in place of the walk.
func (r *run) sifted(g *errgroup.Group, p *planner, walk func(context.Context) error) func(context.Context) error {
	found, todo := make(chan *file, 64), make(chan *file)
	r.send = sender(found)
	return func(ctx context.Context) error {
		g.Go(func() error {
			defer close(found)
			return walk(ctx)
		})
		var left sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			left.Add(1)
			g.Go(func() error {
				defer left.Done()
				return r.sift(ctx, found, todo)
			})
		}
		go func() {
			left.Wait()
			close(todo)
		}()
		for f := range todo {
			if err := p.file(ctx, f); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
}

func sender(to chan<- *file) func(context.Context, *file) error {
	return func(ctx context.Context, f *file) error {
		select {
		case to <- f:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) sift(ctx context.Context, found <-chan *file, todo chan<- *file) error {
	c := comparer{run: r, sum: chunk.NewHasher()}
	send := sender(todo)
	for f := range found {
		done, err := c.settled(ctx, f)
		if err == nil && !done {
			err = send(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A comparer compares content with what is in the target.
type comparer struct {
	run *run
	sum *chunk.Hasher
	buf []byte
}

// settled reports whether f needs nothing written, because its content is there
// or nothing may be written at all.
func (c *comparer) settled(ctx context.Context, f *file) (bool, error) {
	if f.verdict != unread {
		return false, nil
	}
	v, err := c.compare(ctx, f)
	if err == nil && v == differs {
		f.verdict = differs
		if !c.run.opt.DryRun {
			return false, nil
		}
		c.run.rep.done(Replace, f.dir, f.name, f.e)
	} else if err == nil {
		err = c.run.refit(f, v)
	}
	return true, f.end(err)
}

func (c *comparer) compare(ctx context.Context, f *file) (verdict, error) {
	dfd, err := f.dir.acquire()
	if err != nil {
		return differs, err
	}
	defer f.dir.release()
	fd, err := openat(dfd, f.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return differs, nil
	}
	defer func() { _ = unix.Close(fd) }()
	st, err := inode{fd: fd}.stat()
	if err != nil || st.Size != f.e.Size {
		return differs, err
	}
	if ok, err := c.sameContent(ctx, f, fd); !ok || err != nil {
		return differs, err
	}
	return f.compareMeta(dfd, &st, f.remedy(&st))
}

// sameContent compares chunk by chunk.
func (c *comparer) sameContent(ctx context.Context, f *file, fd int) (bool, error) {
	off := int64(0)
	for ref, err := range c.run.tree.refs(ctx, f.e) {
		if err != nil {
			return false, fromSource(err)
		}
		if !c.sameChunk(f, fd, off, int(ref.Length), ref.ID) {
			return false, nil
		}
		off += int64(ref.Length)
	}
	return true, nil
}

func (c *comparer) sameChunk(f *file, fd int, off int64, n int, id chunk.ID) bool {
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	buf := c.buf[:n]
	err := eachPart(f.data, off, buf, func(part []byte, at int64) error {
		got, err := pread(fd, part, at)
		if err == nil && got < len(part) {
			err = errShort
		}
		return err
	})
	return err == nil && c.sum.Sum(chunk.Data, buf) == id
}

var errShort = errors.New("the file is too short")
