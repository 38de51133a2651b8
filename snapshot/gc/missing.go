package gc

import (
	"bytes"
	"context"
	"slices"

	"coffer/chunk"
	"coffer/store"
)

// Missing walks commits without the cache and asks has for every chunk that
// they name, once. It returns those that are not there, less what repair has recorded
// as lost. It does not load data.
func (m *Marker) Missing(ctx context.Context, v store.MarkView, commits []store.Commit, has func(chunk.ID) (bool, error)) ([]chunk.ID, error) {
	roots, err := rootsOf(commits)
	if err != nil {
		return nil, err
	}
	missing := map[chunk.ID]struct{}{}
	var failed error
	there := func(id chunk.ID) (ok bool) {
		if failed != nil {
			return false
		}
		if ok, failed = has(id); failed == nil && !ok && !v.Lost(id) {
			missing[id] = struct{}{}
		}
		return ok
	}
	w := m.newWalk(v, newNames(newKey()))
	w.enter = func(id chunk.ID, _ name) (bool, error) { return there(id), failed }
	w.page = func(_ *node, data []chunk.ID) {
		for _, id := range data {
			there(id)
		}
	}
	if err := w.run(ctx, flatten(roots)); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	ids := make([]chunk.ID, 0, len(missing))
	for id := range missing {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids, nil
}
