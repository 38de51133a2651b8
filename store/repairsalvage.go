package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// wreckKnown takes on the bad packs that a good segment names.
func (r *repairer) wreckKnown(ctx context.Context) error {
	segments := map[string]bool{}
	for name := range r.bad {
		if k, ok := r.packs[name]; ok {
			segments[k.segment] = true
		}
	}
	for name := range segments {
		seg, err := r.s.readSegment(ctx, name)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(r.segments, func(ref segmentRef) bool { return ref.Name == name })
		for p, blocks := range seg.Contents() {
			k := r.packs[packName(p)]
			if _, bad := r.bad[packName(p)]; !bad || k.segment != name {
				continue
			}
			r.wrecks = append(r.wrecks, wreck{p, blocks})
			if at >= 0 {
				r.n.condemned[at] = append(r.n.condemned[at], uint32(k.at))
			}
		}
	}
	return nil
}

// wreckMute looks in all segments that there are, named or not, for the packs
// whose own lists cannot be read.
func (r *repairer) wreckMute(ctx context.Context) error {
	if len(r.mute) == 0 {
		return nil
	}
	for name := range r.list.objects {
		if !strings.HasPrefix(name, "index/") {
			continue
		}
		seg, bad, err := try(ctx, func() (*index.Segment, error) { return r.s.readSegment(ctx, name) })
		if err != nil {
			return err
		}
		if bad != nil {
			continue
		}
		for p, blocks := range seg.Contents() {
			if why, mute := r.mute[packName(p)]; mute {
				r.wrecks = append(r.wrecks, wreck{p, blocks})
				r.bad[packName(p)] = BadPack{Name: packName(p), Size: int64(p.Size), Why: why.Error()}
				delete(r.mute, packName(p))
			}
		}
	}
	for name, why := range r.mute {
		r.rep.Unreadable = append(r.rep.Unreadable, name)
		r.s.env.Log.Warn("a pack does not say what is in it, and nothing else does", "pack", name, "err", why)
	}
	slices.Sort(r.rep.Unreadable)
	return nil
}

// salvage copies what is good in the bad packs, as far as no other pack has it.
func (r *repairer) salvage(ctx context.Context) (err error) {
	refs := slices.Clone(r.segments)
	for i, dead := range r.n.condemned {
		refs[i].Dead = slices.Sorted(slices.Values(slices.Concat(refs[i].Dead, dead)))
	}
	r.seen = len(r.n.p.written)
	if r.v, err = r.look(ctx, slices.Concat(refs, r.n.p.written)); err != nil {
		return err
	}
	r.c = &copier{p: r.n.p, wants: r.wants, done: func(n int64) { r.opt.Event(PruneEvent{Step: "salvage", Done: n}) }}
	for _, w := range r.wrecks {
		r.rep.Condemned = append(r.rep.Condemned, r.bad[packName(w.Pack)])
		for _, b := range w.blocks {
			if err := r.block(ctx, w.Pack, b); err != nil {
				return err
			}
		}
	}
	for _, id := range r.absent {
		r.sought[id] = struct{}{}
	}
	return r.hunt(ctx)
}

// wants says that a chunk must be copied: nothing else has it.
func (r *repairer) wants(e index.Entry, _ index.Pack, _ index.Block) (bool, error) {
	if _, done := r.copied[e.ID]; done {
		return false, nil
	}
	_, found, err := r.v.index.Lookup(e.ID)
	return !found, err
}

// block copies what is needed of a block, if it is good. If it is not, its
// chunks are looked for elsewhere.
func (r *repairer) block(ctx context.Context, p index.Pack, b index.Filled) error {
	n, err := r.c.needed(p, b)
	if err != nil || len(n.Chunks) == 0 {
		return err
	}
	var damage *DamageError
	err = errors.New("missing")
	if !r.bad[packName(p)].Missing {
		for try := 0; try < 2; try++ { // only the transfer may have gone wrong
			if err = r.c.copyRun(ctx, p, []neededBlock{n}); !errors.As(err, &damage) {
				break
			}
		}
		if err != nil && !errors.As(err, &damage) {
			return err
		}
	}
	for _, e := range n.Chunks {
		if err == nil {
			r.copied[e.ID] = struct{}{}
			delete(r.sought, e.ID)
		} else if wanted, _ := r.wants(e, p, b.Block); wanted {
			r.sought[e.ID] = struct{}{}
		}
	}
	return nil
}

