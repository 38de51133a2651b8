// Package verify proves that every snapshot can be restored.
//
// The contract of Run: where its report lists nothing, each page of the tree of
// each snapshot could be loaded and read, each chunk of content that one names
// has a place in a pack, and each pack is there with its size. With ReadData,
// also every byte of the packs that were read is what was stored, at the place
// that the index gives. What is damaged is reported with what it costs: the
// snapshots, and the paths in them, that cannot be restored because of it. Small
// records are opened in any case.
//
// The caller keeps prune away from the snapshots with store.Read.
package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// MaxListed is how many findings of each sort, objects and paths, a Report
// lists; beyond that they are only counted.
const MaxListed = 1000

// Options say how much to read.
type Options struct {
	ReadData bool                    // read packs and recompute the ID of every chunk in them
	Percent  float64                 // with ReadData: the share of all bytes to read, of the packs whose last read is longest ago; 0 and 100: all
	Bytes    int64                   // the same as a size; 0: as Percent says
	Before   time.Time               // with ReadData: only packs that were read before this, or never; zero: whenever it was
	Size     func(name string) int64 // of a pack; needed for a share
	Event    func(done, total int64) // bytes of packs read and to read; called from several goroutines, one at a time
	Path     func(Damage)            // called for each path that cannot be restored; may be nil
}

// A Report says what was proved and what was not.
type Report struct {
	Snapshots    int      `json:"snapshots"`
	Trees        int      `json:"trees"`         // tree chunks that were read, each once
	Refs         int64    `json:"refs"`          // mentions of a chunk of content in them
	Packs        int      `json:"packs"`         // that the index names
	Bytes        int64    `json:"bytes"`         // of them
	PacksRead    int      `json:"packs_read"`    // with ReadData
	BytesRead    int64    `json:"bytes_read"`    // of them
	Chunks       int      `json:"chunks"`        // whose IDs were recomputed, with ReadData
	Orphans      int      `json:"orphans"`       // packs of runs that were cut off or go on; harmless
	Damaged      []Damage `json:"damaged"`       // objects first, then paths; the first MaxListed of each
	DamagedTotal int64    `json:"damaged_total"` // all of them
	BadSnapshots []string `json:"bad_snapshots"` // IDs of those that cannot be restored whole
	BadPaths     int64    `json:"bad_paths"`     // in all of them together

	BadPacks []string   `json:"bad_packs"` // packs in which something is damaged, sorted; not those that are missing
	Lost     int        `json:"lost"`      // chunks that snapshots need and that an earlier repair has found lost
	Missing  []chunk.ID `json:"-"`         // other chunks that snapshots need and that no pack holds
	News     bool       `json:"news"`      // something is damaged that no repair has seen to

	Coverage Coverage `json:"coverage"`
}

// A Coverage says how much of the packs was read and found good, and when, by
// this run or an earlier one. What is found damaged by now counts for not read.
type Coverage struct {
	Read    int       `json:"read"`   // packs, each counted once, whenever it was
	Never   int       `json:"never"`  // the others
	Unknown int64     `json:"bytes"`  // of the others, as far as Options.Size knows
	Oldest  time.Time `json:"oldest"` // when the one was read whose last read is longest ago; zero if none was
}

// A Damage is one thing that is damaged. With Snapshot and Path it is what
// cannot be restored; without them, an object or a chunk that no snapshot
// needs.
type Damage struct {
	Pack     string `json:"pack,omitempty"`     // object's name
	Chunk    string `json:"chunk,omitempty"`    // ID
	Snapshot string `json:"snapshot,omitempty"` // ID
	Path     string `json:"path,omitempty"`     // absolute; names are bytes
	Err      string `json:"error"`
}

// OK reports whether nothing is damaged.
func (r Report) OK() bool { return r.DamagedTotal == 0 }

