package source

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// Options say how a tree is read. The zero value reads all that is not a
// pseudo file system.
type Options struct {
	// OneFileSystem keeps the directory of a mount point below the root and
	// skips what is in it. Only directories count: on an overlay, files may
	// have a device number of their own without being mounted.
	OneFileSystem bool
	// Host is shared by the roots of one snapshot; nil for a root alone.
	// Open all roots before the first is read, or numbers of file systems
	// depend on who was first.
	Host *Host
}

// A Tree is one root being read. Its methods, and those of its handles, may be
// called from several goroutines.
type Tree struct {
	path    string // absolute and clean
	opt     Options
	host    *Host
	dev     uint64     // of the root
	anchor  *DirHandle // the directory that holds the root
	base    string     // the root's name there
	partly  error      // see Incomplete
	scratch sync.Pool  // *[scratchSize]byte
}

// scratchSize holds the largest attribute (XATTR_SIZE_MAX), the longest list of
// them (XATTR_LIST_MAX), and a good number of directory entries.
const scratchSize = 64 << 10

// OpenRoot opens the file, directory or other thing at path and returns its
// entry with details. Symbolic links on the way to path are followed, one at path
// itself is not: it is the root then. The caller closes the Tree.
func OpenRoot(path string, opt Options) (*Tree, *snapshot.Entry, error) {
	t, err := newTree(path, opt)
	if err != nil {
		return nil, nil, err
	}
	e, err := t.readRoot()
	if err != nil {
		t.Close()
		return nil, nil, err
	}
	return t, e, nil
}

func newTree(path string, opt Options) (*Tree, error) {
	if strings.IndexByte(path, 0) >= 0 || path == "" {
		return nil, fmt.Errorf("open root %q: %w", path, unix.EINVAL)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open root %s: %w", printable(path), err)
	}
	t := &Tree{path: abs, opt: opt, host: opt.Host, base: filepath.Base(abs)}
	if t.host == nil {
		t.host = NewHost()
	}
	t.scratch.New = func() any { return new([scratchSize]byte) }
	if abs == "/" {
		t.base = "."
	}
	t.anchor, err = openAnchor(t, filepath.Dir(abs))
	return t, err
}

// readRoot stats the root before its entry is filled, for the file system's
// number is needed there.
func (t *Tree) readRoot() (*snapshot.Entry, error) {
	st, err := t.anchor.stat(t.base)
	if err != nil {
		return nil, err
	}
	t.dev = uint64(st.Dev)
	number := t.host.addRoot(t.dev)
	if t.anchor.dev == t.dev {
		t.anchor.fs = number
	}
	e := new(snapshot.Entry)
	if err := t.anchor.Lstat(t.base, e); err != nil {
		return nil, err
	}
	t.partly = t.anchor.Details(t.base, e)
	e.Name = baseName(e.Name)
	return e, nil
}

// Incomplete says which details of the root could not be read, or nil: the rest
// of the root is worth keeping.
func (t *Tree) Incomplete() error { return t.partly }

// Path is the absolute path of the root.
func (t *Tree) Path() string { return t.path }

// Dir opens the root, which must be a directory.
func (t *Tree) Dir() (*DirHandle, error) { return t.anchor.Sub(t.base) }

// File opens the root, which must be a regular file.
func (t *Tree) File() (*FileHandle, error) { return t.anchor.Open(t.base) }

// Close closes what the Tree holds itself. Handles got from it are closed by
// their owners, before.
func (t *Tree) Close() error { return t.anchor.Close() }

// Parents returns the entries of the directories above the root, from "/"
// (whose name is "") down, for a snapshot mirrors absolute paths. Symbolic
// links among them are followed: the snapshot has a directory there.
func (t *Tree) Parents() ([]snapshot.Entry, error) {
	if t.path == "/" {
		return nil, nil
	}
	var list []snapshot.Entry
	for i := range t.path {
		if t.path[i] != '/' {
			continue
		}
		e, err := t.parent(t.path[:i])
		if err != nil {
			return nil, err
		}
		list = append(list, *e)
	}
	return list, nil
}

func (t *Tree) parent(path string) (*snapshot.Entry, error) {
	d, err := openAnchor(t, path+"/")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	d.fs = t.host.numberAbove(d.dev, path)
	e := new(snapshot.Entry)
	err = d.Self(e)
	return e, err
}

// borrow lends a buffer of scratchSize bytes.
func (t *Tree) borrow() *[scratchSize]byte    { return t.scratch.Get().(*[scratchSize]byte) }
func (t *Tree) giveBack(b *[scratchSize]byte) { t.scratch.Put(b) }
