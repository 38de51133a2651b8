// Package verify proves that every snapshot can be restored: that each tree page
// loads and can be read, that each chunk of content has a place, that the packs
// are there, and, on demand, that their bytes are what was stored.
package verify

import (
	"context"

	"coffer/snapshot"
	"coffer/store"
)

// MaxDamaged is how many findings a Report lists; beyond that they are only
// counted.
const MaxDamaged = 1000

// Options say how much to read.
type Options struct {
	ReadData bool                    // read packs and recompute the ID of every chunk in them
	Percent  float64                 // with ReadData: the share of the packs to read; 0 and 100: all
	Seed     uint64                  // decides which packs a share is
	Event    func(done, total int64) // bytes of packs read and to read; called from several goroutines
}

// A Report says what was proved and what was not. Where nothing is damaged all
// snapshots can be restored, as far as was read.
type Report struct {
	Snapshots    int      `json:"snapshots"`
	Trees        int      `json:"trees"`         // tree pages that were read, each once
	Refs         int64    `json:"refs"`          // places in tree pages that name a chunk of content
	Packs        int      `json:"packs"`         // that the index names
	Bytes        int64    `json:"bytes"`         // of them
	PacksRead    int      `json:"packs_read"`    // with ReadData
	BytesRead    int64    `json:"bytes_read"`    // of them
	Chunks       int      `json:"chunks"`        // whose IDs were recomputed, with ReadData
	Orphans      int      `json:"orphans"`       // packs of runs that were cut off; harmless, prune removes them
	Damaged      []Damage `json:"damaged"`       // the first MaxDamaged
	DamagedTotal int64    `json:"damaged_total"` // all of them
	BadSnapshots []string `json:"bad_snapshots"` // IDs of those that cannot be restored whole
	BadPaths     int64    `json:"bad_paths"`     // in all of them together
}

// A Damage is one thing that is damaged. Snapshot and Path say what cannot be
// restored because of it; both are empty where no snapshot needs it.
type Damage struct {
	Pack     string `json:"pack,omitempty"`     // object's name
	Chunk    string `json:"chunk,omitempty"`    // ID
	Snapshot string `json:"snapshot,omitempty"` // ID
	Path     string `json:"path,omitempty"`     // absolute, bytes as they are
	Err      string `json:"error"`
}

// Run verifies the snapshots. What is damaged is in the Report; the error is
// about what kept Run from finding out.
func Run(ctx context.Context, s *store.Store, snaps []snapshot.Snapshot, opt Options) (Report, error) {
	return Report{}, nil
}