// Run verifies the snapshots. What is damaged is in the Report; the error is
// about what kept Run from finding out.
func Run(ctx context.Context, s *store.Store, snaps []snapshot.Snapshot, opt Options) (Report, error) {
	r := run{store: s, opt: opt, found: newFindings(), rep: Report{Snapshots: len(snaps)}}
	if err := r.packs(ctx); err != nil {
		return r.rep, fmt.Errorf("verify packs: %w", err)
	}
	if err := r.trees(ctx, snaps); err != nil {
		return r.rep, fmt.Errorf("verify trees: %w", err)
	}
	if err := r.cover(ctx); err != nil {
		return r.rep, fmt.Errorf("find out which packs were read: %w", err)
	}
	if r.found.none() {
		return r.rep, nil
	}
	if err := r.known(ctx); err != nil {
		return r.rep, fmt.Errorf("ask what is lost: %w", err)
	}
	if err := r.trace(ctx, snaps); err != nil {
		return r.rep, fmt.Errorf("find what is damaged: %w", err)
	}
	return r.rep, nil
}

type run struct {
	store *store.Store
	opt   Options
	found *findings
	rep   Report
	names []string             // of all packs
	times map[string]time.Time // when they were read, before this run
}

// packs has the store check its packs.
func (r *run) packs(ctx context.Context) (err error) {
	if r.times, err = r.store.ReadTimes(ctx); err != nil {
		return err
	}
	rep, err := r.store.Check(ctx, store.CheckOptions{Data: true, Pick: r.pick, Log: true, Report: r.opt.Event, Damage: r.found.add})
	r.rep.Packs, r.rep.Bytes, r.rep.Orphans = rep.Packs, rep.Bytes, rep.Orphans
	r.rep.PacksRead, r.rep.BytesRead, r.rep.Chunks = rep.PacksRead, rep.BytesRead, int(rep.Chunks)
	return err
}

// pick chooses the packs to read: those first that were never read, or longest
// ago. A share is rounded up to a pack, so that with a daily 5 % no pack waits
// longer than 20 days, unless new ones came meanwhile.
func (r *run) pick(names []string) []string {
	r.names = slices.Clone(names)
	if !r.opt.ReadData {
		return nil
	}
	goal, total := r.opt.Bytes, int64(0)
	part := goal > 0 || r.opt.Percent > 0 && r.opt.Percent < 100
	if part && goal == 0 {
		for _, name := range names {
			total += r.opt.Size(name)
		}
		goal = max(1, int64(float64(total)*r.opt.Percent/100+0.999))
	}
	if before := r.opt.Before; !before.IsZero() {
		names = slices.DeleteFunc(names, func(name string) bool { return !r.times[name].Before(before) })
	}
	if !part {
		return names
	}
	slices.SortStableFunc(names, func(a, b string) int { return r.times[a].Compare(r.times[b]) })
	n := 0
	for sum := int64(0); n < len(names) && sum < goal; n++ {
		sum += r.opt.Size(names[n])
	}
	return names[:n]
}

// cover finds out what has been read by now.
func (r *run) cover(ctx context.Context) error {
	times := r.times
	if r.rep.PacksRead > 0 {
		var err error
		if times, err = r.store.ReadTimes(ctx); err != nil {
			return err
		}
	}
	for name := range r.found.packs() {
		delete(times, name)
	}
	c := &r.rep.Coverage
	for _, name := range r.names {
		at, read := times[name]
		switch {
		case !read:
			c.Never++
			if r.opt.Size != nil {
				c.Unknown += r.opt.Size(name)
			}
			continue
		case c.Oldest.IsZero() || at.Before(c.Oldest):
			c.Oldest = at
		}
		c.Read++
	}
	return nil
}

// known sorts out what an earlier repair has found lost.
func (r *run) known(ctx context.Context) error {
	lost, err := r.store.LostChunks(ctx)
	if err != nil {
		return err
	}
	r.found.known(lost)
	r.rep.Lost, r.rep.Missing, r.rep.BadPacks = r.found.split()
	r.rep.News = len(r.found.objects) > 0 || len(r.found.chunks) > r.rep.Lost
	return nil
}
