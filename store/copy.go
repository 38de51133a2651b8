package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// A copier copies what is needed out of packs that are to go. Every block is
// checked before it is written again: one that moves as it is by its seal, one
// that is made anew chunk by chunk.
type copier struct {
	p     *packer
	wants func(index.Entry, index.Pack, index.Block) (bool, error)
	exact bool              // what is not needed is not copied, however little it is
	done  func(bytes int64) // called from several goroutines, one at a time

	mu     sync.Mutex
	copied int64
}

// rebuildBelow is the share of a block that must be needed for it to move
// unopened. Below it the chunks that are needed get a block of their own, never
// together with those of another block: that might be of another host.
const rebuildBelow = 0.9

// copyPacks copies from all packs of a segment that are in which. Packs that
// cannot be copied are returned with the reason; they have to stay.
func (c *copier) copyPacks(ctx context.Context, seg *index.Segment, which map[int]bool) (failed map[int]error, err error) {
	failed = map[int]error{}
	group, running := errgroup.WithContext(ctx) // running is over when all have returned; packs are written beyond that
	group.SetLimit(c.p.s.env.Workers)
	n := -1
	for p, blocks := range seg.Contents() {
		n++
		if !which[n] {
			continue
		}
		n := n
		group.Go(func() error {
			if running.Err() != nil {
				return nil
			}
			err := c.copyPack(ctx, p, blocks)
			var damage *DamageError
			if errors.As(err, &damage) && !isMissing(err) {
				c.mu.Lock()
				defer c.mu.Unlock()
				failed[n] = err
				return nil
			}
			return err
		})
	}
	err = group.Wait()
	if err != nil {
		c.p.packs.Wait() // nothing of ours lands after we have given up
	}
	return failed, err
}

// A needed block is one with the chunks in it that are to be copied.
type neededBlock struct {
	index.Filled
	whole bool // all chunks in it are known, and enough are needed: it moves as it is
}

func (c *copier) copyPack(ctx context.Context, p index.Pack, blocks []index.Filled) error {
	var needed []neededBlock
	for _, b := range blocks {
		n, err := c.needed(p, b)
		if err != nil {
			return err
		}
		if len(n.Chunks) > 0 {
			needed = append(needed, n)
		}
	}
	for len(needed) > 0 {
		n := 1
		start := int64(needed[0].Offset)
		for n < len(needed) && int64(needed[n].Offset) <= end(needed[n-1])+maxGap && end(needed[n]) <= start+maxRun {
			n++
		}
		if err := c.copyRun(ctx, p, needed[:n]); err != nil {
			return err
		}
		needed = needed[n:]
	}
	return nil
}

func end(b neededBlock) int64 { return int64(b.Offset) + int64(b.Sealed) }

// needed leaves only those chunks in a block that must be copied, unless nearly
// all must.
func (c *copier) needed(p index.Pack, b index.Filled) (neededBlock, error) {
	n := neededBlock{Filled: index.Filled{Block: b.Block}}
	known, wanted := uint32(0), uint32(0)
	for _, e := range b.Chunks {
		ok, err := c.wants(e, p, b.Block)
		if err != nil {
			return n, err
		}
		known += e.Length
		if ok {
			wanted += e.Length
			n.Chunks = append(n.Chunks, e)
		}
	}
	least := rebuildBelow * float64(b.Plain)
	if c.exact {
		least = float64(b.Plain)
	}
	if len(n.Chunks) > 0 && known == b.Plain && float64(wanted) >= least {
		n.Chunks, n.whole = b.Chunks, true
	}
	return n, nil
}

