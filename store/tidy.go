package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coffer/index"
)

// maxYoung is how many fates a generation gathers before a writer makes the
// next one: each opening reads them all.
const maxYoung = 64

// Tidy keeps openings cheap, without waiting for anybody: it closes a generation
// that a prune left open, and makes a new one when many sessions have ended since
// the last. In that nothing is dropped, and very small packs are gathered. Writers call it when
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
	s.reserve(func() int64 { return s.stored(ctx) })
	if err != nil && !errors.As(err, &wait) {
		return fmt.Errorf("tidy the repository: %w", err)
	}
	return nil
}

// gatherSmall writes many very small packs together, with all that is in them:
// nobody has to find out what of it is needed. So hourly backups of a few changes
// leave no pile of packs, though nobody ever prunes.
func (n *next) gatherSmall(ctx context.Context) error {
	chosen, err := n.small(ctx)
	if err != nil {
		return err
	}
	c := copier{p: n.p, wants: func(index.Entry, index.Pack, index.Block) (bool, error) { return true, nil }}
	for ref, which := range chosen {
		seg, err := n.s.readSegment(ctx, n.v.segments[ref].Name)
		if err != nil {
			return err
		}
		failed, err := c.copyPacks(ctx, seg, which)
		if err != nil {
			return err
		}
		for at := range which {
			if failed[at] == nil { // others stay, and verify tells of them
				n.condemned[ref] = append(n.condemned[ref], uint32(at))
			}
		}
	}
	return n.p.Flush(ctx)
}

// verySmall is the part of a full pack, 2 MiB of 32, below which a pack is
// written together with others without a prune: a backup that comes to do it
// copies some hundred MiB at the very most.
const verySmall = 16

// small chooses packs by segment: those of tiers that have many.
func (n *next) small(ctx context.Context) (map[int]map[int]bool, error) {
	type place struct{ ref, at int }
	tiers := map[int][]place{}
	for i, r := range n.v.segments {
		seg, err := n.s.readSegment(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		for at, p := range seg.Packs {
			if _, dead := slices.BinarySearch(r.Dead, uint32(at)); dead || p.Size > uint64(n.s.cfg.PackSize)/verySmall {
				continue
			}
			t := n.s.tier(p)
			tiers[t] = append(tiers[t], place{i, at})
		}
	}
	chosen := map[int]map[int]bool{}
	for _, list := range tiers {
		if len(list) < mergeFrom {
			continue
		}
		for _, p := range list {
			if chosen[p.ref] == nil {
				chosen[p.ref] = map[int]bool{}
			}
			chosen[p.ref][p.at] = true
		}
	}
	return chosen, nil
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
	if err := n.gatherSmall(ctx); isFull(err) {
		err = n.begin() // without that
		if err != nil {
			return err
		}
	} else if err != nil && !vanished(err) {
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
