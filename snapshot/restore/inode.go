package restore

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// An inode is something on disk that is held by a descriptor, so that nobody
// can put another thing in its place between two calls. What cannot be opened
// (symlinks, devices, sockets, files that we may not read) is held by O_PATH.
type inode struct {
	fd   int
	path bool // fd is O_PATH
}

// openInode holds name in the directory dfd, without opening it.
func openInode(dfd int, name string) (inode, error) {
	fd, err := openat(dfd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	return inode{fd: fd, path: true}, err
}

// openat is the only way that this package opens anything below the target:
// one component, never through a symlink.
func openat(dfd int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dfd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

const openDir = unix.O_RDONLY | unix.O_DIRECTORY

func (n inode) close() { _ = unix.Close(n.fd) } // nothing is written at close that syncfs does not report

// proc names the inode for calls that take no O_PATH descriptor. The link in
// /proc leads to the inode itself, also where that is a symlink.
func (n inode) proc() string { return "/proc/self/fd/" + strconv.Itoa(n.fd) }

func (n inode) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(n.fd, &st)
	return st, err
}

func (n inode) chown(uid, gid int) error {
	if n.path {
		return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH)
	}
	return unix.Fchown(n.fd, uid, gid)
}

func (n inode) chmod(mode uint32) error {
	if n.path {
		return unix.Chmod(n.proc(), mode)
	}
	return unix.Fchmod(n.fd, mode)
}

// setTime sets the time of modification and leaves the time of access.
func (n inode) setTime(t snapshot.Time) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	if n.path {
		return unix.UtimesNanoAt(n.fd, "", ts[:], unix.AT_EMPTY_PATH)
	}
	return futimens(n.fd, &ts)
}

// futimens is utimensat without a path: the kernel then looks up nothing.
func futimens(fd int, ts *[2]unix.Timespec) error {
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(ts)), 0, 0, 0)
	runtime.KeepAlive(ts)
	if e != 0 {
		return e
	}
	return nil
}

func (n inode) setXattr(name string, value []byte) error {
	if n.path {
		return unix.Setxattr(n.proc(), name, value, 0)
	}
	return unix.Fsetxattr(n.fd, name, value, 0)
}

func (n inode) removeXattr(name string) error {
	if n.path {
		return unix.Removexattr(n.proc(), name)
	}
	return unix.Fremovexattr(n.fd, name)
}

func (n inode) listXattrs() ([]string, error) {
	list, err := grown(func(b []byte) (int, error) {
		if n.path {
			return unix.Listxattr(n.proc(), b)
		}
		return unix.Flistxattr(n.fd, b)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	var names []string
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names, err
}

func (n inode) getXattr(name string) ([]byte, error) {
	return grown(func(b []byte) (int, error) {
		if n.path {
			return unix.Getxattr(n.proc(), name, b)
		}
		return unix.Fgetxattr(n.fd, name, b)
	})
}

// grown calls get with more and more room until the answer fits.
func grown(get func([]byte) (int, error)) ([]byte, error) {
	for room := 256; ; room *= 4 {
		b := make([]byte, room)
		n, err := get(b)
		if err == nil {
			return b[:n], nil
		}
		if err != unix.ERANGE || room > 1<<20 {
			return nil, err
		}
	}
}

// flags returns the inode flags. A file system without flags has none set.
func (n inode) flags() (uint32, error) {
	real, err := n.open()
	if err != nil {
		return 0, err
	}
	defer n.closeOther(real)
	flags, err := unix.IoctlGetUint32(real, unix.FS_IOC_GETFLAGS)
	if noFlags(err) {
		return 0, nil
	}
	return flags, err
}

func (n inode) setFlags(flags uint32) error {
	real, err := n.open()
	if err != nil {
		return err
	}
	defer n.closeOther(real)
	return unix.IoctlSetPointerInt(real, unix.FS_IOC_SETFLAGS, int(int32(flags)))
}

// open returns a descriptor that takes ioctls. It must only be asked for
// regular files and directories: opening a device has effects.
func (n inode) open() (int, error) {
	if !n.path {
		return n.fd, nil
	}
	return unix.Open(n.proc(), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

func (n inode) closeOther(fd int) {
	if fd != n.fd {
		_ = unix.Close(fd)
	}
}

func noFlags(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.ENOSYS)
}

// pwrite writes all of data at off.
func pwrite(fd int, data []byte, off int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// pread fills buf from off and returns less only at the end of the file.
func pread(fd int, buf []byte, off int64) (int, error) {
	got := 0
	for got < len(buf) {
		n, err := unix.Pread(fd, buf[got:], off+int64(got))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return got, err
		}
		got += n
	}
	return got, nil
}

func lstat(dfd int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dfd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// timeOf returns a file's time of modification.
func timeOf(st *unix.Stat_t) snapshot.Time {
	return snapshot.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
}
