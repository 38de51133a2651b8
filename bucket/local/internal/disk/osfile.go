package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

type osFile struct{ *os.File }

func (f osFile) Stat() (Info, error) {
	var st unix.Stat_t
	err := f.control("stat", func(fd int) error { return unix.Fstat(fd, &st) })
	return info(&st), err
}

func (f osFile) TryLock(shared bool) (bool, error) {
	how := unix.LOCK_EX | unix.LOCK_NB
	if shared {
		how = unix.LOCK_SH | unix.LOCK_NB
	}
	err := f.control("lock", func(fd int) error { return unix.Flock(fd, how) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func (f osFile) Unlock() error {
	return f.control("unlock", func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

func (f osFile) Allocate(size int64) error {
	err := f.control("allocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.fill(size)
	}
	return err
}

// fill takes space the slow way, where fallocate is not known.
func (f osFile) fill(size int64) error {
	zeros := make([]byte, 1<<20)
	for size > 0 {
		n, err := f.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// control runs a system call on the descriptor, again if a signal broke it off.
func (f osFile) control(op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; {
			failed = call(int(fd))
		}
	})
	if err == nil && failed != nil {
		err = &fs.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return err
}
