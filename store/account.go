package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"coffer/chunk"
	"coffer/index"
)

// A packUse is what a mark found in one pack.
type packUse struct {
	index.Pack
	ref, at int   // which of the view's segments lists it, and where in there
	sealed  int64 // bytes of its blocks
	live    int64 // of these: blocks in proportion to the chunks in them that live and count here
	counted int   // chunks that live and count here
	copies  int   // chunks that live and of which another copy counts
	entries int
	unnamed bool // it holds chunks that its segment does not name
}

func (u *packUse) dead() bool { return u.counted == 0 }

// share is how much of a pack's blocks lives. What frames them does not count:
// it would be there again if the pack were written again.
func (u *packUse) share() float64 { return float64(u.live) / float64(max(u.sealed, 1)) }

// An account is what all packs of a view hold and what of it lives.
type account struct {
	s    *Store
	v    *view
	live *LiveSet
	// Prefixes that were met twice: only there can a chunk have two copies, and
	// only there must the index say which of them counts.
	twice *LiveSet
	which map[chunk.ID]index.Place // for those the copy that counts
	packs []packUse
	kept  map[string]*index.Segment // segments, where they are few
}

// settleAccount marks roots and finds out what lives in which pack.
func (s *Store) settleAccount(ctx context.Context, v *view, m Marker, roots []Commit) (*account, error) {
	a := &account{s: s, v: v, live: NewLiveSet(), twice: NewLiveSet(), which: map[chunk.ID]index.Place{}}
	if v.entries() <= s.memoryEntries() {
		a.kept = map[string]*index.Segment{}
	}
	if err := m.Mark(ctx, markView{s, v}, roots, a.live); err != nil {
		return nil, fmt.Errorf("mark what snapshots need: %w", err)
	}
	if err := a.closeRecipes(ctx); err != nil {
		return nil, err
	}
	found, err := a.findCopies(ctx)
	if err == nil {
		err = a.chooseCopies(ctx)
	}
	if err == nil {
		err = a.count(ctx)
	}
	if err != nil {
		return nil, err
	}
	return a, a.complete(found)
}

func (v *view) entries() int {
	n := 0
	for _, r := range v.segments {
		n += int(r.Entries)
	}
	return n
}

// A markView is a view as a Marker reads it.
type markView struct {
	s *Store
	v *view
}

func (m markView) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	return m.s.load(ctx, m.v, k, id)
}

func (m markView) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return m.s.each(ctx, m.v, k, ids, fn)
}

func (m markView) Lost(id chunk.ID) bool { return m.v.Lost(id) }

// segment reads the i-th segment of the view.
func (a *account) segment(ctx context.Context, i int) (*index.Segment, error) {
	name := a.v.segments[i].Name
	if seg := a.kept[name]; seg != nil {
		return seg, nil
	}
	seg, err := a.s.readSegment(ctx, name)
	if err == nil && a.kept != nil {
		a.kept[name] = seg
	}
	return seg, err
}

// each calls fn for every segment of the view with the packs in it that are
// dead already.
func (a *account) each(ctx context.Context, fn func(i int, seg *index.Segment, dead []bool) error) error {
	for i, ref := range a.v.segments {
		seg, err := a.segment(ctx, i)
		if err != nil {
			return err
		}
		dead := make([]bool, len(seg.Packs))
		for _, d := range ref.Dead {
			if int(d) >= len(dead) {
				return fmt.Errorf("segment %s has no pack %d: %w", ref.Name, d, index.ErrDamaged)
			}
			dead[d] = true
		}
		if err := fn(i, seg, dead); err != nil {
			return err
		}
	}
	return nil
}

// closeRecipes adds the chunks that live recipes name. They are whole, so one
// step is enough. A recipe beside a whole copy does not count.
func (a *account) closeRecipes(ctx context.Context) error {
	return a.each(ctx, func(_ int, seg *index.Segment, dead []bool) error {
		for i, base := range seg.Refs() {
			e := seg.Entry(i)
			if !a.live.Has(e.ID) || dead[seg.Block(int(e.Block)).Pack] {
				continue
			}
			p, found, err := a.v.index.Lookup(e.ID)
			if err != nil {
				return err
			}
			if !found || p.Recipe {
				a.live.Add(base)
			}
		}
		return nil
	})
}

