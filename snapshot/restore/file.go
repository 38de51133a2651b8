package restore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A file is a regular file in progress. Its chunks come in any order and from
// several goroutines; the last one finishes it.
type file struct {
	item
	group   *group
	holes   []snapshot.Extent
	verdict verdict
	single  bool // it has one chunk at most

	h       handle
	partial string // "" until it is made
	id      inodeID
	made    have
	data    []segment // where content goes; nil if there are no holes
	left    atomic.Int64
	writing sync.Mutex
	written atomic.Int64

	mu  sync.Mutex
	err error // why it can not be restored
}

// begin readies f for the planner, which is the first thing it waits for.
func (f *file) begin() {
	f.h.what = f
	f.left.Store(1)
	f.dir.pending.Add(1)
	f.single = len(f.e.Content) <= 1 && !f.e.Spilled()
	f.data = segmentsOf(f.e.Size, f.holes)
}

// open makes the partial, or opens it again after it was closed to make room.
func (f *file) open() (int, error) {
	dfd, err := f.dir.acquire()
	if err != nil {
		return -1, err
	}
	defer f.dir.release()
	if f.partial != "" {
		return f.reopen(dfd)
	}
	return f.create(dfd)
}

func (f *file) create(dfd int) (int, error) {
	name, mode := f.run.partial(), f.newMode()
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
	fd, err := openat(dfd, name, flags, mode)
	if f.dir.unlocks(dfd, err) {
		fd, err = openat(dfd, name, flags, mode)
	}
	if err != nil {
		return -1, fmt.Errorf("create: %w", err)
	}
	f.partial = name
	f.made = have{
		uid: f.run.own.uid, gid: f.dir.groupOfNew(),
		mode: mode &^ f.run.target.umask, exact: f.dir.inherit,
	}
	if f.dir.inherit {
		f.made.mode = unknownMode
	}
	if err := f.prepare(fd); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// newMode is the final mode where that saves a call and nobody gets to see more
// than at the end; else nobody sees anything until the owner is right.
func (f *file) newMode() uint32 {
	uid, gid := f.run.own.want(f.e, f.run.own.uid, f.dir.groupOfNew())
	owned := uid == f.run.own.uid && gid == f.dir.groupOfNew()
	if owned && f.single && len(f.attrs) == 0 && f.e.Mode&^0o777 == 0 {
		return f.e.Mode
	}
	return 0o600
}

// prepare does what must come before content.
func (f *file) prepare(fd int) error {
	if f.dir.inherit || f.e.Flags&earlyFlags != 0 {
		_ = setFlags(inode{fd: fd}, f.e.Flags&earlyFlags, earlyFlags) // apply reports it
	}
	if f.data == nil {
		return nil
	}
	if err := unix.Ftruncate(fd, f.e.Size); err != nil {
		return fmt.Errorf("make a sparse file: %w", err)
	}
	return nil
}

func (f *file) reopen(dfd int) (int, error) {
	fd, err := openat(dfd, f.partial, unix.O_WRONLY, 0)
	if err != nil {
		return -1, err
	}
	if st, err := (inode{fd: fd}).stat(); err != nil || idOf(&st) != f.id {
		_ = unix.Close(fd)
		return -1, errors.Join(errMoved, err)
	}
	return fd, nil
}

// evicted remembers what file it is, so that reopen gets no other one.
func (f *file) evicted(fd int) {
	if st, err := (inode{fd: fd}).stat(); err == nil {
		f.id = idOf(&st)
	}
}

// take writes one chunk at its place.
func (f *file) take(off int64, data []byte) error {
	if f.failure() != nil {
		return nil
	}
	fd, err := f.run.fds.acquire(&f.h)
	if err != nil {
		return err
	}
	defer f.run.fds.release(&f.h)
	if err := f.put(fd, off, data); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	f.written.Add(int64(len(data)))
	f.run.rep.wrote(int64(len(data)))
	return nil
}

// put lets one write to a file at a time. The kernel does so anyway, and those
// who wait there keep a processor busy that could open the next block.
func (f *file) put(fd int, off int64, data []byte) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return writeData(fd, f.data, off, data)
}

func (f *file) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *file) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// part says that one of the things that f waits for is done. It returns only
// what ends the run.
func (f *file) part() error {
	if f.left.Add(-1) > 0 {
		return nil
	}
	err := f.failure()
	if err == nil {
		err = f.finish()
	}
	if err != nil {
		f.discard()
	}
	return f.end(err)
}

// end settles how it went, and tells those that wait for f.
func (f *file) end(err error) error {
	if err := f.run.settle(f.dir, f.name, "content", err); err != nil {
		return err
	}
	if err := f.group.resolve(err); err != nil {
		return err
	}
	return f.run.leave(f.dir)
}

// finish gives f its metadata and its name.
func (f *file) finish() error {
	dfd, err := f.dir.acquire()
	if err != nil {
		return err
	}
	defer f.dir.release()
	fd, err := f.run.fds.acquire(&f.h)
	if err != nil {
		return err
	}
	defer f.run.fds.drop(&f.h)
	n := inode{fd: fd}
	f.keep |= lockFlags
	if _, err := f.apply(n, f.made); err != nil {
		return err
	}
	if err := f.place(dfd, f.partial); err != nil {
		return err
	}
	f.partial = ""
	f.run.rep.passed(f.e.Size - f.written.Load())
	f.run.rep.done(f.verdict.action(), f.dir, f.name, f.e)
	return f.lock(n)
}

// lock sets the flags that keep a file from being renamed.
func (f *file) lock(n inode) error {
	if want := f.e.Flags & lockFlags; want != 0 && f.group == nil {
		return f.problem("flags", setFlags(n, want, lockFlags))
	}
	return nil
}

// discard removes what there is of a file that failed.
func (f *file) discard() {
	f.run.fds.drop(&f.h)
	if f.partial == "" {
		return
	}
	if dfd, err := f.dir.acquire(); err == nil {
		_ = unix.Unlinkat(dfd, f.partial, 0) // else the next run removes it
		f.dir.release()
	}
	f.partial = ""
}
