package source

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// Details fills what Lstat does not: Target, Xattrs and Flags, by the Type in
// e. Where only part of it can be read, it fills that part and returns an
// error. For a file that is open anyway, [FileHandle.Details] is cheaper.
func (h *DirHandle) Details(name string, e *snapshot.Entry) error {
	switch e.Type {
	case snapshot.File, snapshot.Dir:
		if done, err := h.openDetails(name, e); done {
			return err
		}
	case snapshot.Symlink:
		if err := h.readTarget(name, e); err != nil {
			return err
		}
	}
	return h.pathDetails(name, e)
}

// openDetails reads through a descriptor. It is not done where we may not open:
// most attributes can be read all the same, flags cannot.
func (h *DirHandle) openDetails(name string, e *snapshot.Entry) (done bool, err error) {
	if name == "." && h.parent != nil {
		return true, h.ownDetails(e)
	}
	fd, err := h.openTyped(name, e.Type)
	if err == unix.EACCES || err == unix.EPERM {
		return false, nil
	}
	if err != nil {
		return true, h.fail("read attributes of", name, err)
	}
	defer unix.Close(fd)
	if err := h.tree.fdDetails(fd, e); err != nil {
		return true, h.fail("read attributes of", name, err)
	}
	return true, nil
}

// ownDetails reads through the descriptor that the handle has anyway. (That of
// an anchor does not allow it.)
func (h *DirHandle) ownDetails(e *snapshot.Entry) error {
	fd, err := h.acquire()
	if err != nil {
		return h.fail("read attributes of", "", err)
	}
	defer h.release()
	if err := h.tree.fdDetails(fd, e); err != nil {
		return h.fail("read attributes of", "", err)
	}
	return nil
}

func (h *DirHandle) openTyped(name string, typ snapshot.Type) (int, error) {
	dirfd, err := h.acquire()
	if err != nil {
		return -1, err
	}
	defer h.release()
	var st unix.Stat_t
	if typ == snapshot.Dir {
		return openDirAt(dirfd, name, &st)
	}
	return openFileAt(dirfd, name, &st)
}

func (t *Tree) fdDetails(fd int, e *snapshot.Entry) (err error) {
	e.Flags = inodeFlags(fd)
	e.Xattrs, err = t.xattrs(attrsOfFd(fd))
	return err
}

func (h *DirHandle) readTarget(name string, e *snapshot.Entry) error {
	fd, err := h.acquire()
	if err == nil {
		e.Target, err = readlinkat(fd, name)
		h.release()
	}
	if err == unix.EINVAL {
		err = fmt.Errorf("%w: no symbolic link any more", ErrReplaced)
	}
	if err != nil {
		return h.fail("read link", name, err)
	}
	e.Size = int64(len(e.Target))
	return nil
}

// readlinkat tries ever larger buffers: the kernel cuts without saying so.
func readlinkat(fd int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		var n int
		err := retry(func() (err error) { n, err = unix.Readlinkat(fd, name, buf); return err })
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// pathDetails reads attributes without opening what has them. There is no
// lgetxattr relative to a directory in older kernels, but the directory's
// descriptor has a path of its own, which is never too long.
func (h *DirHandle) pathDetails(name string, e *snapshot.Entry) error {
	fd, err := h.acquire()
	if err == nil {
		e.Xattrs, err = h.tree.xattrs(attrsOfPath("/proc/self/fd/" + strconv.Itoa(fd) + "/" + name))
		h.release()
	}
	if err != nil {
		return h.fail("read attributes of", name, err)
	}
	return nil
}

// attrs is where extended attributes are read from.
type attrs struct {
	list func(buf []byte) (int, error)
	get  func(name string, buf []byte) (int, error)
}

func attrsOfFd(fd int) attrs {
	return attrs{
		list: func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		get:  func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) },
	}
}

func attrsOfPath(path string) attrs {
	return attrs{
		list: func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
		get:  func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) },
	}
}

// xattrs reads all attributes, sorted by name. On an error it returns those
// that could be read.
func (t *Tree) xattrs(from attrs) ([]snapshot.Xattr, error) {
	buf := t.borrow()
	defer t.giveBack(buf)
	n, err := from.list(buf[:])
	if err == unix.EOPNOTSUPP || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var all []snapshot.Xattr
	var failed error
	for _, name := range splitNames(buf[:n]) {
		value, err := from.value(name, buf[:])
		if err == nil {
			all = append(all, snapshot.Xattr{Name: []byte(name), Value: value})
		} else if err != unix.ENODATA { // removed since it was listed
			failed = errors.Join(failed, fmt.Errorf("%q: %w", name, err))
		}
	}
	return all, failed
}

func (a attrs) value(name string, buf []byte) ([]byte, error) {
	n, err := a.get(name, buf)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, buf[:n]...), nil
}

func splitNames(list []byte) []string {
	var names []string
	for len(list) > 0 {
		end := slices.Index(list, 0)
		if end < 0 {
			end = len(list)
		}
		names = append(names, string(list[:end]))
		list = list[min(end+1, len(list)):]
	}
	slices.Sort(names)
	return names
}

// settable are the flags of <linux/fs.h> that chattr can set. The others say
// how the file lies on its disk (extents, hashed directory, inline data,
// verity) and mean nothing elsewhere.
const settable = 0x000000ff | // secure deletion ... compressed, sync, immutable, append, no dump, no atime
	0x00000400 | // never compressed
	0x0000c000 | // journal data, no tail merging
	0x00030000 | // synchronous directory, top of hierarchy
	0x00800000 | // no copy on write
	0x02000000 | // direct access
	0x20000000 | // inherit project
	0x40000000 // case folded

// inodeFlags returns 0 where the file system has no such thing.
func inodeFlags(fd int) uint32 {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0
	}
	return flags & settable
}
