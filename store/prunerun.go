package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

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
