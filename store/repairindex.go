package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// findSegments reads all index segments that count.
func (p *RepairPlan) findSegments(ctx context.Context) error {
	refs := p.state.Base
	if p.state.done != nil {
		refs = slices.Concat(refs, p.state.done.Segments)
	}
	for _, f := range p.fates {
		if f.Outcome == fateCommit {
			refs = slices.Concat(refs, f.Segments)
		}
	}
	for _, r := range refs {
		seg, bad, err := try(ctx, func() (*index.Segment, error) { return p.s.readSegment(ctx, r.Name) })
		if err != nil {
			return err
		}
		if bad != nil {
			p.Segments = append(p.Segments, r.Name)
			continue
		}
		if !p.opt.Index {
			p.segments = append(p.segments, r)
		}
		for i, q := range seg.Packs {
			if _, dead := slices.BinarySearch(r.Dead, uint32(i)); dead {
				p.dead[packName(q)] = true
			} else {
				p.packs[packName(q)] = knownPack{q, r.Name, i}
			}
		}
	}
	return nil
}

// findPacks finds the packs that the index names and that are missing or short,
// and those that the caller has found damaged.
func (p *RepairPlan) findPacks(ctx context.Context) error {
	for name, k := range p.packs {
		size, listed := p.list.objects[name]
		if listed && size == int64(k.Size) {
			continue
		}
		_, bad, err := try(ctx, func() (struct{}, error) {
			return struct{}{}, p.s.readAt(ctx, name, make([]byte, pack.FooterSize), int64(k.Size)-pack.FooterSize)
		})
		switch {
		case err != nil:
			return err
		case isMissing(bad):
			p.bad[name] = BadPack{Name: name, Size: int64(k.Size), Missing: true, Why: "it is missing"}
		case listed:
			p.bad[name] = BadPack{Name: name, Size: int64(k.Size), Why: fmt.Sprintf("it has %d bytes and should have %d", size, k.Size)}
		case bad != nil:
			p.bad[name] = BadPack{Name: name, Size: int64(k.Size), Why: bad.Error()}
		}
	}
	for _, name := range p.opt.Packs {
		size, listed := p.list.objects[name]
		k, known := p.packs[name]
		if _, found := p.bad[name]; !found && (known || listed && !p.dead[name]) && strings.HasPrefix(name, "packs/") {
			p.bad[name] = BadPack{Name: name, Size: max(size, int64(k.Size)), Why: "something in it is damaged"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.bad)) {
		p.Packs = append(p.Packs, p.bad[name])
	}
	return nil
}

// findUnnamed finds the packs that have to be asked for what is in them: those
// that no segment names which can be read. One too many does no harm; but what a
// session under way has written that session will name, and what is to be
// deleted may vanish at any time.
func (p *RepairPlan) findUnnamed(ctx context.Context) error {
	if !p.Scratch && !p.opt.Index && len(p.Segments)+len(p.Fates) == 0 {
		return nil
	}
	not, err := p.others(ctx)
	if err != nil {
		return err
	}
	for name, size := range p.list.objects {
		q, err := parsePackName(name)
		if err != nil || p.dead[name] || not[name] || not[ownerOf(name)] {
			continue
		}
		k, known := p.packs[name]
		_, bad := p.bad[name]
		if known && (bad || !p.opt.Index) {
			continue
		}
		if q.Size = uint64(size); known {
			q = k.Pack
		}
		p.unnamed = append(p.unnamed, q)
		p.Rebuild.add(int64(q.Size))
	}
	slices.SortFunc(p.unnamed, func(a, b index.Pack) int { return strings.Compare(packName(a), packName(b)) })
	return nil
}

// others returns the sessions whose packs are not to be touched, and the names
// of objects that a sweep may still delete.
func (p *RepairPlan) others(ctx context.Context) (map[string]bool, error) {
	not := maps.Clone(p.running)
	for _, f := range p.fates {
		if f.Outcome == fateAbort {
			not[f.id] = true
		}
	}
	for g := max(p.Generation, 1) - 1; g <= p.Generation; g++ {
		done, _, err := try(ctx, func() (closing, error) { return p.s.getClosing(ctx, g) })
		if err != nil {
			return nil, err
		}
		for _, name := range done.Delete {
			not[name] = true
		}
	}
	return not, nil
}

// findAbsent looks whether chunks that were not found are known to be lost, or
// have come back.
func (p *RepairPlan) findAbsent(ctx context.Context) error {
	lost, err := splitIDs(p.state.Lost)
	if err != nil || len(p.opt.Chunks) == 0 {
		return err
	}
	v, err := p.look(ctx, p.segments)
	if err != nil {
		return err
	}
	defer v.release()
	for _, id := range p.opt.Chunks {
		_, known := lost[id]
		_, found, err := v.index.Lookup(id)
		if err != nil {
			return err
		}
		if !known && !found {
			p.absent = append(p.absent, id)
		}
	}
	return nil
}

// look returns a view of segments.
func (p *RepairPlan) look(ctx context.Context, refs []segmentRef) (*view, error) {
	v := &view{state: p.state, segments: refs, index: &sharedIndex{View: index.NewView(p.s.tableOpener(), p.s.memoryEntries()), log: p.s.env.Log}}
	v.index.users.Store(1)
	if err := p.s.loadSegments(ctx, v); err != nil {
		v.release()
		return nil, err
	}
	return v, nil
}

// readTrailer asks a pack, of which the name and the size are known, what is in
// it.
func (s *Store) readTrailer(ctx context.Context, p index.Pack) (index.Pack, []pack.Block, error) {
	name := packName(p)
	tail := make([]byte, min(int64(p.Size), 64<<10))
	if len(tail) < pack.FooterSize {
		return p, nil, fmt.Errorf("%s has %d bytes: %w", name, p.Size, pack.ErrDamaged)
	}
	if err := s.readAt(ctx, name, tail, int64(p.Size)-int64(len(tail))); err != nil {
		return p, nil, err
	}
	f, err := pack.ParseFooter(tail[len(tail)-pack.FooterSize:], int64(p.Size))
	if err != nil {
		return p, nil, fmt.Errorf("%s: %w", name, err)
	}
	sealed := tail[:len(tail)-pack.FooterSize]
	if f.TrailerLength > int64(len(sealed)) {
		sealed = make([]byte, f.TrailerLength)
		if err := s.readAt(ctx, name, sealed, f.TrailerOffset); err != nil {
			return p, nil, err
		}
	}
	return s.openTrailer(p, sealed[int64(len(sealed))-f.TrailerLength:], f.TrailerOffset)
}

// openTrailer finds the kind of the pack, too: only with the right one does its
// trailer open.
func (s *Store) openTrailer(p index.Pack, sealed []byte, at int64) (index.Pack, []pack.Block, error) {
	var trouble error
	for _, p.Kind = range []chunk.Kind{chunk.Data, chunk.Tree} {
		plain, err := s.box.OpenRecord(trailerName(pack.Header{Kind: p.Kind, SID: p.SID, Seq: p.Seq}), sealed, maxRecord*4)
		if err != nil {
			trouble = errors.Join(trouble, err)
			continue
		}
		blocks, err := pack.DecodeTrailer(plain)
		end := int64(pack.HeaderSize)
		for _, b := range blocks {
			end += int64(b.Sealed)
		}
		if err == nil && end != at {
			err = fmt.Errorf("the trailer of %s lists %d bytes of %d: %w", packName(p), end, at, pack.ErrDamaged)
		}
		return p, blocks, err
	}
	return p, nil, trouble
}

// A listed pack is one with its own list of what is in it, or why that cannot be
// had.
type listedPack struct {
	index.Pack
	blocks []pack.Block
	err    error
}

// readTrailers asks several packs at once, and hands them out in their order.
func (s *Store) readTrailers(ctx context.Context, packs []index.Pack, fn func(listedPack) error) error {
	const batch = 8 * recordReaders
	for len(packs) > 0 {
		some := packs[:min(len(packs), batch)]
		packs = packs[len(some):]
		lists := make([]listedPack, len(some))
		group, running := errgroup.WithContext(ctx)
		group.SetLimit(recordReaders)
		for i, p := range some {
			group.Go(func() error {
				var err error
				lists[i], lists[i].err, err = try(running, func() (l listedPack, err error) {
					l.Pack, l.blocks, err = s.readTrailer(running, p)
					return l, err
				})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, l := range lists {
			if err := fn(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment returns what the pack lists as an index segment.
func (l listedPack) segment() (*index.Segment, error) {
	var b segmentBuilder
	b.add(l.Pack, l.blocks)
	plain, err := b.encode()
	if err != nil {
		return nil, err
	}
	return index.Decode(plain)
}
