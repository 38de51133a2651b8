package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"coffer/bucket/local/internal/disk"
)

// tempPrefix tells our temporary files from what else somebody put into tmp/.
const tempPrefix = "put-"

// A temp is a file under tmp/ that is locked while it is written, which tells
// CleanTemp that it is in use.
type temp struct {
	fs   disk.FS
	file disk.File
	path string
}

// newTemp tries again if CleanTemp came between the making of the file and its
// lock. Names are random, so nobody ever removes another's file by its name.
func (b *Bucket) newTemp() (*temp, error) {
	if err := b.ensure(tempDir); err != nil {
		return nil, err
	}
	for {
		where := b.path(path.Join(tempDir, tempPrefix+rand.Text()))
		f, err := b.fs.Create(where)
		if err != nil {
			return nil, err
		}
		t := &temp{b.fs, f, where}
		if ok, err := t.lock(); err != nil {
			return nil, t.discard(err)
		} else if ok {
			return t, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// lock reports whether the file is locked and still has its name.
func (t *temp) lock() (bool, error) {
	ok, err := t.file.TryLock(false)
	if err != nil || !ok {
		return false, err
	}
	info, err := t.file.Stat()
	return info.Links > 0, err
}

// discard removes the file, if it still has this name, and returns the reason
// with what went wrong in addition.
func (t *temp) discard(reason error) error {
	err := t.fs.Remove(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if closed := t.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("%w (and then: %w)", reason, err)
	}
	return reason
}

// CleanTemp removes the temporary files that processes left behind which did
// not live to finish them, and says how many there were. Files that are being
// written stay.
func (b *Bucket) CleanTemp(ctx context.Context) (removed int, err error) {
	entries, err := b.fs.ReadDir(b.path(tempDir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		if !e.Regular || !strings.HasPrefix(e.Name, tempPrefix) {
			continue
		}
		if err = ctx.Err(); err != nil {
			break
		}
		gone, failed := b.removeStale(b.path(path.Join(tempDir, e.Name)))
		if err = failed; err != nil {
			break
		}
		if gone {
			removed++
		}
	}
	if err != nil {
		err = fmt.Errorf("clean up temporary files: %w", err)
	}
	return removed, err
}

// removeStale removes a file while it holds the lock on it, so that who made
// the file a moment ago notices. A file that has gone by itself is fine.
func (b *Bucket) removeStale(where string) (bool, error) {
	f, err := b.fs.Open(where)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	if free, err := f.TryLock(false); err != nil || !free {
		return false, err
	}
	err = b.fs.Remove(where)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
