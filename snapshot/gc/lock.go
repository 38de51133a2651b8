package gc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// tryLock takes the right to write the log. It returns nil where another has
// it, in this process or in another one. The kernel takes it back when its
// holder dies; the file itself stays.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cache of references: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // the lock was not taken
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock cache of references: %w", err)
}