// copyRun copies blocks that are read with one request.
func (c *copier) copyRun(ctx context.Context, p index.Pack, run []neededBlock) error {
	s, start := c.p.s, int64(run[0].Offset)
	size, plain := int(end(run[len(run)-1])-start), 0
	for _, b := range run {
		plain = max(plain, int(b.Plain))
	}
	raw, opened := s.buf.Get(size)[:size], s.buf.Get(plain+64)
	defer s.buf.Put(raw)
	defer s.buf.Put(opened)
	err := s.readAt(ctx, packName(p), raw, start)
	for _, b := range run {
		sealed := raw[int64(b.Offset)-start:][:b.Sealed]
		if err != nil { // a bad spot costs what lies on it, and no more
			if readErr := s.readAt(ctx, packName(p), sealed, int64(b.Offset)); readErr != nil {
				return c.damage(ctx, p, readErr)
			}
		}
		if err := c.copyBlock(ctx, p, b, sealed, opened); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) damage(ctx context.Context, p index.Pack, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &DamageError{Pack: packName(p), Err: err}
}

// copyBlock puts a block, or what is needed of it, into a pack of ours.
func (c *copier) copyBlock(ctx context.Context, p index.Pack, b neededBlock, sealed, opened []byte) error {
	if b.whole {
		return c.moveBlock(ctx, p, b, sealed)
	}
	plain, err := c.p.s.box.OpenBlock(opened, sealed, int(b.Plain))
	if err != nil {
		return c.damage(ctx, p, err)
	}
	if len(plain) != int(b.Plain) {
		return c.damage(ctx, p, fmt.Errorf("its block opens to %d bytes and not %d", len(plain), b.Plain))
	}
	if err := c.p.failed(); err != nil {
		return err
	}
	var rest []byte
	for _, e := range b.Chunks {
		data := plain[e.Offset : e.Offset+e.Length]
		if !e.Recipe && c.p.s.sum(p.Kind, data) != e.ID {
			return c.damage(ctx, p, fmt.Errorf("chunk %s: its bytes have another id", e.ID.Short()))
		}
		rest = append(rest, data...)
	}
	if err := c.p.lanes[laneOf(p.Kind)].seal(ctx, rest, packed(b.Chunks)); err != nil {
		return err
	}
	c.count(b)
	return nil
}

// moveBlock puts a block into a pack of ours as it is, if its bytes are those
// that were once sealed.
func (c *copier) moveBlock(ctx context.Context, p index.Pack, b neededBlock, sealed []byte) error {
	if err := c.p.s.box.CheckBlock(sealed); err != nil {
		return c.damage(ctx, p, err)
	}
	if err := c.p.failed(); err != nil {
		return err
	}
	if err := c.p.lanes[laneOf(p.Kind)].place(ctx, sealed, int(b.Plain), packed(b.Chunks)); err != nil {
		return err
	}
	c.count(b)
	return nil
}

// packed lists chunks as a pack's trailer does.
func packed(entries []index.Entry) []pack.Chunk {
	chunks := make([]pack.Chunk, len(entries))
	for i, e := range entries {
		chunks[i] = pack.Chunk{ID: e.ID, Length: e.Length}
		if e.Recipe {
			chunks[i].Form = pack.Recipe
		}
	}
	return chunks
}

func (c *copier) count(b neededBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied += int64(b.Sealed)
	if c.done != nil {
		c.done(c.copied)
	}
}

// checkCopies reads the chunks that count elsewhere, before packs go that have
// another copy of them: the last copy of a chunk must be good. It returns the packs
// that have to stay because it is not, by their position in the segment.
func (a *account) checkCopies(ctx context.Context, ref int, packs []*packUse) (bad map[int]*packUse, err error) {
	seg, err := a.segment(ctx, ref)
	if err != nil {
		return nil, err
	}
	owners := map[int]*packUse{}
	for _, u := range packs {
		owners[u.at] = u
	}
	bad = map[int]*packUse{}
	wants, holders := map[chunk.Kind][]want{}, map[chunk.Kind][]*packUse{}
	add := func(u *packUse, id chunk.ID) error {
		p, several := a.which[id]
		if !several {
			var err error
			if p, err = a.s.find(ctx, a.v, id); errors.Is(err, errAbsent) {
				bad[u.at] = u // nobody else has it
				return nil
			} else if err != nil {
				return err
			}
		}
		wants[u.Kind] = append(wants[u.Kind], want{len(holders[u.Kind]), id, p})
		holders[u.Kind] = append(holders[u.Kind], u)
		return nil
	}
	for _, e := range seg.Entries() {
		b := seg.Block(int(e.Block))
		if u := owners[int(b.Pack)]; u != nil && a.live.Has(e.ID) && !a.counts(e, u.Pack, b) {
			if err := add(u, e.ID); err != nil {
				return nil, err
			}
		}
	}
	if err := a.unnamed(ctx, packs, add); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	for kind, list := range wants { // at the places that count: the index may know others
		err := a.s.eachAt(ctx, a.v, kind, list, func(i int, _ []byte, err error) error {
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				u := holders[kind][i]
				bad[u.at] = u
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return bad, nil
}

// unnamed finds the live chunks in packs that their segment does not name: when
// segments are merged, of two copies one loses its entry, and nobody reads the
// other then. Where the trailer of a pack cannot be had, nothing can be in it that
// could.
func (a *account) unnamed(ctx context.Context, packs []*packUse, add func(*packUse, chunk.ID) error) error {
	for _, u := range packs {
		if !u.unnamed {
			continue
		}
		_, blocks, err := a.s.readTrailer(ctx, u.Pack)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isMissing(err) {
			return err // overtaken, or worse: see Run
		}
		for _, b := range blocks {
			for _, c := range b.Chunks {
				if !a.live.Has(c.ID) {
					continue
				}
				if err := add(u, c.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
