package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"coffer/index"
)

// PruneOptions say how a prune is done.
type PruneOptions struct {
	Marker      Marker
	DryRun      bool             // nothing is written, not even to finish what an earlier prune began
	RepackBelow float64          // a pack of which less lives is written again; 0: RepackBelow
	Thorough    bool             // every pack with something dead in it is written again, and nothing dead is left
	MaxRepack   int64            // bytes to copy at most; 0: no bound, below 0: nothing
	Wait        time.Duration    // for sessions that are known to be alive
	Patience    time.Duration    // without a beat, until a session is taken for dead; 0: ten minutes
	Event       func(PruneEvent) // may be nil; one call at a time

	// Fold, snapshot.FoldNotes, makes one payload of those of many notes, and
	// says which it stands for; what it returns beside an error is good. Where
	// it is nil, no notes are put together.
	Fold func(notes []Note, exists func(id string) bool) (payload []byte, folded []string, err error)

	hurry bool // wait for nobody, not even to find out whether he is dead
}

// RepackBelow is the share of a pack that must live for it to be left alone:
// to free 1 byte of a pack with live share u costs copying u/(1-u) bytes, 1.5 at
// this share, which a disk does at little cost.
const RepackBelow = 0.6

// A PruneEvent says how far a prune is.
type PruneEvent struct {
	Step        string // "mark", "copy", "wait", "rescue", "delete"
	Done, Total int64  // bytes, where known; objects for "delete"
	Sessions    []SessionInfo
}

// An Amount is a number of objects and their bytes.
type Amount struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) {
	a.Objects++
	a.Bytes += bytes
}

// A PrunePlan is what a prune would do. Making one changes nothing.
type PrunePlan struct {
	Packs    Amount        // all that the index names
	Live     int64         // bytes of them that something needs
	Drop     []string      // commits that were asked to be forgotten
	Dead     Amount        // packs with nothing alive
	Repack   Amount        // packs with little alive, written again
	Merge    Amount        // small packs, written together
	Copy     int64         // bytes that live in the latter two
	Stay     Amount        // packs that stay though something in them is dead; the dead bytes
	Orphans  Amount        // objects of sessions that were cut off
	Leftover Amount        // objects that an earlier prune was to delete and did not come to
	Running  []SessionInfo // sessions under way; what they write is left alone

	s      *Store
	opt    PruneOptions
	v      *view
	acc    *account
	asks   map[string][]string
	list   listing
	chosen []*packUse // to be condemned: dead ones first, then by what they gain
	young  int
}

// Idle reports whether there is nothing to do that is worth a new generation.
func (p *PrunePlan) Idle() bool {
	return len(p.Drop) == 0 && len(p.chosen) == 0 && p.Orphans.Objects == 0 && p.young <= maxYoung
}

// Frees is how many bytes the plan frees.
func (p *PrunePlan) Frees() int64 {
	return p.Dead.Bytes + p.Repack.Bytes + p.Merge.Bytes - p.Copy + p.Orphans.Bytes + p.Leftover.Bytes
}

// PlanPrune finds out what nothing needs. If an earlier prune was cut off or
// did not wait, it is finished first; while sessions that it has to wait for are
// alive, that is a *WaitError.
func (s *Store) PlanPrune(ctx context.Context, opt PruneOptions) (*PrunePlan, error) {
	opt = opt.filled()
	for try := range viewTries {
		if !opt.DryRun {
			if err := s.closeOpen(ctx, opt, true, nil); err != nil {
				return nil, fmt.Errorf("finish the prune before: %w", err)
			}
		}
		v, err := s.newestView(ctx)
		if err != nil {
			return nil, err
		}
		if v.done == nil && !opt.DryRun { // somebody else has just begun a prune: that one is to be closed first
			v.release()
			continue
		}
		p := &PrunePlan{s: s, opt: opt, v: v}
		err = p.make(ctx)
		if err == nil {
			return p, nil
		}
		v.release()
		if errors.Is(err, errShort) && try < 2 {
			continue
		}
		if t, turnErr := s.turn(ctx); turnErr != nil || t.newest == v.Number || !vanished(err) {
			return nil, err
		}
	}
	return nil, errors.New("plan a prune: others prune all the time; try again later")
}

func (opt PruneOptions) filled() PruneOptions {
	if opt.RepackBelow == 0 {
		opt.RepackBelow = RepackBelow
	}
	if opt.Thorough {
		opt.RepackBelow = 1
	}
	if opt.Patience == 0 {
		opt.Patience = patience
	}
	if opt.Event == nil {
		opt.Event = func(PruneEvent) {}
	}
	return opt
}

// Close gives up what the plan holds in memory.
func (p *PrunePlan) Close() { p.v.release() }

func (p *PrunePlan) make(ctx context.Context) (err error) {
	if p.asks, err = p.s.readAsks(ctx); err != nil {
		return err
	}
	p.Drop = p.v.asked(p.asks)
	p.opt.Event(PruneEvent{Step: "mark"})
	if p.acc, err = p.s.settleAccount(ctx, p.v, p.opt.Marker, p.v.except(p.Drop)); err != nil {
		return err
	}
	p.choose()
	if p.list, err = p.s.listAll(ctx, true); err != nil {
		return err
	}
	if err := p.list.holds(p.v.segments, p.v.catalogue(), p.acc.all()); err != nil {
		return err
	}
	return p.findOrphans(ctx)
}

