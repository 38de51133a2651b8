// Package gc finds out what snapshots need: the mark of a prune, the reasons
// that a person is given for what is kept, and a walk that proves afterwards
// that nothing is missing.
//
// A mark reads each tree page once in its life. A page never changes, and so
// neither does what it names: that is kept in a log on the local disk (file
// log.go), and a later mark loads only pages which are not in it.
//
// # What a mark promises
//
// When Mark returns nil, every chunk that a commit's tree names is in the live
// set, but for what stands below a page that cannot be had and that repair has
// recorded as lost. (What the cache knows to stand there is live all the same,
// and so is what can be had again, whatever was recorded.) Any other page that
// cannot be had or read is an error. The cache is never a reason to fail, nor to
// leave something out: bytes in it that are not what was written there are an
// empty cache. No page is written to it before all pages below it.
//
// # Pages that somebody has chosen
//
// Hosts choose what they push. With 2^32 attempts somebody makes two chunks
// whose IDs begin with the same eight bytes, and with 2^64 the same sixteen. If
// one of the two were taken for the other when a mark asks "was this page
// walked?", what the other one names would be swept. So
//
//   - the live set, which knows eight bytes, never decides whether a page is
//     walked. A chunk that shares its prefix is kept too, which is harmless.
//   - that decision goes by the page's name here: 128 bits of a keyed function
//     of its whole ID, with a key that was drawn for this log and that is
//     nowhere in the clear. Who does not have the key cannot aim, so that two
//     pages share a name by chance alone: once in 2^80 for 100 million pages.
//   - in the log a page names pages by their number there, not by their ID.
//
// # Memory
//
// A mark holds some 24 bytes for each tree page that it knows, the pages on
// its way down, and the live set. What pages name streams by.
package gc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// A Sealer keeps local caches unreadable; a store.Store is one.
type Sealer interface {
	SealCache(name string, plain []byte) ([]byte, error)
	OpenCache(name string, sealed []byte, limit int) ([]byte, error)
}

// A Marker is a store.Marker. It is safe for concurrent use, also by several
// processes: one of those that mark at the same time writes the cache.
type Marker struct {
	dir string
	box Sealer
	log *slog.Logger

	frame   int // plain bytes of references from which on a frame is written
	workers int // pages that are loaded at once: enough to hide a network's delay
}

var _ store.Marker = (*Marker)(nil)

// New returns a Marker that keeps its cache in dir, which must be this
// repository's alone. Where dir is "" there is no cache, and box may be nil.
// A nil log says nothing.
func New(dir string, box Sealer, log *slog.Logger) *Marker {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Marker{dir: dir, box: box, log: log, frame: 256 << 10, workers: 8}
}

// Mark adds to live every chunk that the commits need.
func (m *Marker) Mark(ctx context.Context, v store.MarkView, commits []store.Commit, live *store.LiveSet) error {
	roots, err := rootsOf(commits)
	if err != nil {
		return err
	}
	return m.withLog(func(l *refLog) error {
		_, err := m.mark(ctx, v, flatten(roots), live, l)
		return err
	})
}

// withLog runs fn with the log. If it proves to be rotten on the way, fn runs
// again with a new one, and if that rots as well, with none. What fn has added
// to a live set until then is needed all the same.
func (m *Marker) withLog(fn func(*refLog) error) error {
	for range 2 {
		l := m.openLog()
		err := fn(l)
		if errors.Is(err, errRotten) {
			l.discard(err)
		}
		l.close()
		if !errors.Is(err, errRotten) {
			return err
		}
	}
	return fn(m.noLog())
}

// A marked is what a mark knows in the end of the pages that it went through.
type marked struct {
	names *names
	old   uint32 // pages with lower numbers were in the log before
	need  bitset // which of those are live
}

// has reports whether a page is live, with all below it.
func (d *marked) has(n name) bool {
	num, ok := d.names.find(n)
	return ok && (num >= d.old || d.need.has(num))
}

// mark walks the pages that the log does not know, and then goes through the
// log once, from its end to its beginning: children stand before parents, so
// that whether a page is live is settled when its turn comes.
func (m *Marker) mark(ctx context.Context, v store.MarkView, roots []chunk.ID, live *store.LiveSet, l *refLog) (*marked, error) {
	d := &marked{names: l.names, old: l.names.len()}
	old := len(l.frames)
	w := m.newWalk(v, l.names)
	w.known = func(num uint32) {
		if num < d.old {
			d.need.set(num)
		}
	}
	w.page = func(n *node, _ []chunk.ID) {
		live.Add(n.id)
		for _, p := range n.data {
			live.AddPrefix(p)
		}
	}
	w.done = l.add
	err := w.run(ctx, roots)
	l.flush() // what is complete is so whatever else failed
	if err != nil {
		return nil, err
	}
	return d, l.backward(ctx, old, d.need.any, func(r record) {
		if !d.need.has(r.num) {
			return
		}
		live.AddPrefix(r.prefix)
		for i := range r.data() {
			live.AddPrefix(r.datum(i))
		}
		for i := range r.trees() {
			d.need.set(r.tree(i))
		}
	})
}

// rootsOf returns, for each commit, the tree chunks that it names itself.
func rootsOf(commits []store.Commit) ([][]chunk.ID, error) {
	roots := make([][]chunk.ID, len(commits))
	for i, c := range commits {
		man, err := snapshot.DecodeManifest(c.Payload)
		if err != nil {
			return nil, fmt.Errorf("read commit %s: %w", c.ID, err)
		}
		roots[i] = []chunk.ID{man.Root}
		if len(man.Top) == 0 {
			continue
		}
		top, err := snapshot.DecodeEntry(man.Top)
		if err != nil {
			return nil, fmt.Errorf("read commit %s: %w", c.ID, err)
		}
		// Its tree is the root, by the format; one more look costs nothing.
		roots[i] = append(append(roots[i], top.Tree), top.Spill.IDs...)
	}
	return roots, nil
}

func flatten(roots [][]chunk.ID) []chunk.ID {
	var all []chunk.ID
	for _, r := range roots {
		all = append(all, r...)
	}
	return all
}
