// Package local is a bucket in a directory of a file system.
//
// Contract: it keeps bucket.Bucket, bucket.Holder and bucket.Settler. An object
// is the regular file of the same name. It is written under tmp/, flushed, and
// then moved to its name without replacing, so a name never shows a part of an
// object; Put returns after the directory is flushed too, and every directory
// on the way to it. Put that fails with fs.ErrExist vouches that the object
// that has the name is durable. Delete is durable when it returns. A failed
// flush is never tried again on the same file: the kernel may have thrown the
// bytes away and would report success the second time.
//
// Any number of processes may use one directory. Files that are being written
// and objects that are held bear a flock, which the kernel drops when the
// process ends.
//
// New files have mode 0600 and new directories 0700 (less the umask);
// directories that exist keep their mode. Directories are never removed, so
// one that was made durable once stays so. Symbolic links, names outside the
// rule for objects, and everything else that Put has not made is left alone
// and not listed. The top-level names tmp and reserve are the backend's own.
package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"coffer/bucket"
	"coffer/bucket/local/internal/disk"
)

const (
	tempDir     = "tmp"
	reserveFile = "reserve"
	markerFile  = "tmp/.bucket" // shows that the directory is ours
	bufferSize  = 1 << 20       // large writes: the system call costs nothing beside the copy
)

// ErrGone means that the directory of the bucket has vanished, or is empty
// though it was not: its disk is not mounted any more. It is deliberately not
// fs.ErrNotExist, which would read as "no such object".
var ErrGone = errors.New("the repository's directory is gone (is its disk mounted?)")

// A Bucket is safe for concurrent use.
type Bucket struct {
	fs      disk.FS
	dir     string
	buffers sync.Pool

	filled atomic.Bool // the directory has been seen with something in it

	mu      sync.Mutex
	durable map[string]bool    // directories known to survive a power cut
	held    map[*hold]struct{} // keeps their files from being collected and closed
}

// Open opens the bucket in dir. It changes nothing, so it can open a disk that
// is mounted for reading only. A missing directory is fs.ErrNotExist.
func Open(dir string) (*Bucket, error) { return OpenFS(new(disk.OS), dir) }

// OpenFS is Open on another file system: package crashfs has one.
func OpenFS(fsys disk.FS, dir string) (*Bucket, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("%s is not a directory: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	b := &Bucket{
		fs: fsys, dir: dir,
		durable: make(map[string]bool),
		held:    make(map[*hold]struct{}),
	}
	b.buffers.New = func() any { return new([bufferSize]byte) }
	b.filled.Store(len(entries) > 0)
	return b, nil
}

// path is where an object lies, or another file given by its slashed name.
func (b *Bucket) path(name string) string {
	return filepath.Join(b.dir, filepath.FromSlash(name))
}

// checkName refuses names outside the contract and those of our own files.
func checkName(name string) error {
	if !bucket.ValidName(name) || ours(name) {
		return fmt.Errorf("not a name for an object: %w", fs.ErrInvalid)
	}
	return nil
}

// ours tells the backend's own files from objects.
func ours(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return top == tempDir || top == reserveFile
}

// missing sorts out what a failed look at an object means: fs.ErrNotExist only
// if there is a repository that could have it.
func (b *Bucket) missing(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP) {
		return err
	}
	if _, err := b.root(); err != nil {
		return err
	}
	return fs.ErrNotExist
}

// root reads the top directory and makes sure that it is the one we opened. An
// empty directory is what an unmounted disk leaves behind, and ours, once it
// has anything in it, never becomes empty.
func (b *Bucket) root() ([]disk.Entry, error) {
	entries, err := b.fs.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("read %s: %w", b.dir, ErrGone)
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		b.filled.Store(true)
	} else if b.filled.Load() {
		return nil, fmt.Errorf("read %s: %w", b.dir, ErrGone)
	}
	return entries, nil
}
