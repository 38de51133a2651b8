package store

import (
	"context"
	"errors"
	"syscall"

	"io/fs"
)

// Read runs fn while this process is registered as a reader of snapshots, so
// that prune leaves them in peace. Where the repository cannot be written to,
// it goes on unregistered, with a warning.
func (s *Store) Read(ctx context.Context, snapshots []string, fn func(context.Context) error) error {
	w := &Session{s: s}
	err := w.register(ctx, intent{Version: recordVersion, Snapshots: snapshots})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) {
		s.env.Log.Warn("reading without being registered: a prune may remove what is read meanwhile", "err", err)
		return fn(ctx)
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx), w.Abort(ctx))
}
