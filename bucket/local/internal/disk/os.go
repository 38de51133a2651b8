package disk

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// OS is the file system of the operating system. The zero OS is ready.
type OS struct {
	linkOnly atomic.Bool // renameat2 is not known where we work
}

// LinkOnly makes MoveNew do without renameat2.
func (o *OS) LinkOnly() { o.linkOnly.Store(true) }

// Mkdir implements FS.
func (o *OS) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// Create implements FS.
func (o *OS) Create(path string) (File, error) {
	return wrap(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600))
}

// Open implements FS.
func (o *OS) Open(path string) (File, error) {
	return wrap(os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0))
}

// wrap keeps a nil *os.File from becoming a File that is not nil.
func wrap(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Stat implements FS.
func (o *OS) Stat(path string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return info(&st), nil
}

func info(st *unix.Stat_t) Info {
	kind := st.Mode & unix.S_IFMT
	return Info{
		Regular: kind == unix.S_IFREG,
		Dir:     kind == unix.S_IFDIR,
		Size:    st.Size,
		Links:   uint64(st.Nlink),
	}
}

// ReadDir implements FS.
func (o *OS) ReadDir(path string) ([]Entry, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // nothing was written
	found, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(found))
	for i, e := range found {
		entries[i] = Entry{Name: e.Name(), Regular: e.Type().IsRegular(), Dir: e.IsDir()}
	}
	return entries, nil
}

// MoveNew implements FS. A file system that does not know a rename without
// replacing gives one of three errors; there a link, which never replaces,
// does the same in two steps.
func (o *OS) MoveNew(from, to string) error {
	if o.linkOnly.Load() {
		return linkNew(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		o.linkOnly.Store(true)
		return linkNew(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return unlink(from)
}

// Remove implements FS.
func (o *OS) Remove(path string) error { return unlink(path) }

func unlink(path string) error {
	if err := unix.Unlink(path); err != nil {
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// SyncDir implements FS. Some network file systems know no fsync of a
// directory and say so with one of two errors; nothing can be done there.
func (o *OS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // nothing was written
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
