// Package verify proves that every snapshot can be restored.
//
// The contract of Run: where its report lists nothing, each page of the tree of
// each snapshot could be loaded and read, each chunk of content that one names
// has a place in a pack, and each pack is there with its size. With ReadData,
// also every byte of the packs that were read is what was stored, at the place
// that the index gives. What is damaged is reported with what it costs: the
// snapshots, and the paths in them, that cannot be restored because of it.
//
// The caller keeps prune away from the snapshots with store.Read.
package verify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"coffer/snapshot"
	"coffer/store"
)

// MaxListed is how many findings of each sort, objects and paths, a Report
// lists; beyond that they are only counted.
const MaxListed = 1000

// Options say how much to read.
type Options struct {
	ReadData bool                    // read packs and recompute the ID of every chunk in them
	Percent  float64                 // with ReadData: the share of the packs to read; 0 and 100: all
	Seed     uint64                  // decides which packs a share is
	Event    func(done, total int64) // bytes of packs read and to read; called from several goroutines, one at a time
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
	if r.found.none() {
		return r.rep, nil
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
}

// packs has the store check its packs.
func (r *run) packs(ctx context.Context) error {
	opt := store.CheckOptions{Data: r.opt.ReadData, Report: r.opt.Event, Damage: r.found.add}
	if r.opt.Percent > 0 && r.opt.Percent < 100 {
		opt.Pick = r.pick
	}
	rep, err := r.store.Check(ctx, opt)
	r.rep.Packs, r.rep.Bytes, r.rep.Orphans = rep.Packs, rep.Bytes, rep.Orphans
	r.rep.PacksRead, r.rep.BytesRead, r.rep.Chunks = rep.PacksRead, rep.BytesRead, int(rep.Chunks)
	return err
}

// pick draws a share of the packs, one at the least.
func (r *run) pick(names []string) []string {
	n := int(math.Ceil(float64(len(names)) * r.opt.Percent / 100))
	rnd := rand.New(rand.NewPCG(r.opt.Seed, 0))
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:n]
}
