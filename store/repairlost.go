package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"coffer/chunk"
	"coffer/index"
	"coffer/seal"
)

// advise says what to do about a record without which the repository cannot be
// opened.
func advise(err error) error {
	if errors.Is(err, seal.ErrDamaged) || errors.Is(err, index.ErrDamaged) {
		return fmt.Errorf("%w: run 'coffer repair'", err)
	}
	return err
}

// stillLost returns the chunks that are lost to a view, joined. One that
// somebody has stored again is not lost any more.
func stillLost(v *view) []byte { return joinIDs(v.lostChunks()) }

func (v *view) lostChunks() []chunk.ID {
	ids := slices.DeleteFunc(sortedIDs(v.lost), func(id chunk.ID) bool { return !v.Lost(id) })
	return ids
}

func sortedIDs(set map[chunk.ID]struct{}) []chunk.ID {
	return slices.SortedFunc(maps.Keys(set), func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
}

// LostChunks returns the chunks that a repair has found lost and that nobody has
// stored again since.
func (s *Store) LostChunks(ctx context.Context) ([]chunk.ID, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	defer v.release()
	return v.lostChunks(), nil
}
