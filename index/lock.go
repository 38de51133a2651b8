package index

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// A slotLock is a lock on one of the tables under a directory. Its file has a
// byte in it while the table is open: who finds one there knows that the last
// run did not end well.
type slotLock struct{ f *os.File }

// lockSlot takes the lock, or returns ErrBusy.
func lockSlot(name string) (l slotLock, clean bool, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return l, false, fmt.Errorf("lock index cache: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err == nil {
		_, err = f.ReadAt(make([]byte, 1), 0)
		if clean = errors.Is(err, io.EOF); clean {
			err = nil
		}
	}
	if err == nil {
		_, err = f.WriteAt([]byte{1}, 0)
	}
	if err != nil {
		return l, false, errors.Join(err, f.Close())
	}
	return slotLock{f}, clean, nil
}

// release gives the lock back; clean says that the table was closed well.
func (l slotLock) release(clean bool) error {
	var err error
	if clean {
		err = l.f.Truncate(0)
	}
	return errors.Join(err, l.f.Close())
}
