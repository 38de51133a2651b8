package crashfs

import (
	"io"
	"io/fs"
	"syscall"

	"coffer/bucket/local/internal/disk"
)

// A file is an open file and the lock it has.
type file struct {
	fs       *FS
	node     *node
	path     string
	writable bool
	closed   bool
	locked   bool
	shared   bool
}

// do runs a call on an open file; failed runs if the hook fails the call.
func (f *file) do(op Op, call func() error, failed func()) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.enter(op, f.path)
	if err != nil {
		if failed != nil && !f.fs.off {
			failed()
		}
		return err
	}
	if f.closed {
		err = fs.ErrClosed
	} else {
		err = call()
	}
	if err != nil && err != io.EOF {
		err = &fs.PathError{Op: string(op), Path: f.path, Err: err}
	}
	return err
}

func (f *file) Write(p []byte) (n int, err error) {
	write := func(p []byte) func() error {
		return func() error {
			if !f.writable {
				return syscall.EBADF
			}
			f.node.data = append(f.node.data, p...)
			n = len(p)
			return nil
		}
	}
	err = f.do(Write, write(p), func() { _ = write(p[:len(p)/2])() })
	return n, err
}

func (f *file) Allocate(size int64) error {
	grow := func(to int64) {
		if more := to - int64(len(f.node.data)); more > 0 {
			f.node.data = append(f.node.data, make([]byte, more)...)
		}
	}
	return f.do(Allocate, func() error { grow(size); return nil }, func() { grow(size / 2) })
}

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(Read, func() error {
		if f.node.isDir() {
			return syscall.EISDIR
		}
		if off < int64(len(f.node.data)) {
			n = copy(p, f.node.data[off:])
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	}, nil)
	return n, err
}

func (f *file) Sync() error {
	return f.do(Sync,
		func() error { f.node.sync(); return nil },
		func() { f.node.failed = true })
}

func (f *file) Stat() (info disk.Info, err error) {
	err = f.do(Stat, func() error { info = f.node.info(); return nil }, nil)
	return info, err
}

func (f *file) TryLock(shared bool) (ok bool, err error) {
	err = f.do(Lock, func() error {
		f.unlock()
		n := f.node
		if n.locked || n.shared > 0 && !shared {
			return nil
		}
		if shared {
			n.shared++
		} else {
			n.locked = true
		}
		f.locked, f.shared, ok = true, shared, true
		return nil
	}, nil)
	return ok, err
}

func (f *file) Unlock() error {
	return f.do(Unlock, func() error { f.unlock(); return nil }, nil)
}

func (f *file) unlock() {
	switch {
	case !f.locked:
	case f.shared:
		f.node.shared--
	default:
		f.node.locked = false
	}
	f.locked = false
}

// Close closes the file even if it fails, as the system call does.
func (f *file) Close() error {
	shut := func() { f.unlock(); f.closed = true }
	return f.do(Close, func() error { shut(); return nil }, shut)
}
