package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/fxamacker/cbor/v2"

	"coffer/bucket"
	"coffer/index"
)

// A PruneReport says what a prune did.
type PruneReport struct {
	Generation uint64        `json:"generation"` // the newest one
	Dropped    int           `json:"dropped"`    // commits
	Copied     int64         `json:"copied"`     // bytes that were written again
	Removed    Amount        `json:"removed"`    // objects, and their bytes
	Freed      int64         `json:"freed"`      // bytes: removed less written
	Waiting    []SessionInfo `json:"waiting,omitempty"`
	Full       bool          `json:"disk_full,omitempty"` // there was no room to copy: what is dead was removed, and more can be by another prune
	Overtaken  bool          `json:"overtaken,omitempty"` // another prune was quicker, and did this
	Kept       []string      `json:"kept,omitempty"`      // packs that had to stay because something in them is damaged
}

// Run carries the plan out. What the plan does not know, because it happened
// since, is found by the second mark.
func (p *PrunePlan) Run(ctx context.Context) (PruneReport, error) {
	rep := PruneReport{Generation: p.v.Number}
	if p.opt.DryRun {
		return rep, errors.New("prune: this plan was made for a dry run")
	}
	if err := p.resume(ctx, &rep); err != nil || p.Idle() {
		p.s.reserve(func() int64 { return p.Packs.Bytes })
		return rep, err
	}
	n := &next{s: p.s, v: p.v, drop: p.Drop, lost: stillLost(p.v)}
	err := n.begin()
	if err == nil {
		err = p.condemn(ctx, n, &rep)
	}
	if err == nil {
		n.left = p.left(n.condemned)
		err = n.publish(ctx)
	}
	if (err == nil || vanished(err)) && !n.ours && p.overtaken(ctx) {
		rep.Overtaken, rep.Kept, err = true, nil, nil // what could not be copied is gone, not damaged
	}
	if err != nil {
		return rep, fmt.Errorf("prune: %w", err)
	}
	if n.ours {
		rep.Dropped, rep.Copied = len(p.Drop), n.p.stored.Load()
	}
	rep.Freed -= n.p.stored.Load()
	err = p.s.closeOpen(ctx, p.opt, true, &rep)
	var wait *WaitError
	if errors.As(err, &wait) {
		rep.Waiting, err = wait.Sessions, nil
	}
	if err != nil {
		err = fmt.Errorf("prune: %w", err)
	}
	return rep, err
}

// overtaken reports whether another prune has made a newer generation since the
// plan was made. Then it may also have removed what this one was about to copy;
// what this one has copied so far is nobody's, and swept some day.
func (p *PrunePlan) overtaken(ctx context.Context) bool {
	t, err := p.s.turn(ctx)
	return err == nil && t.newest > p.v.Number
}

// resume deletes what an earlier prune was to delete and did not come to.
func (p *PrunePlan) resume(ctx context.Context, rep *PruneReport) error {
	if p.v.done == nil || p.Leftover.Objects == 0 {
		return nil
	}
	return p.s.sweep(ctx, p.v.done.Delete, p.list, p.opt, rep)
}

// condemn copies what lives out of the chosen packs, and condemns those from
// which all could be copied. On a full disk only the dead ones go, and where
// there are none, the few from which little has to be copied.
func (p *PrunePlan) condemn(ctx context.Context, n *next, rep *PruneReport) error {
	err := p.copyOut(ctx, n, p.chosen, rep)
	if !isFull(err) {
		return err
	}
	rep.Full = true
	few := p.dead()
	if len(few) == 0 {
		few = p.within(int64(p.s.cfg.PackSize) / 2)
	}
	if err := p.s.releaseReserve(); err != nil {
		return err
	}
	for {
		rep.Kept = nil
		if err := n.beginAgain(ctx); err != nil {
			return err
		}
		err := p.copyOut(ctx, n, few, rep)
		switch {
		case !isFull(err), len(few) == 0:
			return err
		case len(few) > 1:
			few = few[:1]
		case len(p.Drop) > 0 || p.Orphans.Objects > 0: // what nobody names can go at least
			few = nil
		default:
			return err
		}
	}
}

