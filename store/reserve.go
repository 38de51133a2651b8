package store

import (
	"context"

	"coffer/bucket"
)

// A Reserver is a bucket that can keep some space in reserve.
type Reserver interface {
	Reserve(size int64) error
	ReleaseReserve() error
	Free() (int64, error)
}

func (s *Store) releaseReserve() error {
	if r, ok := bucket.As[Reserver](s.bucket); ok {
		return r.ReleaseReserve()
	}
	return nil
}

// While there is plenty of room a small reserve is enough, for the records with
// which a prune removes dead packs. When room gets scarce, it has to be enough for
// a prune of packs of which none is dead: for what lives in one of them.
const (
	minReserve = 1 << 20
	scarcePack = 32 // room for so many packs is still plenty
)

// reserve keeps space for the next prune, if the bucket can. A disk too full for
// that is no reason to fail.
func (s *Store) reserve(stored func() int64) {
	r, ok := bucket.As[Reserver](s.bucket)
	if !ok {
		return
	}
	size := int64(minReserve)
	if free, err := r.Free(); err == nil && free < scarcePack*int64(s.cfg.PackSize) {
		size = max(size, min(stored()/4, int64(s.cfg.PackSize)*5/8))
	}
	if err := r.Reserve(size); err != nil && !isFull(err) {
		s.env.Log.Warn("no space could be kept in reserve for a prune on a full disk", "err", err)
	}
}

// stored lists the packs and returns how large they are together.
func (s *Store) stored(ctx context.Context) int64 {
	n := int64(0)
	for info, err := range s.bucket.List(ctx, "packs/", "") {
		if err != nil {
			break // what was seen has to do
		}
		n += info.Size
	}
	return n
}
