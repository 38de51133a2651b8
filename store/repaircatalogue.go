package store

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// findCatalogue gathers all commits that are valid: those of the catalogue, and
// those of the fates that it does not cover.
func (p *RepairPlan) findCatalogue(ctx context.Context) error {
	lost := 0
	if p.exact {
		for _, r := range p.state.catalogue() {
			n, err := p.takePiece(ctx, r)
			if err != nil {
				return err
			}
			lost += n
		}
	}
	p.addFates(p.fates)
	if lost > 0 || !p.exact {
		found, err := p.searchCommits(ctx)
		if err != nil {
			return err
		}
		lost -= found
	}
	p.Snapshots = max(lost, 0)
	p.Fates = slices.DeleteFunc(p.Fates, func(id string) bool { return p.known[id] })
	return nil
}

// takePiece reads both copies of a piece. Where one is bad, the piece has to be
// written again. It returns how many commits are lost.
func (p *RepairPlan) takePiece(ctx context.Context, r pieceRef) (lost int, err error) {
	var list []settled
	copies := 0
	for _, name := range []string{r.Name, r.Name + copySuffix} {
		_, bad, err := try(ctx, func() (struct{}, error) { return struct{}{}, p.s.checkPiece(ctx, name, r) })
		if err != nil {
			return 0, err
		}
		if bad != nil {
			p.Records = append(p.Records, name)
			continue
		}
		if list, err = p.s.getOnePiece(ctx, name); err != nil {
			return 0, err
		}
		copies++
	}
	p.take(list...)
	switch copies {
	case 2:
		p.good = append(p.good, r)
	case 1:
		p.loose = append(p.loose, list...)
	case 0:
		return r.Commits, nil
	}
	return 0, nil
}

// addFates takes the commits that are not in the catalogue. Those of the newest
// generation go there by themselves.
func (p *RepairPlan) addFates(fates []sessionFate) {
	for _, f := range fates {
		if f.Outcome != fateCommit || p.known[f.id] {
			continue
		}
		p.add(settled{ID: f.id, Generation: f.generation, Payload: f.Payload})
	}
}

func (p *RepairPlan) add(c settled) {
	p.take(c)
	if c.Generation < p.Generation {
		p.loose = append(p.loose, c)
	}
}

func (p *RepairPlan) take(list ...settled) {
	p.commits = append(p.commits, list...)
	for _, c := range list {
		p.known[c.ID] = true
	}
}

// searchCommits looks for commits in all pieces of the catalogue that there are, and in
// the last fates. What a generation has dropped does not come back, as far as
// the records of generations can be read. It returns how many it found.
func (p *RepairPlan) searchCommits(ctx context.Context) (found int, err error) {
	dropped, err := p.dropped(ctx)
	if err != nil {
		return 0, err
	}
	keep := func(c settled) bool { return !dropped[c.ID] }
	p.commits = filter(p.commits, keep)
	p.loose = filter(p.loose, keep)
	before := len(p.commits)
	if err := p.searchPieces(ctx, keep); err != nil {
		return 0, err
	}
	if p.state.done != nil && p.Generation > 0 { // those of the generation before are not swept yet
		fates, err := p.oldFates(ctx, dropped)
		if err != nil {
			return 0, err
		}
		p.addFates(fates)
	}
	return len(p.commits) - before, nil
}

// searchPieces takes the commits of all pieces that are listed.
func (p *RepairPlan) searchPieces(ctx context.Context, keep func(settled) bool) error {
	bases := map[string]bool{}
	for name := range p.list.objects {
		if strings.HasPrefix(name, "catalogue/") {
			bases[strings.TrimSuffix(name, copySuffix)] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bases)) {
		list, bad, err := try(ctx, func() ([]settled, error) { return p.s.getPiece(ctx, name) })
		if err != nil {
			return err
		}
		if bad != nil && !p.exact && !isMissing(bad) {
			p.Records = append(p.Records, name)
		}
		for _, c := range list {
			if keep(c) && c.Generation <= p.Generation && !p.known[c.ID] {
				p.add(c)
			}
		}
	}
	return nil
}

// oldFates reads what can be read of the fates of the generation before.
func (p *RepairPlan) oldFates(ctx context.Context, dropped map[string]bool) (fates []sessionFate, err error) {
	g := p.Generation - 1
	names, err := p.s.list(ctx, fatePrefix(g))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id := strings.TrimPrefix(name, fatePrefix(g))
		f, bad, err := try(ctx, func() (fate, error) { return p.s.getFate(ctx, name) })
		if err != nil {
			return nil, err
		}
		if bad == nil && !dropped[id] {
			fates = append(fates, sessionFate{namedFate{id, f}, g})
		}
	}
	return fates, nil
}

// dropped gathers what generations have dropped. Where one of their records
// cannot be read, what it dropped may come back.
func (p *RepairPlan) dropped(ctx context.Context) (map[string]bool, error) {
	names, err := p.s.list(ctx, generationPrefix)
	if err != nil {
		return nil, err
	}
	dropped, readable := map[string]bool{}, uint64(0)
	for _, name := range names {
		g, numErr := strconv.ParseUint(strings.TrimPrefix(name, generationPrefix), 10, 64)
		if numErr != nil || g == 0 { // a closing
			continue
		}
		gen, bad, err := try(ctx, func() (generation, error) { return p.s.getGeneration(ctx, g) })
		if err != nil {
			return nil, err
		}
		if bad == nil {
			readable++
		}
		for _, id := range gen.Dropped {
			dropped[id] = true
		}
	}
	p.MayReturn = readable < p.Generation
	return dropped, nil
}

func filter[T any](list []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !keep(v) })
}