// asked returns the commits of the view that asks name.
func (v *view) asked(asks map[string][]string) []string {
	valid := make(map[string]bool, len(v.commits))
	for _, c := range v.commits {
		valid[c.ID] = true
	}
	var drop []string
	for _, list := range asks {
		for _, id := range list {
			if valid[id] {
				drop = append(drop, id)
				valid[id] = false
			}
		}
	}
	slices.Sort(drop)
	return drop
}

// except returns the commits of the view that are not in drop, which is sorted.
func (v *view) except(drop []string) []Commit {
	return slices.DeleteFunc(slices.Clone(v.commits), func(c Commit) bool {
		_, gone := slices.BinarySearch(drop, c.ID)
		return gone
	})
}

// choose decides which packs go, and counts.
func (p *PrunePlan) choose() {
	var low []*packUse
	small := map[int][]*packUse{}
	for i := range p.acc.packs {
		u := &p.acc.packs[i]
		p.Packs.add(int64(u.Size))
		p.Live += u.live
		switch tier := p.s.tier(u.Pack); {
		case u.dead():
			p.Dead.add(int64(u.Size))
			p.chosen = append(p.chosen, u)
			continue
		case u.share() < p.opt.RepackBelow:
			low = append(low, u)
			continue
		case tier > 0:
			small[tier] = append(small[tier], u)
			continue
		}
		p.stay(u)
	}
	slices.SortFunc(low, func(a, b *packUse) int { return cmp.Compare(a.share(), b.share()) })
	for _, u := range low {
		p.take(&p.Repack, u)
	}
	for _, list := range small {
		if len(list) < mergeFrom {
			for _, u := range list {
				p.stay(u)
			}
			continue
		}
		for _, u := range list {
			p.take(&p.Merge, u)
		}
	}
}

func (p *PrunePlan) stay(u *packUse) {
	if dead := u.sealed - u.live; dead > u.sealed/100 { // a rounding is no loss
		p.Stay.add(dead)
	}
}

// take adds a pack to those written again, within the bound.
func (p *PrunePlan) take(to *Amount, u *packUse) {
	if p.opt.MaxRepack < 0 || p.opt.MaxRepack > 0 && p.Copy+u.live > p.opt.MaxRepack {
		p.stay(u)
		return
	}
	to.add(int64(u.Size))
	p.Copy += u.live
	p.chosen = append(p.chosen, u)
}

// mergeFrom is how many small packs of one tier and kind make it worth to write
// them together. A tier spans a factor of four in size: so a byte is written
// again only once for each sixfold growth, at least, of the pack that it is in,
// and there are never more than some hundred small packs.
const mergeFrom = 24

// tier is 0 for packs that are large enough; 1, 2, ... for ever smaller ones,
// apart for data and trees.
func (s *Store) tier(u index.Pack) int {
	ratio := uint64(s.cfg.PackSize) / max(u.Size, 1)
	if ratio < 2 {
		return 0
	}
	return 2*((bits.Len64(ratio)+1)/2) + int(laneOf(u.Kind))
}

// findOrphans counts what nobody names: leftovers of the last closing, and
// objects of sessions that are over.
func (p *PrunePlan) findOrphans(ctx context.Context) error {
	t, err := p.s.undecided(ctx, p.v.Number)
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, w := range t {
		if info, running := p.s.look(ctx, p.v.Number, w); running {
			alive[w] = true
			p.Running = append(p.Running, info)
		}
	}
	planned := map[string]bool{}
	if p.v.done != nil {
		for _, name := range p.v.done.Delete {
			planned[name] = true
		}
	}
	named := p.named()
	for name, size := range p.list.objects {
		if _, err := generationOf(name); err != nil {
			continue // nobody of us has put it there
		}
		switch {
		case planned[name]:
			p.Leftover.add(size)
		case isRecord(name), named[name], alive[ownerOf(name)]:
		default:
			p.Orphans.add(size)
		}
	}
	p.young = p.v.young
	return nil
}

// isRecord reports whether an object says something of a session: those go by
// their generation, whoever names them.
func isRecord(name string) bool {
	kind, _, _ := strings.Cut(name, "/")
	return kind == "sessions" || kind == "fates" || kind == "beats"
}

// named returns the packs, segments and pieces of the catalogue that the view
// names.
func (p *PrunePlan) named() map[string]bool {
	named := map[string]bool{}
	for _, r := range p.v.segments {
		named[r.Name] = true
	}
	for i := range p.acc.packs {
		named[packName(p.acc.packs[i].Pack)] = true
	}
	for _, r := range slices.Concat(p.v.Catalogue, p.v.catalogue()) {
		named[r.Name], named[r.Name+copySuffix] = true, true
	}
	return named
}

// ownerOf returns the session that an object is named after.
func ownerOf(name string) string {
	parts := strings.Split(name, "/")
	sid, _, _ := strings.Cut(parts[len(parts)-1], "-")
	return sid
}
