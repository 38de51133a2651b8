package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"coffer/chunk"
	"coffer/index"
)

// A RepairReport says what a repair did.
type RepairReport struct {
	Generation uint64        `json:"generation"` // the newest one
	Rebuilt    Amount        `json:"rebuilt"`    // packs whose own lists went into the index
	Condemned  []BadPack     `json:"condemned"`  // packs that are given up; the next prune removes them
	Salvaged   int64         `json:"salvaged"`   // bytes copied out of packs that are damaged, or that the index did not name
	Unreadable []string      `json:"unreadable"` // packs that do not say what is in them; they are left alone until the next prune
	Lost       []chunk.ID    `json:"-"`          // chunks that snapshots may need and no pack has, by now
	Records    []string      `json:"records"`    // small records that were replaced or given up
	Segments   []string      `json:"segments"`   // index segments that were made anew
	Fates      []string      `json:"fates"`      // sessions that are lost, if they were snapshots
	Snapshots  int           `json:"snapshots"`  // how many others are lost, at least
	MayReturn  bool          `json:"may_return"` // snapshots that were forgotten may be there again
	Untraced   string        `json:"untraced"`   // why it is not known whether more chunks are lost
	Advice     []string      `json:"advice"`
	Waiting    []SessionInfo `json:"waiting,omitempty"` // until they end, the new generation is not closed
}

// ErrRepairRaced says that somebody else has made a generation meanwhile.
var ErrRepairRaced = errors.New("a prune made a new generation meanwhile: run repair again")

// Run carries the plan out.
func (p *RepairPlan) Run(ctx context.Context) (RepairReport, error) {
	r := &repairer{RepairPlan: p, copied: map[chunk.ID]struct{}{}, sought: map[chunk.ID]struct{}{}, mute: map[string]error{}}
	r.rep = RepairReport{Generation: p.Generation, Records: p.Records, Segments: p.Segments, Fates: p.Fates, Snapshots: p.Snapshots,
		MayReturn: p.MayReturn, Advice: p.Advice}
	if p.Idle() {
		return r.rep, nil
	}
	err := r.run(ctx)
	var wait *WaitError
	if errors.As(err, &wait) {
		r.rep.Waiting, err = wait.Sessions, nil
	}
	if err != nil {
		err = fmt.Errorf("repair: %w", err)
	}
	return r.rep, err
}

// A repairer carries a plan out.
type repairer struct {
	*RepairPlan
	rep  RepairReport
	n    *next
	v    *view   // what the new generation has so far
	c    *copier // of what v lacks
	seen int     // how many of the segments that were written v has

	wrecks []wreck
	mute   map[string]error // packs that do not say what is in them
	copied map[chunk.ID]struct{}
	sought map[chunk.ID]struct{} // chunks of which no good copy is known
}

// A wreck is a damaged pack and what was in it.
type wreck struct {
	index.Pack
	blocks []index.Filled
}

func (r *repairer) run(ctx context.Context) error {
	lost, err := splitIDs(r.state.Lost)
	if err != nil { // it is sealed: a program has written this
		return err
	}
	before := state{generation: r.state.generation}
	before.Number = r.Generation
	r.n = &next{s: r.s, v: &view{state: before, segments: r.segments, settled: r.commits, lost: lost}}
	if err := r.n.begin(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.catalogue, r.fence, r.rebuild, r.wreckKnown, r.wreckMute, r.salvage, r.trace, r.relist, r.publish} {
		if err := step(ctx); err != nil {
			if r.v != nil {
				r.v.release()
			}
			return err
		}
	}
	r.v.release()
	return r.s.closeOpen(ctx, r.opt.prune(), false, nil)
}

// catalogue writes pieces for the commits that are in none.
func (r *repairer) catalogue(ctx context.Context) (err error) {
	return r.s.vital(func() (err error) {
		r.n.v.Catalogue, err = r.n.p.extendCatalogue(ctx, r.good, r.loose, nil)
		return err
	})
}

