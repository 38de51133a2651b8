package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// maxGeneration is the highest number that fits into a name.
const maxGeneration = 9_999_999_998

// findState reads the records of the newest generation, and closes it if it is
// open. It reports whether the plan has to begin again.
func (p *RepairPlan) findState(ctx context.Context) (again bool, err error) {
	if err := p.findNewest(ctx); err != nil {
		return false, err
	}
	g := p.Generation
	gen, genErr, err := try(ctx, func() (generation, error) { return p.s.getGeneration(ctx, g) })
	if err != nil {
		return false, err
	}
	done, doneErr, err := try(ctx, func() (closing, error) { return p.s.getClosing(ctx, g) })
	if err != nil {
		return false, err
	}
	switch {
	case genErr == nil && doneErr == nil:
		p.state, p.exact = state{gen, &done}, true
		return false, nil
	case genErr == nil && isMissing(doneErr):
		p.state, p.exact = state{generation: gen}, true
		return p.close(ctx)
	}
	p.Scratch = true // one of the two still says which commits are valid
	if genErr == nil {
		p.state.generation = gen
	}
	if doneErr == nil {
		p.state.done = &done
	}
	p.exact = genErr == nil || doneErr == nil
	if genErr != nil {
		p.Records = append(p.Records, generationName(g))
	}
	if doneErr != nil && !isMissing(doneErr) {
		p.Records = append(p.Records, closingName(g))
	}
	return false, p.decide(ctx)
}

// decide waits for the sessions of the generation before: a commit of theirs
// that came later would be seen by nobody. What they have written meanwhile is
// listed now.
func (p *RepairPlan) decide(ctx context.Context) (err error) {
	if p.Generation == 0 {
		return nil
	}
	registered, err := p.s.decideAll(ctx, p.Generation-1, p.opt.prune())
	if err != nil {
		return err
	}
	if p.list, err = p.s.listAll(ctx, true); err != nil {
		return err
	}
	for _, id := range registered {
		name := fateName(p.Generation-1, id)
		if _, ok := p.list.objects[name]; !ok {
			return fmt.Errorf("the listing lacks %s, which exists; %w", name, errListing)
		}
	}
	return nil
}

// findNewest finds the number of the newest generation: that of a record or, if
// those are gone, of an object that was made in it.
func (p *RepairPlan) findNewest(ctx context.Context) error {
	names, err := p.s.list(ctx, generationPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		text := strings.TrimSuffix(strings.TrimPrefix(name, generationPrefix), doneSuffix)
		if g, err := strconv.ParseUint(text, 10, 64); err == nil {
			p.Generation = max(p.Generation, g)
		}
	}
	known := p.Generation
	for name := range p.list.objects {
		if g, err := generationOf(name); err == nil && (len(names) == 0 || g <= known+1) {
			p.Generation = max(p.Generation, g)
		}
	}
	if p.Generation > maxGeneration {
		return fmt.Errorf("there is no number for a generation after %d", p.Generation)
	}
	return nil
}

// close closes the newest generation as a prune does. Where damage prevents
// that, the repair does it in its own way.
func (p *RepairPlan) close(ctx context.Context) (again bool, err error) {
	g := p.Generation
	if g > 0 {
		err := p.s.closeOpen(ctx, p.opt.prune(), false, nil)
		var wait *WaitError
		if errors.As(err, &wait) || ctx.Err() != nil || errors.Is(err, errNewer) {
			return false, err
		}
		if err == nil {
			if _, err = p.s.getClosing(ctx, g); err == nil {
				return true, nil
			}
		}
		p.s.env.Log.Warn("the prune before cannot be finished because of damage", "err", err)
	}
	p.open = true
	p.Records = append(p.Records, closingName(g))
	return false, p.decide(ctx)
}

// findOld looks at the records of older generations. Nothing needs them any
// more; if one is damaged, Check need not say so for ever.
func (p *RepairPlan) findOld(ctx context.Context) error {
	if p.Scratch {
		p.old = true
		return nil
	}
	var mu sync.Mutex
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	look := func(name string, read func() error) {
		group.Go(func() error {
			_, bad, err := try(running, func() (struct{}, error) { return struct{}{}, read() })
			if bad != nil {
				mu.Lock()
				defer mu.Unlock()
				p.old, p.Records = true, append(p.Records, name)
			}
			return err
		})
	}
	for g := p.state.Mended; g < p.Generation; g++ {
		look(generationName(g), func() error { _, err := p.s.getGeneration(running, g); return err })
		look(closingName(g), func() error { _, err := p.s.getClosing(running, g); return err })
	}
	err := group.Wait()
	slices.Sort(p.Records)
	return err
}

// findFates reads the fates of the sessions that the newest generation may not
// cover.
func (p *RepairPlan) findFates(ctx context.Context) error {
	open, err := p.s.undecided(ctx, p.Generation)
	if err != nil {
		return err
	}
	p.running = map[string]bool{}
	for _, id := range open {
		p.running[id] = true
	}
	from := p.Generation
	if p.state.done == nil && from > 0 {
		from--
	}
	for g := from; g <= p.Generation; g++ {
		if err := p.readFates(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (p *RepairPlan) readFates(ctx context.Context, g uint64) error {
	names, err := p.s.list(ctx, fatePrefix(g))
	if err != nil {
		return err
	}
	if err := p.s.settleAll(ctx, "fates", names); err != nil {
		return err
	}
	covered := slices.Concat(p.state.Covered, p.state.Dropped)
	for _, name := range names {
		id := strings.TrimPrefix(name, fatePrefix(g))
		if slices.Contains(p.state.Void, name) || p.running[id] || g < p.Generation && slices.Contains(covered, id) {
			continue
		}
		f, bad, err := try(ctx, func() (fate, error) { return p.s.getFate(ctx, name) })
		switch {
		case err != nil:
			return err
		case isMissing(bad): // swept meanwhile
		case bad != nil:
			p.void, p.Records = append(p.void, name), append(p.Records, name)
			p.Fates = append(p.Fates, id)
		default:
			p.fates = append(p.fates, sessionFate{namedFate{id, f}, g})
		}
	}
	return nil
}

// findSmall finds asks, notes and registrations that cannot be read, and keys
// that a person has to see to.
func (p *RepairPlan) findSmall(ctx context.Context) error {
	for _, prefix := range []string{askPrefix, notePrefix, "sessions/"} {
		names, err := p.s.list(ctx, prefix)
		if err != nil {
			return err
		}
		for _, name := range names {
			_, bad, err := try(ctx, func() (struct{}, error) { return struct{}{}, p.s.openSmall(ctx, name) })
			if err != nil {
				return err
			}
			if bad == nil || isMissing(bad) || slices.Contains(p.state.Void, name) {
				continue
			}
			p.void, p.Records = append(p.void, name), append(p.Records, name)
		}
	}
	keys, err := p.s.Keys(ctx)
	for _, k := range keys {
		if k.Err != nil {
			p.Advice = append(p.Advice, fmt.Sprintf("%s%s is damaged: remove this key, and add it again (%v)", keyPrefix, k.ID, k.Err))
		}
	}
	return err
}

func (s *Store) openSmall(ctx context.Context, name string) error {
	if strings.HasPrefix(name, "sessions/") {
		_, err := s.getIntent(ctx, name)
		return err
	}
	return s.openRequest(ctx, name)
}
