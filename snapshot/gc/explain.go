package gc

import (
	"context"
	"slices"

	"coffer/chunk"
	"coffer/store"
)

// Holders tells which of the commits need at least one of some chunks: those in
// a pack, say. It tells chunks apart as a live set does, so that it names
// exactly those commits that make a mark keep one of them.
func (m *Marker) Holders(ctx context.Context, v store.MarkView, commits []store.Commit, ids []chunk.ID) ([]bool, error) {
	roots, err := rootsOf(commits)
	if err != nil {
		return nil, err
	}
	sought := store.NewLiveSet()
	for _, id := range ids {
		sought.Add(id)
	}
	var held []bool
	err = m.withLog(func(l *refLog) (err error) {
		held, err = m.holders(ctx, v, roots, sought, l)
		return err
	})
	return held, err
}

// holders goes through the log from its beginning: what stands below a page has
// had its turn when the page's own comes. Then it walks what is not there.
func (m *Marker) holders(ctx context.Context, v store.MarkView, roots [][]chunk.ID, sought *store.LiveSet, l *refLog) ([]bool, error) {
	var hits bitset
	err := l.forward(ctx, all, func(r record) {
		hit := sought.HasPrefix(r.prefix)
		for i := 0; i < r.trees() && !hit; i++ {
			hit = hits.has(r.tree(i))
		}
		for i := 0; i < r.data() && !hit; i++ {
			hit = sought.HasPrefix(r.datum(i))
		}
		if hit {
			hits.set(r.num)
		}
	})
	if err != nil {
		return nil, err
	}
	w := m.newWalk(v, l.names)
	w.page = func(n *node, _ []chunk.ID) { n.hit = sought.Has(n.id) || slices.ContainsFunc(n.data, sought.HasPrefix) }
	w.above = func(n *node) { n.hit = n.hit || slices.ContainsFunc(n.trees, hits.has) }
	w.done = func(n *node, num uint32) {
		if n.hit {
			hits.set(num)
		}
		l.add(n, num)
	}
	err = w.run(ctx, flatten(roots))
	l.flush()
	if err != nil {
		return nil, err
	}
	held := make([]bool, len(roots))
	for i, ids := range roots {
		held[i] = slices.ContainsFunc(ids, func(id chunk.ID) bool {
			n := l.names.of(id)
			num, ok := l.names.find(n)
			return ok && hits.has(num) || w.lossy[n]
		})
	}
	return held, nil
}

// Only calls fn once for each chunk that the commits need and none of the
// others does: what forgetting them would free. It loads the pages that only
// they need.
func (m *Marker) Only(ctx context.Context, v store.MarkView, commits, others []store.Commit, fn func(chunk.Kind, chunk.ID)) error {
	mine, err := rootsOf(commits)
	if err != nil {
		return err
	}
	theirs, err := rootsOf(others)
	if err != nil {
		return err
	}
	live := store.NewLiveSet()
	return m.withLog(func(l *refLog) error {
		d, err := m.mark(ctx, v, flatten(theirs), live, l)
		if err != nil {
			return err
		}
		w := m.newWalk(v, newNames(l.key)) // all pages that d lacks are new to it
		w.enter = func(_ chunk.ID, n name) (bool, error) { return !d.has(n), nil }
		w.page = func(n *node, data []chunk.ID) {
			report(live, chunk.Tree, []chunk.ID{n.id}, fn)
			report(live, chunk.Data, data, fn)
		}
		return w.run(ctx, flatten(mine))
	})
}

func report(live *store.LiveSet, k chunk.Kind, ids []chunk.ID, fn func(chunk.Kind, chunk.ID)) {
	for _, id := range ids {
		if live.Add(id) {
			fn(k, id)
		}
	}
}
