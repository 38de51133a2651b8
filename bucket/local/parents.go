package local

import (
	"errors"
	"io/fs"
	"path"
)

// ensure makes a directory and all above it, down from the top, and makes them
// durable. It does so once for each in the life of the bucket, also where the
// directory exists already: who made it may not have flushed it yet, and we
// are about to promise that what we put there stays.
func (b *Bucket) ensure(dir string) error {
	if dir == "." || b.known(dir) {
		return nil
	}
	above := path.Dir(dir)
	if err := b.ensure(above); err != nil {
		return err
	}
	if _, err := b.root(); err != nil { // never build a repository on an empty mount point
		return err
	}
	if err := b.fs.Mkdir(b.path(dir)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	b.filled.Store(true)
	if err := b.fs.SyncDir(b.path(above)); err != nil {
		return err
	}
	b.remember(dir)
	return nil
}

func (b *Bucket) known(dir string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durable[dir]
}

func (b *Bucket) remember(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.durable[dir] = true
}

// forget is for when somebody has tidied up an empty directory behind our back.
func (b *Bucket) forget(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		delete(b.durable, dir)
	}
}
