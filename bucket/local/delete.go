package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"
)

// Delete implements bucket.Bucket.
func (b *Bucket) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := b.remove(ctx, name); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	if err := b.syncDirs(parents(names)); err != nil {
		return fmt.Errorf("delete %d objects: %w", len(names), err)
	}
	return nil
}

func (b *Bucket) remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := b.fs.Remove(b.path(name))
	if err == nil || errors.Is(err, syscall.EISDIR) { // a directory is no object
		return nil
	}
	if err := b.missing(err); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Settle implements bucket.Settler. The bytes of an object, and the directories
// above, are durable before it has its name: the name is all there is to flush.
func (b *Bucket) Settle(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return fmt.Errorf("settle %s: %w", name, err)
		}
	}
	err := ctx.Err()
	if err == nil {
		err = b.syncDirs(parents(names))
	}
	if err != nil {
		return fmt.Errorf("settle %d names: %w", len(names), err)
	}
	return nil
}

func parents(names []string) map[string]bool {
	dirs := make(map[string]bool)
	for _, name := range names {
		dirs[path.Dir(name)] = true
	}
	return dirs
}

// syncDirs flushes each directory once. One that is missing has no names to lose.
func (b *Bucket) syncDirs(dirs map[string]bool) error {
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		err := b.fs.SyncDir(b.path(dir))
		if err == nil {
			continue
		}
		if err := b.missing(err); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
