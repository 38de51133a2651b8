package store

import "context"

// WriteAbort ends a session as a prune does that takes it for dead.
func WriteAbort(ctx context.Context, s *Store, id string) error {
	return s.putCBOR(ctx, fateName(0, id), fate{Version: recordVersion, Outcome: fateAbort})
}
