package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/chunk"
	"coffer/index"
)

// A repair makes one new generation out of what is still good, by the records
// that a prune uses: nothing is changed in place, and no pack is deleted. What
// is given up is removed by the next prune. A repair that is cut off leaves
// either the generation before or the new one, and can be run again.

// RepairOptions say what to repair, beside what a repair finds by itself:
// records and index segments that cannot be read, and packs that are missing or
// have another size.
type RepairOptions struct {
	Marker Marker     // to finish a prune that was cut off
	Index  bool       // make the whole index anew, from the packs
	Packs  []string   // packs that a verify found damaged: what is good in them is copied
	Chunks []chunk.ID // chunks that a verify found in no pack
	Event  func(PruneEvent)

	// Missing returns those chunks that commits need and has does not know, less
	// those that v says are lost. With it a repair records all that is lost, so
	// that prune goes on without it. Where it is nil, chunks are missed whose
	// pack is gone together with the index that named them.
	Missing func(ctx context.Context, v MarkView, commits []Commit, has func(chunk.ID) (bool, error)) ([]chunk.ID, error)

	Wait     time.Duration // as in PruneOptions
	Patience time.Duration
}

func (opt RepairOptions) prune() PruneOptions {
	return PruneOptions{Marker: opt.Marker, Wait: opt.Wait, Patience: opt.Patience, Event: opt.Event}.filled()
}

// A BadPack is a pack that a repair gives up.
type BadPack struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Missing bool   `json:"missing,omitempty"` // nothing of it is there
	Why     string `json:"why"`
}

// A RepairPlan is what a repair would do. Making one changes nothing, but that
// a prune that was cut off is finished, if that is possible.
type RepairPlan struct {
	Generation uint64    `json:"generation"` // the newest one
	Scratch    bool      `json:"scratch"`    // its records are damaged: the next one is made from all that there is
	MayReturn  bool      `json:"may_return"` // snapshots that were forgotten may be there again
	Records    []string  `json:"records"`    // small records that are damaged or missing, and replaced or given up
	Segments   []string  `json:"segments"`   // index segments that cannot be read
	Rebuild    Amount    `json:"rebuild"`    // packs whose own lists go into the index
	Packs      []BadPack `json:"packs"`      // packs that are given up, after what is good has been copied
	Fates      []string  `json:"fates"`      // sessions whose outcome cannot be read: if one was a snapshot, it is lost
	Snapshots  int       `json:"snapshots"`  // how many others are lost, at least, with the catalogue
	Advice     []string  `json:"advice"`     // what a repair cannot do

	s       *Store
	opt     RepairOptions
	list    listing
	running map[string]bool // sessions of the newest generation that were under way: the closing sees to those
	void    []string        // records that count for nothing any more
	state   state           // of the newest generation, as far as it can be read
	exact   bool            // it says which commits of earlier generations are valid
	open    bool            // it has no closing, and could not be given one
	old     bool            // some record of an older generation is damaged

	fates   []sessionFate
	good    []pieceRef      // of the catalogue, both copies of which are good
	loose   []settled       // commits that are in no such piece
	commits []settled       // all
	known   map[string]bool // their IDs

	segments []segmentRef         // good ones
	packs    map[string]knownPack // that they name, by name
	dead     map[string]bool      // packs that they name and that were given up before
	unnamed  []index.Pack         // to be rebuilt from their own lists
	bad      map[string]BadPack
	absent   []chunk.ID // of opt.Chunks
}

// A sessionFate is a fate and the generation of its session.
type sessionFate struct {
	namedFate
	generation uint64
}

// A knownPack is a pack and where the index says what is in it.
type knownPack struct {
	index.Pack
	segment string
	at      int
}

// Idle reports whether there is nothing to repair.
func (p *RepairPlan) Idle() bool {
	return !p.Scratch && !p.open && !p.old && !p.opt.Index && len(p.Records)+len(p.Segments)+len(p.Fates)+len(p.bad)+len(p.unnamed)+len(p.absent) == 0
}

// PlanRepair finds out what is damaged, as far as that shows without reading
// packs. Sessions under way are left alone; while some are that began before
// the newest generation, and that is not closed, it is a *WaitError.
func (s *Store) PlanRepair(ctx context.Context, opt RepairOptions) (*RepairPlan, error) {
	if opt.Event == nil {
		opt.Event = func(PruneEvent) {}
	}
	for range viewTries {
		p := &RepairPlan{s: s, opt: opt, packs: map[string]knownPack{}, dead: map[string]bool{}, known: map[string]bool{}, bad: map[string]BadPack{}}
		again, err := p.make(ctx)
		if err != nil {
			return nil, fmt.Errorf("plan a repair: %w", err)
		}
		if !again {
			return p, nil
		}
	}
	return nil, errors.New("plan a repair: others change the repository all the time; try again later")
}

// make goes through all records. It reports whether it has to begin again.
func (p *RepairPlan) make(ctx context.Context) (again bool, err error) {
	// Objects are listed first: whoever wrote one of them had a registration and
	// a generation before.
	if p.list, err = p.s.listAll(ctx, true); err != nil {
		return false, err
	}
	if again, err = p.findState(ctx); again || err != nil {
		return again, err
	}
	for _, step := range []func(context.Context) error{p.findOld, p.findFates, p.findCatalogue, p.findSmall, p.findSegments, p.findPacks, p.findUnnamed, p.findAbsent} {
		if err := step(ctx); err != nil {
			return false, err
		}
	}
	if _, err := p.s.getGeneration(ctx, p.Generation+1); err == nil {
		return true, nil
	}
	if _, _, err := readConfig(ctx, p.s.bucket); err != nil { // then what could not be read says nothing
		return false, err
	}
	return false, nil
}

// try reads something twice. What cannot be read is given up, unless that is
// for a reason that lies in this run or program.
func try[T any](ctx context.Context, read func() (T, error)) (v T, bad error, err error) {
	v, bad = twice(ctx, read)
	if ctx.Err() != nil {
		return v, bad, ctx.Err()
	}
	if errors.Is(bad, errNewer) {
		return v, bad, bad
	}
	return v, bad, nil
}
