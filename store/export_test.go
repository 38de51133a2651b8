package store

import (
	"context"

	"coffer/bucket"
)

// WriteAbort ends a session as a prune does that takes it for dead.
func WriteAbort(ctx context.Context, s *Store, id string) error {
	return s.putCBOR(ctx, fateName(0, id), fate{Version: recordVersion, Outcome: fateAbort})
}

// SwapBucket returns a store with the keys of s in another bucket.
func SwapBucket(s *Store, b bucket.Bucket) *Store {
	other, err := newStore(b, s.env, s.master, s.cfg)
	if err != nil {
		panic(err)
	}
	return other
}

// DropHold lets a session look dead.
func DropHold(w *Session) error { return w.release() }