// findCopies finds out which chunks may have several copies, and whether one
// has none at all.
func (a *account) findCopies(ctx context.Context) (found int, err error) {
	once := NewLiveSet()
	err = a.each(ctx, func(_ int, seg *index.Segment, dead []bool) error {
		for _, e := range seg.Entries() {
			p := Prefix(e.ID[:])
			if a.live.HasPrefix(p) && !dead[seg.Block(int(e.Block)).Pack] && !once.AddPrefix(p) {
				a.twice.AddPrefix(p)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	absent := a.live.Len() - once.Len()
	for id := range a.v.lost {
		if a.live.Has(id) && !once.Has(id) {
			absent--
		}
	}
	if absent > 0 {
		return 0, &DamageError{Pack: "the index", Err: fmt.Errorf("%d chunks that %w", absent, errShort)}
	}
	return once.Len(), nil
}

// complete sees that every chunk that lives counts somewhere.
func (a *account) complete(found int) error {
	counted := 0
	for i := range a.packs {
		counted += a.packs[i].counted
	}
	if counted < found {
		return fmt.Errorf("of %d chunks that snapshots need only %d were accounted for: nothing is pruned", found, counted)
	}
	return nil
}

// chooseCopies decides which of several copies counts: a whole one before a recipe,
// otherwise the first. The segments decide and not the index, whose cache may have
// rotted.
func (a *account) chooseCopies(ctx context.Context) error {
	if a.twice.Len() == 0 {
		return nil
	}
	return a.each(ctx, func(_ int, seg *index.Segment, dead []bool) error {
		for _, e := range seg.Entries() {
			b := seg.Block(int(e.Block))
			if dead[b.Pack] || !a.twice.Has(e.ID) {
				continue
			}
			if old, met := a.which[e.ID]; !met || old.Recipe && !e.Recipe {
				a.which[e.ID] = index.Place{Pack: seg.Packs[b.Pack], BlockOffset: b.Offset, BlockSealed: b.Sealed, BlockPlain: b.Plain,
					Offset: e.Offset, Length: e.Length, Recipe: e.Recipe}
			}
		}
		return ctx.Err()
	})
}

// errShort may also come from a listing during which commits were made, of which
// it has one and not the other that it builds on. Then it does not come again.
var errShort = errors.New("snapshots need are in no pack that it names: nothing is pruned; run 'coffer verify' and then 'coffer repair'")

// counts reports whether this entry is the one by which its chunk lives.
func (a *account) counts(e index.Entry, p index.Pack, b index.Block) bool {
	if !a.live.Has(e.ID) {
		return false
	}
	at, several := a.which[e.ID]
	return !several || at.Pack == p && at.BlockOffset == b.Offset && at.Offset == e.Offset
}

// count goes through all entries.
func (a *account) count(ctx context.Context) error {
	return a.each(ctx, func(i int, seg *index.Segment, dead []bool) error {
		number := make([]int, len(seg.Packs))
		for n, p := range seg.Packs {
			number[n] = len(a.packs)
			if !dead[n] {
				a.packs = append(a.packs, packUse{Pack: p, ref: i, at: n})
			}
		}
		plain := make(map[uint32]int64) // of the chunks that count, by block
		named := make([]int64, len(seg.Packs))
		for _, e := range seg.Entries() {
			b := seg.Block(int(e.Block))
			if dead[b.Pack] {
				continue
			}
			u := &a.packs[number[b.Pack]]
			u.entries++
			named[b.Pack] += int64(e.Length)
			switch {
			case a.counts(e, u.Pack, b):
				u.counted++
				plain[e.Block] += int64(e.Length)
			case a.live.Has(e.ID):
				u.copies++
			}
		}
		for n, b := range seg.Blocks() {
			if !dead[b.Pack] {
				a.packs[number[b.Pack]].sealed += int64(b.Sealed)
				named[b.Pack] -= int64(b.Plain)
			}
			if live := plain[uint32(n)]; live > 0 {
				a.packs[number[b.Pack]].live += int64(float64(b.Sealed) * float64(live) / float64(max(b.Plain, 1)))
			}
		}
		for n := range seg.Packs {
			if !dead[n] {
				a.packs[number[n]].unnamed = named[n] != 0
			}
		}
		return ctx.Err()
	})
}

// all yields the packs.
func (a *account) all() iter.Seq[index.Pack] {
	return func(yield func(index.Pack) bool) {
		for i := range a.packs {
			if !yield(a.packs[i].Pack) {
				return
			}
		}
	}
}
