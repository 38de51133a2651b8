package store

import (
	"context"
	"errors"
	"fmt"
)

// maxYoung is how many fates a generation gathers before a writer makes the
// next one: each opening reads them all.
const maxYoung = 64

// Tidy keeps openings cheap, without waiting for anybody: it closes a generation
// that a prune left open, and makes a new one, in which nothing is dropped or
// condemned, when many sessions have ended since the last. Writers call it when
// they are done; that it could not do anything is no error.
func (s *Store) Tidy(ctx context.Context, m Marker) error {
	opt := PruneOptions{Marker: m, hurry: true}.filled()
	var wait *WaitError
	err := s.closeOpen(ctx, opt, false, nil)
	if errors.As(err, &wait) {
		return nil
	}
	if err == nil {
		err = s.turnOver(ctx, opt)
	}
	if err != nil && !errors.As(err, &wait) {
		return fmt.Errorf("tidy the repository: %w", err)
	}
	return nil
}

// turnOver makes a new generation if this one has many fates.
func (s *Store) turnOver(ctx context.Context, opt PruneOptions) error {
	t, err := s.turn(ctx)
	if err != nil {
		return err
	}
	fates, err := s.list(ctx, fatePrefix(t.newest))
	if err != nil || len(fates) <= maxYoung {
		return err
	}
	v, err := s.newestView(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	if v.done == nil {
		return nil
	}
	n := &next{s: s, v: v, lost: stillLost(v)}
	if err := n.begin(); err != nil {
		return err
	}
	if err := n.publish(ctx); err != nil {
		if now, turnErr := s.turn(ctx); vanished(err) && turnErr == nil && now.newest > t.newest {
			return nil // a prune has been quicker
		}
		return err
	}
	return s.closeOpen(ctx, opt, false, nil)
}
