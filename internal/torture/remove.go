package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove removes a tree that Build made, or a copy of it, immutable or not. It
// is no error if there is none.
func Remove(dir string) error {
	fd, err := unix.Open(filepath.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		err = removeAt(fd, filepath.Base(dir))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

func removeAt(dfd int, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dfd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := emptyDir(dfd, name); err != nil {
			return err
		}
		return unix.Unlinkat(dfd, name, unix.AT_REMOVEDIR)
	case unix.S_IFREG:
		unlock(dfd, name)
	}
	return unix.Unlinkat(dfd, name, 0)
}

func emptyDir(dfd int, name string) error {
	fd, err := openDir(dfd, name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	clearFlags(fd)
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAt(fd, n); err != nil {
			return err
		}
	}
	return nil
}

func unlock(dfd int, name string) {
	if fd, err := unix.Openat(dfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
		clearFlags(fd)
		_ = unix.Close(fd)
	}
}

// clearFlags makes removal possible; if it fails, removal says so.
func clearFlags(fd int) {
	if has, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && has&0x30 != 0 {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(has&^0x30))
	}
}

func openDir(dfd int, name string) (int, error) {
	return unix.Openat(dfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func readNames(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