// fence closes the newest generation, where that has not been done: nobody else
// may, for he would delete what the next one builds on. Should the repair be cut
// off after it, no commit is missing.
func (r *repairer) fence(ctx context.Context) error {
	if !r.Scratch && !r.open {
		return nil
	}
	name := closingName(r.Generation)
	if _, err := r.s.getClosing(ctx, r.Generation); !isMissing(err) {
		return nil // it is there, damaged
	}
	done := closing{Version: recordVersion, Number: r.Generation, Catalogue: r.n.v.Catalogue}
	for _, f := range r.fates {
		if r.open && f.generation < r.Generation && f.Outcome == fateCommit {
			done.Segments = append(done.Segments, f.Segments...)
		}
	}
	plain, err := cbor.Marshal(done)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return r.s.vital(func() error {
		ours, err := r.s.publish(ctx, name, plain)
		if err == nil && !ours {
			err = ErrRepairRaced
		}
		return err
	})
}

// errEnough ends a loop.
var errEnough = errors.New("enough")

// rebuild makes index segments from what packs say of themselves.
func (r *repairer) rebuild(ctx context.Context) error {
	parts := func(yield func(index.Part, error) bool) {
		err := r.s.readTrailers(ctx, r.unnamed, func(l listedPack) error {
			seg, err := r.ownList(l)
			if err != nil || seg == nil {
				return err
			}
			r.rep.Rebuilt.add(int64(l.Size))
			r.opt.Event(PruneEvent{Step: "index", Done: r.rep.Rebuilt.Bytes, Total: r.Rebuild.Bytes})
			if !yield(index.Part{Segment: seg}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(index.Part{}, err)
		}
	}
	for seg, err := range index.Merge(parts, mergedSegment) {
		if err != nil {
			return err
		}
		ref, err := r.n.p.putPlainSegment(ctx, seg.Bytes(), seg.Len())
		if err != nil {
			return err
		}
		r.n.p.written = append(r.n.p.written, ref)
	}
	return nil
}

// ownList returns the list of a pack that is to be named as it is.
func (r *repairer) ownList(l listedPack) (*index.Segment, error) {
	name := packName(l.Pack)
	if l.err != nil {
		r.mute[name] = l.err
		return nil, nil
	}
	seg, err := l.segment()
	if err != nil {
		return nil, err
	}
	if _, bad := r.bad[name]; !bad {
		return seg, nil
	}
	for p, blocks := range seg.Contents() {
		r.wrecks = append(r.wrecks, wreck{p, blocks})
	}
	return nil, nil
}

// relist sees that the packs that were listed are all that there are. The next
// prune removes those that the new index does not name; a listing that shows
// more, some time later, has lied before or will again.
func (r *repairer) relist(ctx context.Context) error {
	if len(r.unnamed)+len(r.sought) == 0 {
		return nil
	}
	now, err := r.s.listAll(ctx, true)
	if err != nil {
		return err
	}
	sessions := map[string]bool{r.n.p.id: true} // that may have written meanwhile
	for name := range now.objects {
		if strings.HasPrefix(name, sessionPrefix(r.Generation)) {
			sessions[ownerOf(name)] = true
		}
	}
	for _, f := range r.fates {
		delete(sessions, f.id)
	}
	for name := range now.objects {
		if _, listed := r.list.objects[name]; !listed && strings.HasPrefix(name, "packs/") && !sessions[ownerOf(name)] {
			return fmt.Errorf("the pack %s was not listed before: the listing lies, or a prune is under way; nothing is changed: run repair again", name)
		}
	}
	return nil
}

// publish writes the new generation.
func (r *repairer) publish(ctx context.Context) error {
	gen, err := r.n.make(ctx)
	if err != nil {
		return err
	}
	// Nothing has to be rescued from the packs that are given up: what was good
	// in them has been copied, whoever needs it.
	gen.Condemned = 0
	gen.Void = r.void
	if r.old {
		gen.Mended = gen.Number
	}
	for id := range r.n.v.lost {
		r.sought[id] = struct{}{}
	}
	r.rep.Lost = slices.DeleteFunc(sortedIDs(r.sought), func(id chunk.ID) bool {
		_, found := r.copied[id]
		_, named, err := r.v.index.Lookup(id)
		return found || named && err == nil
	})
	gen.Lost = joinIDs(r.rep.Lost)
	ours, err := r.n.put(ctx, gen)
	if err == nil && !ours {
		err = ErrRepairRaced
	}
	if err == nil {
		r.rep.Generation = gen.Number
	}
	return err
}
