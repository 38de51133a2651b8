package simulate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/seal"
	"coffer/store"
)

// finish is what comes after everybody has died: a fresh pruner must lose nothing
// and free everything.
func (w *world) finish() error {
	ctx := context.Background()
	if err := w.led.check(); err != nil {
		return fmt.Errorf("after all have died: %w", err)
	}
	s, err := store.Open(ctx, w.mem, store.Env{Workers: 1, Level: seal.Off, Host: "the-last", Rand: newStreams(w.plan.seed + 1<<40)}, secret())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := range 3 {
		if err := w.lastCycle(ctx, s, i > 0); err != nil {
			return fmt.Errorf("cycle %d of the last pruner: %w", i, err)
		}
		w.land(true)
		if err := w.led.check(); err != nil {
			return fmt.Errorf("after cycle %d of the last pruner: %w", i, err)
		}
	}
	if err := w.garbage(ctx, s); err != nil {
		return err
	}
	return clean(ctx, s)
}

// lastCycle prunes; with busy there is something to drop, so that there is a new
// generation.
func (w *world) lastCycle(ctx context.Context, s *store.Store, busy bool) error {
	if busy {
		b, err := s.Begin(ctx)
		if err != nil {
			return err
		}
		payload := w.led.needs([]int{0})
		w.led.intends(b.ID(), "the last", payload)
		if _, err := b.Save(ctx, w.led.list[0].kind, w.led.list[0].data); err != nil {
			return err
		}
		if _, err := b.Commit(ctx, payload); err != nil {
			return fmt.Errorf("the next backup: %w", err)
		}
		w.led.asked([]string{b.ID()})
		if err := s.Forget(ctx, []string{b.ID()}); err != nil {
			return err
		}
	}
	p, err := s.PlanPrune(ctx, store.PruneOptions{Marker: marker{}, Wait: time.Hour, Patience: 20 * time.Second})
	if err != nil {
		return err
	}
	defer p.Close()
	rep, err := p.Run(ctx)
	if err == nil && (len(rep.Waiting) > 0 || len(rep.Kept) > 0) {
		err = fmt.Errorf("it did not finish: %+v", rep)
	}
	return err
}

// garbage demands that only what is needed is left.
func (w *world) garbage(ctx context.Context, s *store.Store) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	commits, err := s.Commits(ctx)
	if err != nil {
		return err
	}
	packs := map[string]bool{}
	for _, c := range commits {
		for _, i := range w.led.named(c.Payload) {
			name, err := s.PackOf(ctx, w.led.list[i].id)
			if err != nil {
				return err
			}
			packs[name] = true
		}
	}
	if got := w.names("packs/"); !slices.Equal(got, slices.Sorted(maps.Keys(packs))) {
		return fmt.Errorf("garbage: there are the packs %v; needed are %v", got, slices.Sorted(maps.Keys(packs)))
	}
	p, err := s.PlanPrune(ctx, store.PruneOptions{Marker: marker{}})
	if err != nil {
		return err
	}
	defer p.Close()
	if p.Orphans.Objects+p.Leftover.Objects+p.Dead.Objects > 0 {
		return fmt.Errorf("garbage: the next plan finds %+v, %+v, %+v", p.Orphans, p.Leftover, p.Dead)
	}
	if asks := w.names("asks/"); len(asks) > 0 {
		return fmt.Errorf("garbage: served requests %v", asks)
	}
	if index := w.names("index/"); len(index) > 8 {
		return fmt.Errorf("garbage: %d segments: %v", len(index), index)
	}
	if pieces := w.names("catalogue/"); len(pieces) > 12 || len(pieces)%2 != 0 {
		return fmt.Errorf("garbage: %d pieces of the catalogue: %v", len(pieces), pieces)
	}
	return w.oldRecords()
}

// oldRecords demands that records are of the last two generations.
func (w *world) oldRecords() error {
	generations := w.names("generations/")
	newest, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(generations[len(generations)-1], "generations/"), ".done"))
	if err != nil || len(generations) != 2*newest+2 {
		return fmt.Errorf("%d records of %d generations, %w", len(generations), newest+1, err)
	}
	for _, prefix := range []string{"sessions/", "fates/", "beats/"} {
		for _, name := range w.names(prefix) {
			if g, err := strconv.Atoi(strings.Split(name, "/")[1]); err != nil || g < newest-1 {
				return fmt.Errorf("garbage: %s, in generation %d, %w", name, newest, err)
			}
		}
	}
	return nil
}

// clean demands that Check finds nothing.
func clean(ctx context.Context, s *store.Store) error {
	var found []error
	_, err := s.Check(ctx, store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { found = append(found, d) }})
	return errors.Join(append(found, err)...)
}
