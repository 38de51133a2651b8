package torture

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// userFlags are the inode flags that a user chooses; the others say how a file
// system keeps the inode.
const userFlags = 0x000380ff | 0x400 | 0x4000 | 0x800000

// open compares two open files or directories.
func (w *walker) open(path string, a, b int, typ uint32, deep bool) error {
	w.xattrs(path, fmt.Sprintf("/proc/self/fd/%d", a), fmt.Sprintf("/proc/self/fd/%d", b))
	if fa, fb := flagsOf(a), flagsOf(b); fa != fb {
		w.say(path, "inode flags %#x and %#x", fa, fb)
	}
	if typ == unix.S_IFDIR {
		var sa, sb unix.Stat_t
		err := errors.Join(unix.Fstat(a, &sa), unix.Fstat(b, &sb))
		if path == "." && err == nil {
			w.stats(path, &sa, &sb)
		}
		return err
	}
	return w.files(path, a, b, deep)
}

// nodes compares the attributes of what can not be opened.
func (w *walker) nodes(path string, a, b int, name string) error {
	fa, err := unix.Openat(a, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fa) }()
	fb, err := unix.Openat(b, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fb) }()
	w.xattrs(path, fmt.Sprintf("/proc/self/fd/%d", fa), fmt.Sprintf("/proc/self/fd/%d", fb))
	return nil
}

func (w *walker) files(path string, a, b int, deep bool) error {
	ha, err := holes(a)
	if err != nil {
		return err
	}
	hb, err := holes(b)
	if err != nil {
		return err
	}
	if ha != hb {
		w.say(path, "holes %s and %s", ha, hb)
	}
	if deep && !sameContent(a, b) {
		w.say(path, "content differs")
	}
	return nil
}

// holes lists where the holes of a file are.
func holes(fd int) (string, error) {
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for at := int64(0); at < size; {
		hole, err := unix.Seek(fd, at, unix.SEEK_HOLE)
		if err != nil {
			return "", err
		}
		if hole >= size {
			break
		}
		if at, err = unix.Seek(fd, hole, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			at = size
		} else if err != nil {
			return "", err
		}
		fmt.Fprintf(&list, "[%d,%d)", hole, at)
	}
	return list.String(), nil
}

// sameContent is only for small files.
func sameContent(a, b int) bool {
	ba, bb := make([]byte, 1<<20), make([]byte, 1<<20)
	na, erra := unix.Pread(a, ba, 0)
	nb, errb := unix.Pread(b, bb, 0)
	return erra == nil && errb == nil && na < len(ba) && bytes.Equal(ba[:na], bb[:nb])
}

func flagsOf(fd int) uint32 {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0 // the file system has none
	}
	return flags & userFlags
}

func (w *walker) xattrs(path, a, b string) {
	xa, erra := xattrsOf(a)
	xb, errb := xattrsOf(b)
	if erra != nil || errb != nil {
		w.say(path, "attributes: %v, %v", erra, errb)
		return
	}
	if xa != xb {
		w.say(path, "attributes %s and %s", xa, xb)
	}
}

// xattrsOf returns all attributes as text.
func xattrsOf(path string) (string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Listxattr(path, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	sort.Strings(names)
	var all strings.Builder
	for _, name := range names {
		value := make([]byte, 64<<10)
		if name == "" {
			continue
		}
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(&all, "%q=%q ", name, value[:n])
	}
	return all.String(), nil
}
