package capture

import (
	"context"
	"sync"
	"sync/atomic"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// A Keeper keeps what a capture saves: a session of a local store, or one of an
// appliance. It ends with Commit or Abort.
type Keeper interface {
	snapshot.Loader
	snapshot.Saver
	ID() string
	Commits() []store.Commit         // that the capture may build on
	AnyLost() bool                   // whether Lost can be true at all
	Lost(id chunk.ID) bool           // a chunk that earlier snapshots name is gone: what it was must be read again
	Flush(ctx context.Context) error // makes durable what was saved, so that Stats are final
	Commit(ctx context.Context, payload []byte) (store.Commit, error)
	Abort(ctx context.Context) error
	Stats() store.SessionStats
}

// A Place is where Keepers come from.
type Place interface {
	Begin(ctx context.Context) (Keeper, error)
	Chunking() chunk.Params
}

// here is a Store as a Place.
type here struct{ s *store.Store }

func (l here) Chunking() chunk.Params { return l.s.Config().Chunking() }

func (l here) Begin(ctx context.Context) (Keeper, error) {
	w, err := l.s.Begin(ctx)
	if err != nil {
		return nil, err // not w: a nil *Session is a Keeper that is not nil
	}
	return w, nil
}

// dry is a Store as a Place that keeps nothing, for --dry-run.
type dry struct{ s *store.Store }

func (d dry) Chunking() chunk.Params { return d.s.Config().Chunking() }

func (d dry) Begin(ctx context.Context) (Keeper, error) {
	commits, err := d.s.Commits(ctx)
	return &dryKeeper{Store: d.s, commits: commits, seen: map[chunk.ID]struct{}{}}, err
}

// A dryKeeper computes what would be new.
type dryKeeper struct {
	*store.Store
	commits []store.Commit

	mu                        sync.Mutex
	seen                      map[chunk.ID]struct{}
	newChunks, newBytes       atomic.Int64
	reusedChunks, reusedBytes atomic.Int64
}

func (d *dryKeeper) AnyLost() bool           { return false }
func (d *dryKeeper) Lost(chunk.ID) bool      { return false }
func (d *dryKeeper) ID() string              { return "" }
func (d *dryKeeper) Commits() []store.Commit { return d.commits }

func (d *dryKeeper) Save(ctx context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	id := chunk.Sum(k, data)
	known, err := d.Has(ctx, id)
	if err != nil {
		return id, err
	}
	d.mu.Lock()
	_, mine := d.seen[id]
	d.seen[id] = struct{}{}
	d.mu.Unlock()
	n := int64(len(data))
	if k == chunk.Tree {
		n = 0 // as in store.SessionStats
	}
	if known || mine {
		d.reusedChunks.Add(1)
		d.reusedBytes.Add(n)
		return id, nil
	}
	d.newChunks.Add(1)
	d.newBytes.Add(n)
	return id, nil
}

func (d *dryKeeper) Commit(context.Context, []byte) (store.Commit, error) { return store.Commit{}, nil }
func (d *dryKeeper) Flush(context.Context) error                          { return nil }
func (d *dryKeeper) Abort(context.Context) error                          { return nil }

func (d *dryKeeper) Stats() store.SessionStats {
	return store.SessionStats{NewChunks: d.newChunks.Load(), NewBytes: d.newBytes.Load(),
		ReusedChunks: d.reusedChunks.Load(), ReusedBytes: d.reusedBytes.Load()}
}
