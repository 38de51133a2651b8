package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coffer/chunk"
	"coffer/index"
)

// rescue marks what the commits need that the first mark had not seen. What of
// it is only in condemned packs is copied. Everything that the first mark saw
// has been copied before those packs were condemned.
func (c *closer) rescue(ctx context.Context, done *closing) error {
	if !c.full {
		return nil
	}
	var err error
	if c.packs, err = c.s.livePacks(ctx, c.v); err != nil {
		return err
	}
	if c.v.Condemned == 0 || len(c.v.uncovered) == 0 {
		return nil
	}
	if c.opt.Marker == nil {
		return errors.New("close a generation: nothing to mark with")
	}
	old, err := c.s.condemned(ctx, c.v, c.packs)
	if err != nil {
		return err
	}
	c.opt.Event(PruneEvent{Step: "rescue"})
	var roots []Commit
	for _, f := range c.v.uncovered {
		roots = append(roots, Commit{ID: f.id, Payload: f.Payload})
	}
	live := NewLiveSet()
	if err := c.opt.Marker.Mark(ctx, old, roots, live); err != nil {
		return fmt.Errorf("mark what snapshots need that were made meanwhile: %w", err)
	}
	err = old.copyOut(ctx, c.p, live)
	if isFull(err) { // once more, in the room of the reserve; what was written stays nobody's, and is swept
		c.p.packs.Wait()
		if err = c.s.releaseReserve(); err == nil {
			c.p = newPacker(c.s)
			err = c.p.name(c.n)
		}
		if err == nil {
			err = old.copyOut(ctx, c.p, live)
		}
	}
	var damage *DamageError
	if errors.As(err, &damage) && !isMissing(err) {
		err = fmt.Errorf("%w: run 'coffer repair'", err)
	}
	if err != nil {
		return fmt.Errorf("rescue what snapshots need that were made meanwhile: %w", err)
	}
	if err := c.complete(ctx, live); err != nil {
		return err
	}
	done.Segments = append(done.Segments, c.p.written...)
	for _, r := range c.p.written {
		seg, err := c.s.readSegment(ctx, r.Name)
		if err != nil {
			return err
		}
		for _, p := range seg.Packs {
			c.packs[p] = true
		}
	}
	return nil
}

// complete sees that everything that the marked commits need is in the view or
// has been rescued: what is only in condemned packs is lost by this closing.
func (c *closer) complete(ctx context.Context, live *LiveSet) error {
	found := NewLiveSet()
	for _, r := range slices.Concat(c.v.segments, c.p.written) {
		seg, err := c.s.readSegment(ctx, r.Name)
		if err != nil {
			return err
		}
		for _, e := range seg.Entries() {
			_, dead := slices.BinarySearch(r.Dead, seg.Block(int(e.Block)).Pack)
			if p := Prefix(e.ID[:]); !dead && live.HasPrefix(p) {
				found.AddPrefix(p)
			}
		}
	}
	absent := live.Len() - found.Len()
	for id := range c.v.lost {
		if live.Has(id) && !found.Has(id) {
			absent--
		}
	}
	if absent > 0 {
		return fmt.Errorf("%d chunks that snapshots need which were made meanwhile are neither in the index nor in the packs that are to go; %w", absent, errListing)
	}
	return nil
}

// livePacks gathers the packs that the view names.
func (s *Store) livePacks(ctx context.Context, v *view) (map[index.Pack]bool, error) {
	packs := map[index.Pack]bool{}
	for _, r := range v.segments {
		seg, err := s.readSegment(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		for i, p := range seg.Packs {
			if _, dead := slices.BinarySearch(r.Dead, uint32(i)); !dead {
				packs[p] = true
			}
		}
	}
	return packs, nil
}

// condemned finds the packs that the generation before the open one in v has,
// and that are not among packs, those that v has.
func (s *Store) condemned(ctx context.Context, v *view, packs map[index.Pack]bool) (*lastLook, error) {
	before, err := s.readCommits(ctx, v.Number-1)
	if err != nil {
		return nil, err
	}
	if err := before.own.has(v.Number-1, v.older.ids(), before.Void); err != nil {
		return nil, err
	}
	old := &lastLook{markView: markView{s, v}, index: index.NewView(nil, 0)}
	for _, r := range before.segments {
		seg, err := s.readSegment(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		var dead []uint32
		for i, p := range seg.Packs {
			if _, gone := slices.BinarySearch(r.Dead, uint32(i)); gone || packs[p] {
				dead = append(dead, uint32(i))
			}
		}
		if len(dead) == len(seg.Packs) {
			continue
		}
		if err := old.index.Add(r.Name, seg, dead); err != nil {
			return nil, err
		}
		old.parts = append(old.parts, index.Part{Segment: seg, Dead: dead})
	}
	return old, nil
}

// A lastLook is a view together with the packs that are condemned in it.
type lastLook struct {
	markView
	index *index.View
	parts []index.Part
}

func (l *lastLook) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	_, found, err := l.v.index.Lookup(id)
	if err != nil || found {
		return l.markView.Load(ctx, k, id)
	}
	p, found, err := l.index.Lookup(id)
	if err != nil || !found {
		return l.markView.Load(ctx, k, id)
	}
	return l.s.loadAt(ctx, p, k, id)
}

func (l *lastLook) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	var here []chunk.ID
	var number []int
	for i, id := range ids {
		if _, found, err := l.v.index.Lookup(id); err == nil && found {
			here, number = append(here, id), append(number, i)
			continue
		}
		data, err := l.Load(ctx, k, id)
		if err := fn(i, data, err); err != nil {
			return err
		}
	}
	return l.markView.Each(ctx, k, here, func(i int, data []byte, err error) error { return fn(number[i], data, err) })
}

// copyOut copies those of the live chunks that are only in condemned packs. One
// that cannot be copied ends the closing: its pack must not go.
func (l *lastLook) copyOut(ctx context.Context, p *packer, live *LiveSet) error {
	c := copier{p: p, wants: func(e index.Entry, in index.Pack, b index.Block) (bool, error) {
		if !live.Has(e.ID) {
			return false, nil
		}
		if at, found, err := l.v.index.Lookup(e.ID); err != nil || found && (e.Recipe || !at.Recipe) {
			return false, err
		}
		at, found, err := l.index.Lookup(e.ID)
		return found && at.Pack == in && at.BlockOffset == b.Offset && at.Offset == e.Offset, err
	}}
	for _, part := range l.parts {
		which := map[int]bool{}
		for i := range part.Segment.Packs {
			if _, dead := slices.BinarySearch(part.Dead, uint32(i)); !dead {
				which[i] = true
			}
		}
		failed, err := c.copyPacks(ctx, part.Segment, which)
		if err != nil {
			return err
		}
		for _, err := range failed {
			return err
		}
	}
	return p.Flush(ctx)
}
