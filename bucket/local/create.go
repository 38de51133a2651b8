package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"coffer/bucket/local/internal/disk"
)

// Create makes the directory for a new bucket and opens it. The directory
// above it must exist. An empty directory will do, and so will one that an
// earlier Create made, however far it came; any other is refused with
// syscall.ENOTEMPTY.
func Create(dir string) (*Bucket, error) { return CreateFS(new(disk.OS), dir) }

// CreateFS is Create on another file system.
func CreateFS(fsys disk.FS, dir string) (*Bucket, error) {
	if err := makeRoot(fsys, dir); err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	b, err := OpenFS(fsys, dir)
	if err != nil {
		return nil, err
	}
	if err := b.claim(); err != nil {
		return nil, fmt.Errorf("create repository in %s: %w", dir, err)
	}
	return b, nil
}

// makeRoot flushes the directory above even if the directory exists, since who
// made it may have died before that. A directory that somebody prepared for us
// may lie in one that we may not read.
func makeRoot(fsys disk.FS, dir string) error {
	made := fsys.Mkdir(dir)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := fsys.SyncDir(filepath.Dir(filepath.Clean(dir)))
	if made != nil && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// claim marks an empty directory as ours.
func (b *Bucket) claim() error {
	if _, err := b.fs.Stat(b.path(markerFile)); err != nil {
		if err := b.refuseForeign(); err != nil {
			return err
		}
	}
	if err := b.ensure(tempDir); err != nil {
		return err
	}
	return b.mark()
}

// refuseForeign lets pass what a fresh file system has, and an empty tmp/ that
// a Create left which did not live to put the marker into it.
func (b *Bucket) refuseForeign() error {
	entries, err := b.fs.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name != tempDir && e.Name != "lost+found" {
			return fmt.Errorf("something else is in it (%s): %w", e.Name, syscall.ENOTEMPTY)
		}
	}
	left, err := b.fs.ReadDir(b.path(tempDir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(left) == 0 {
		return nil
	}
	return errors.Join(err, fmt.Errorf("something else is in %s: %w", tempDir, syscall.ENOTEMPTY))
}

// mark flushes the marker also where another Create has made it.
func (b *Bucket) mark() error {
	f, err := b.fs.Create(b.path(markerFile))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.fs.SyncDir(b.path(tempDir))
}