// hunt looks for the chunks that are sought in all that the index does not name:
// the second copy of a chunk in one segment, and packs of sessions or prunes
// that came to nothing. It is then flushed what was copied.
func (r *repairer) hunt(ctx context.Context) error {
	if len(r.sought) > 0 {
		packs, err := r.unknown(ctx)
		if err != nil {
			return err
		}
		err = r.s.readTrailers(ctx, packs, func(l listedPack) error {
			if l.err != nil {
				return nil
			}
			return r.search(ctx, l.Pack, l.blocks)
		})
		if err != nil {
			return err
		}
	}
	if err := r.n.p.Flush(ctx); err != nil {
		return err
	}
	r.rep.Salvaged = r.c.copied
	for ; r.seen < len(r.n.p.written); r.seen++ {
		if err := r.s.loadSegment(ctx, r.v.index.View, r.n.p.written[r.seen].want()); err != nil {
			return err
		}
	}
	return nil
}

// search copies chunks that are sought out of a pack.
func (r *repairer) search(ctx context.Context, p index.Pack, blocks []pack.Block) error {
	b := index.Filled{Block: index.Block{Offset: pack.HeaderSize}}
	for _, own := range blocks {
		b.Sealed, b.Plain, b.Chunks = own.Sealed, own.Plain, nil
		at := uint32(0)
		for _, c := range own.Chunks {
			if _, sought := r.sought[c.ID]; sought {
				b.Chunks = append(b.Chunks, index.Entry{ID: c.ID, Offset: at, Length: c.Length, Recipe: c.Form == pack.Recipe})
			}
			at += c.Length
		}
		if len(b.Chunks) > 0 {
			if err := r.block(ctx, p, b); err != nil {
				return err
			}
		}
		b.Offset += own.Sealed
	}
	return nil
}

// unknown returns the packs of which the index does not name every chunk.
func (r *repairer) unknown(ctx context.Context) ([]index.Pack, error) {
	whole := map[string]bool{}
	for _, ref := range r.v.segments {
		seg, err := r.s.readSegment(ctx, ref.Name)
		if err != nil {
			return nil, err
		}
		n := -1
		for p, blocks := range seg.Contents() {
			n++
			_, dead := slices.BinarySearch(ref.Dead, uint32(n))
			whole[packName(p)] = !dead && !slices.ContainsFunc(blocks, lacksChunks)
		}
	}
	var packs []index.Pack
	for name, size := range r.list.objects {
		if p, err := parsePackName(name); err == nil && !whole[name] {
			p.Size = uint64(size)
			packs = append(packs, p)
		}
	}
	slices.SortFunc(packs, func(a, b index.Pack) int { return strings.Compare(packName(a), packName(b)) })
	return packs, nil
}

// lacksChunks reports whether the index does not name all chunks of a block.
func lacksChunks(b index.Filled) bool {
	n := uint32(0)
	for _, e := range b.Chunks {
		n += e.Length
	}
	return n < b.Plain
}

// trace finds what snapshots need that is nowhere, and looks for it. What else
// was in the packs that are given up nobody will miss.
func (r *repairer) trace(ctx context.Context) error {
	if r.opt.Missing == nil || !r.Scratch && !r.open && !r.opt.Index && len(r.bad)+len(r.Segments)+len(r.absent) == 0 {
		return nil
	}
	r.opt.Event(PruneEvent{Step: "trace"})
	commits := make([]Commit, len(r.commits))
	for i, c := range r.commits {
		commits[i] = Commit{ID: c.ID, Payload: c.Payload}
	}
	ids, err := r.opt.Missing(ctx, markView{r.s, r.v}, commits, func(id chunk.ID) (bool, error) {
		_, found, err := r.v.index.Lookup(id)
		return found, err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.rep.Untraced = err.Error()
		r.s.env.Log.Warn("not all that snapshots need could be traced: run 'coffer verify --read-data', and repair again", "err", err)
		return nil
	}
	if len(r.running) == 0 { // a session may find what no snapshot needs yet, and need it
		clear(r.sought)
		clear(r.n.v.lost)
	}
	for _, id := range ids {
		r.sought[id] = struct{}{}
	}
	return r.hunt(ctx)
}
