package source

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A DirHandle is an open directory. It remembers its parent rather than its
// path, so that a path of any length costs nothing, and it holds one
// descriptor, or none while it is parked (see [DirHandle.Sub]).
type DirHandle struct {
	tree   *Tree
	parent *DirHandle // nil for the anchor
	name   string     // in parent; the absolute path of the anchor
	depth  int
	dev    uint64
	ino    uint64
	fs     uint32
	skip   string

	mu     sync.RWMutex // read: the descriptor is in use
	fd     int          // -1 when closed or parked
	closed bool

	listing sync.Mutex // one reading position per descriptor
	listed  bool       // it has been moved
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK

// openAnchor opens a directory by path, following links: it is only for what
// holds a root, or is above one. O_PATH suffices to look names up in it, and
// needs no right to list it.
func openAnchor(t *Tree, path string) (*DirHandle, error) {
	h := &DirHandle{tree: t, name: path, fd: -1}
	err := retry(func() (err error) {
		h.fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &ItemError{Path: path, Op: "open", Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		unix.Close(h.fd)
		return nil, &ItemError{Path: path, Op: "stat", Err: err}
	}
	h.dev, h.ino = uint64(st.Dev), st.Ino
	return h, nil
}

// Path is the absolute path of the directory, put together anew at each call.
func (h *DirHandle) Path() string { return h.join("") }

func (h *DirHandle) join(name string) string {
	parts := make([]string, 0, 16)
	if name != "" && name != "." {
		parts = append(parts, name)
	}
	for ; h.parent != nil; h = h.parent {
		if h.name != "." {
			parts = append(parts, h.name)
		}
	}
	return joinReversed(strings.TrimRight(h.name, "/"), parts)
}

func joinReversed(path string, parts []string) string {
	var b strings.Builder
	b.WriteString(path)
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

func (h *DirHandle) fail(op, name string, err error) error {
	return &ItemError{Path: h.join(name), Op: op, Err: err}
}

// Sub opens the directory name. It may be called while others use h. Where its
// contents must not be read, the handle is good but has no names; see
// [DirHandle.Skipped]. The caller closes it.
//
// A walk that goes down holds a descriptor for each level. To keep that bounded
// in a tree thousands of levels deep, Sub parks the ancestor 64 levels up: its
// descriptor is closed and comes back by itself when it is used again, checked
// to be the same directory.
func (h *DirHandle) Sub(name string) (*DirHandle, error) {
	sub := &DirHandle{tree: h.tree, parent: h, name: strings.Clone(name), depth: h.depth + 1, fd: -1}
	pfd, err := h.acquire()
	if err != nil {
		return nil, h.fail("open", name, err)
	}
	defer h.release()
	var st unix.Stat_t
	sub.fd, err = openDirAt(pfd, name, &st)
	if err != nil {
		return nil, h.fail("open", name, err)
	}
	sub.dev, sub.ino = uint64(st.Dev), st.Ino
	sub.fs = h.fsOf(name, &st)
	if sub.dev != h.dev {
		sub.skip = h.tree.skipReason(sub)
	}
	sub.parkAncestor()
	return sub, nil
}

// openDirAt opens a directory, and nothing but a directory, and stats it.
func openDirAt(pfd int, name string, st *unix.Stat_t) (int, error) {
	fd, err := openQuiet(pfd, name, dirFlags)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return -1, fmt.Errorf("%w: no directory any more", ErrReplaced)
	}
	if err != nil {
		return -1, err
	}
	if err := unix.Fstat(fd, st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openQuiet opens without touching the access time where that is allowed: only
// owners and root may ask for it.
func openQuiet(dirfd int, name string, flags int) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dirfd, name, flags|unix.O_NOATIME, 0)
		if err == unix.EPERM {
			fd, err = unix.Openat(dirfd, name, flags, 0)
		}
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// Skipped says why the contents of the directory are not read, or "".
func (h *DirHandle) Skipped() string { return h.skip }

// fsOf numbers the file system of a name in h.
func (h *DirHandle) fsOf(name string, st *unix.Stat_t) uint32 {
	dev := uint64(st.Dev)
	if dev == h.dev {
		return h.fs
	}
	if n, ok := h.tree.host.rootNumber(dev); ok {
		return n
	}
	if snapshot.TypeOf(uint32(st.Mode)) == snapshot.Dir {
		return h.tree.host.number(h.join(name))
	}
	// A file mounted over another, or a layer of an overlay that shows
	// through: there is no path where it begins, but it is another set of
	// inode numbers.
	return h.tree.host.number(fmt.Sprintf("%d+%x", h.fs, dev))
}

// stat looks at a name without following it, nor mounting what an automounter
// would mount there.
func (h *DirHandle) stat(name string) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	return st, h.statInto(name, st)
}

func (h *DirHandle) statInto(name string, st *unix.Stat_t) error {
	fd, err := h.acquire()
	if err == nil {
		err = fstatat(fd, name, st)
		h.release()
	}
	if err != nil {
		return h.fail("stat", name, err)
	}
	return nil
}

func fstatat(fd int, name string, st *unix.Stat_t) error {
	for {
		err := unix.Fstatat(fd, name, st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
		if err != unix.EINTR {
			return err
		}
	}
}

// Lstat overwrites e with all that one fstatat tells of name: everything but
// Target, Xattrs, Flags, Holes and what capture computes. Links below a
// directory are not counted: LinkGroup is empty for it.
func (h *DirHandle) Lstat(name string, e *snapshot.Entry) error {
	*e = snapshot.Entry{Name: name}
	var st unix.Stat_t
	if err := h.statInto(name, &st); err != nil {
		return err
	}
	if err := h.tree.fillStat(e, &st, h.fsOf(name, &st)); err != nil {
		return h.fail("stat", name, err)
	}
	return nil
}

// Self overwrites e with the directory itself, details included, as of now and
// whatever its parent calls it by now.
func (h *DirHandle) Self(e *snapshot.Entry) error {
	if err := h.Lstat(".", e); err != nil {
		return err
	}
	e.Name = baseName(h.name)
	return h.Details(".", e)
}

// baseName is the last element of the name of a handle: of an absolute path,
// for an anchor. The root of all has the name "".
func baseName(name string) string {
	name = strings.TrimRight(name, "/")
	if name == "." {
		return ""
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// Close closes the handle. Handles below it stay good.
func (h *DirHandle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return h.closeFd()
}
