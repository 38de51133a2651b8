package local

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Reserve makes sure that a file of at least size bytes lies in the bucket that
// is there only to be given up: prune, which needs some space before it frees
// any, then works on a full disk. Where the file system compresses zeros away
// there is no such reserve, and Reserve cannot know.
func (b *Bucket) Reserve(size int64) error {
	err := b.reserve(size)
	if err != nil {
		return fmt.Errorf("reserve %d bytes in %s: %w", size, b.dir, err)
	}
	return nil
}

func (b *Bucket) reserve(size int64) error {
	if _, err := b.root(); err != nil {
		return err
	}
	info, err := b.fs.Stat(b.path(reserveFile))
	if err == nil && info.Size >= size {
		return nil
	}
	if err == nil {
		err = b.fs.Remove(b.path(reserveFile))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err = b.makeReserve(size); err != nil && info.Size > 0 {
		err = errors.Join(err, b.makeReserve(info.Size)) // better the old one than none
	}
	return err
}

// Free returns how many bytes can still be written to the disk of the bucket.
func (b *Bucket) Free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.dir, &st); err != nil {
		return 0, fmt.Errorf("look how much room %s has: %w", b.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// makeReserve leaves no half of a reserve behind, which on a full disk would be
// the last straw.
func (b *Bucket) makeReserve(size int64) error {
	f, err := b.fs.Create(b.path(reserveFile))
	if err != nil {
		return err
	}
	b.filled.Store(true)
	err = f.Allocate(size)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(err, b.fs.Remove(b.path(reserveFile)))
	}
	return b.fs.SyncDir(b.dir)
}

// ReleaseReserve gives the reserve up. That there is none is no error.
func (b *Bucket) ReleaseReserve() error {
	err := b.fs.Remove(b.path(reserveFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.fs.SyncDir(b.dir)
	}
	if err != nil {
		return fmt.Errorf("release reserve in %s: %w", b.dir, err)
	}
	return nil
}