// beginAgain removes what was copied, which nobody names and nobody ever will, and
// which takes the room that is needed. Then it begins.
func (n *next) beginAgain(ctx context.Context) error {
	n.p.packs.Wait()
	n.p.mu.Lock()
	written := slices.Sorted(maps.Keys(n.p.sizes))
	n.p.mu.Unlock()
	if len(written) > 0 {
		if err := n.s.bucket.Delete(ctx, written...); err != nil {
			return fmt.Errorf("remove what was copied in vain: %w", err)
		}
	}
	return n.begin()
}

func (p *PrunePlan) dead() []*packUse {
	return slices.DeleteFunc(slices.Clone(p.chosen), func(u *packUse) bool { return !u.dead() })
}

// within returns the first of the chosen packs from which at most so many bytes
// have to be copied.
func (p *PrunePlan) within(bytes int64) []*packUse {
	for i, u := range p.chosen {
		if bytes -= u.live; bytes < 0 && i > 0 {
			return p.chosen[:i]
		}
	}
	return p.chosen
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// copyOut condemns packs after what lives in them has been copied.
func (p *PrunePlan) copyOut(ctx context.Context, n *next, packs []*packUse, rep *PruneReport) error {
	bySegment := map[int]map[int]bool{}
	total := int64(0)
	for _, u := range packs {
		if bySegment[u.ref] == nil {
			bySegment[u.ref] = map[int]bool{}
		}
		bySegment[u.ref][u.at] = !u.dead()
		total += u.live
	}
	wants := func(e index.Entry, in index.Pack, b index.Block) (bool, error) { return p.acc.counts(e, in, b), nil }
	c := copier{p: n.p, wants: wants, exact: p.opt.Thorough, done: func(b int64) {
		p.opt.Event(PruneEvent{Step: "copy", Done: min(b, total), Total: total})
	}}
	for ref, which := range bySegment {
		seg, err := p.acc.segment(ctx, ref)
		if err != nil {
			return err
		}
		failed, err := c.copyPacks(ctx, seg, which)
		if err != nil {
			return err
		}
		for at := range which {
			if failed[at] == nil {
				n.condemned[ref] = append(n.condemned[ref], uint32(at))
				continue
			}
			p.keep(rep, packName(seg.Packs[at]), failed[at])
		}
	}
	if err := n.p.Flush(ctx); err != nil {
		return err
	}
	return p.spareCopies(ctx, n, packs, rep)
}

// left counts the entries that stay, by segment.
func (p *PrunePlan) left(condemned map[int][]uint32) map[int]int {
	left := map[int]int{}
	for i := range p.acc.packs {
		if u := &p.acc.packs[i]; !slices.Contains(condemned[u.ref], uint32(u.at)) {
			left[u.ref] += u.entries
		}
	}
	return left
}

// keep notes that a pack has to stay.
func (p *PrunePlan) keep(rep *PruneReport, name string, err error) {
	rep.Kept = append(rep.Kept, name)
	p.s.env.Log.Warn("a pack stays because it cannot be copied: run 'coffer repair'", "pack", name, "err", err)
}

// spareCopies lets packs stay that hold a second copy of a chunk whose first
// turns out to be bad.
func (p *PrunePlan) spareCopies(ctx context.Context, n *next, packs []*packUse, rep *PruneReport) error {
	bySegment := map[int][]*packUse{}
	for _, u := range packs {
		if u.copies > 0 || u.unnamed {
			bySegment[u.ref] = append(bySegment[u.ref], u)
		}
	}
	for ref, list := range bySegment {
		bad, err := p.acc.checkCopies(ctx, ref, list)
		if err != nil {
			return err
		}
		for at := range bad {
			n.condemned[ref] = slices.DeleteFunc(n.condemned[ref], func(c uint32) bool { return int(c) == at })
			p.keep(rep, packName(bad[at].Pack), errors.New("it has the only good copy of a chunk"))
		}
	}
	return nil
}

// A next is a generation that is being made.
type next struct {
	s         *Store
	v         *view // of the generation before
	p         *packer
	drop      []string
	lost      []byte
	condemned map[int][]uint32 // packs by the segment of v that lists them
	ours      bool             // the record that stands is ours
	left      map[int]int      // entries that are left in a segment of v; nil: all
}

// begin makes a packer. What it writes bears the number of the old generation,
// so that the sweep removes it should the new one never come to be.
func (n *next) begin() error {
	n.p, n.condemned = newPacker(n.s), map[int][]uint32{}
	return n.p.name(n.v.Number)
}

// publish makes the new generation and writes it. That another prune has been
// quicker is no error: its generation stands, and what we have copied is swept.
func (n *next) publish(ctx context.Context) error {
	gen, err := n.make(ctx)
	if err == nil {
		n.ours, err = n.put(ctx, gen)
	}
	return err
}

// make writes what the record of the new generation is to name.
func (n *next) make(ctx context.Context) (generation, error) {
	gen := generation{Version: recordVersion, Number: n.v.Number + 1, Dropped: n.drop, Lost: n.lost, Host: n.s.env.Host,
		Time: n.s.env.Now().Unix(), Mended: n.v.Mended}
	for _, c := range n.v.settled {
		if c.Generation == n.v.Number {
			gen.Covered = append(gen.Covered, c.ID)
		}
	}
	err := n.vital(func() (err error) { gen.Base, err = n.base(ctx); return err })
	if err == nil {
		err = n.vital(func() (err error) { gen.Catalogue, err = n.catalogue(ctx); return err })
	}
	if err == nil {
		err = n.p.landed(ctx)
	}
	for _, list := range n.condemned {
		gen.Condemned += len(list)
	}
	return gen, err
}

// put writes the record, and reports whether it is ours that stands.
func (n *next) put(ctx context.Context, gen generation) (ours bool, err error) {
	plain, err := cbor.Marshal(gen)
	if err != nil {
		return false, fmt.Errorf("encode generation: %w", err)
	}
	err = n.vital(func() (err error) {
		ours, err = n.s.publish(ctx, generationName(gen.Number), plain)
		return err
	})
	return ours, err
}

// vital runs something that must work on a full disk: once more after the
// reserve has been given up.
func (n *next) vital(fn func() error) error { return n.s.vital(fn) }

func (s *Store) vital(fn func() error) error {
	err := fn()
	if !isFull(err) {
		return err
	}
	if resErr := s.releaseReserve(); resErr != nil {
		return errors.Join(err, resErr)
	}
	return fn()
}

// catalogue returns the pieces of the new generation.
func (n *next) catalogue(ctx context.Context) ([]pieceRef, error) {
	dropped := make(map[string]struct{}, len(n.drop))
	for _, id := range n.drop {
		dropped[id] = struct{}{}
	}
	known := n.v.catalogue()
	var fresh []settled
	for _, c := range n.v.settled {
		if c.Generation == n.v.Number {
			fresh = append(fresh, c)
		}
	}
	return n.p.extendCatalogue(ctx, known, without(fresh, dropped), dropped)
}

// Small segments are merged as small pieces of the catalogue are: a segment of
// fewer than smallSegment entries goes together with others when those are not
// much less. A piece gets mergedSegment entries, 22 MB of memory while it is made.
const (
	smallSegment  = 250_000
	mergedSegment = 500_000
)

// base returns the index of the new generation: segments without packs are left
// out, and small ones written together.
func (n *next) base(ctx context.Context) ([]segmentRef, error) {
	var keep, small, anew []segmentRef
	for i, r := range n.v.segments {
		r.Dead = slices.Sorted(slices.Values(slices.Concat(r.Dead, n.condemned[i])))
		switch gone, err := n.gone(ctx, r); {
		case err != nil:
			return nil, err
		case gone:
		case r.Entries >= smallSegment && n.left != nil && n.left[i] < int(r.Entries)/2:
			anew = append(anew, r)
		case r.Entries >= smallSegment:
			keep = append(keep, r)
		default:
			small = append(small, r)
		}
	}
	small = append(small, n.p.written...)
	slices.SortStableFunc(small, func(a, b segmentRef) int { return int(a.Entries) - int(b.Entries) })
	m, sum := 0, uint32(0)
	for m < len(small) && (m == 0 || small[m].Entries <= 2*sum+1024) {
		sum += small[m].Entries
		m++
	}
	if m < 2 && len(anew) == 0 && !slices.ContainsFunc(small[:m], func(r segmentRef) bool { return len(r.Dead) > 0 }) {
		return append(keep, small...), nil
	}
	merged, err := n.merge(ctx, slices.Concat(small[:m], anew))
	if isFull(err) { // it can stay as it is
		return slices.Concat(keep, small, anew), nil
	}
	return slices.Concat(keep, small[m:], merged), err
}

// gone reports whether all packs of a segment are dead.
func (n *next) gone(ctx context.Context, r segmentRef) (bool, error) {
	if len(r.Dead) == 0 {
		return false, nil
	}
	seg, err := n.s.readSegment(ctx, r.Name)
	return err == nil && len(r.Dead) == len(seg.Packs), err
}

// merge writes segments anew, together and without their dead packs.
func (n *next) merge(ctx context.Context, refs []segmentRef) ([]segmentRef, error) {
	parts := func(yield func(index.Part, error) bool) {
		for _, r := range refs {
			seg, err := n.s.readSegment(ctx, r.Name)
			if !yield(index.Part{Segment: seg, Dead: r.Dead}, err) {
				return
			}
		}
	}
	var merged []segmentRef
	for seg, err := range index.Merge(parts, mergedSegment) {
		if err != nil {
			return nil, err
		}
		ref, err := n.p.putPlainSegment(ctx, seg.Bytes(), seg.Len())
		if err != nil {
			return nil, err
		}
		merged = append(merged, ref)
	}
	return merged, nil
}

// A Reserver is a bucket that can keep some space in reserve.
type Reserver interface {
	Reserve(size int64) error
	ReleaseReserve() error
	Free() (int64, error)
}

func (s *Store) releaseReserve() error {
	if r, ok := bucket.As[Reserver](s.bucket); ok {
		return r.ReleaseReserve()
	}
	return nil
}

// While there is plenty of room a small reserve is enough, for the records with
// which a prune removes dead packs. When room gets scarce, it has to be enough for
// a prune of packs of which none is dead: for what lives in one of them.
const (
	minReserve = 1 << 20
	scarcePack = 32 // room for so many packs is still plenty
)

// reserve keeps space for the next prune, if the bucket can. A disk too full for
// that is no reason to fail.
func (s *Store) reserve(stored func() int64) {
	r, ok := bucket.As[Reserver](s.bucket)
	if !ok {
		return
	}
	size := int64(minReserve)
	if free, err := r.Free(); err == nil && free < scarcePack*int64(s.cfg.PackSize) {
		size = max(size, min(stored()/4, int64(s.cfg.PackSize)*5/8))
	}
	if err := r.Reserve(size); err != nil && !isFull(err) {
		s.env.Log.Warn("no space could be kept in reserve for a prune on a full disk", "err", err)
	}
}

// stored lists the packs and returns how large they are together.
func (s *Store) stored(ctx context.Context) int64 {
	n := int64(0)
	for info, err := range s.bucket.List(ctx, "packs/", "") {
		if err != nil {
			break // what was seen has to do
		}
		n += info.Size
	}
	return n
}
