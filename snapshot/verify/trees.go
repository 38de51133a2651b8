package verify

import (
	"context"
	"sync"

	"coffer/chunk"
	"coffer/snapshot"
)

// pages is a set of tree chunks. Half an ID is enough, and half the memory of
// this, the only thing here that grows with the repository: some 30 bytes for
// each page. Two IDs that agree in 128 bits take 2^64 attempts to make.
type pages map[[16]byte]struct{}

func (p pages) add(id chunk.ID) (isNew bool) {
	key := [16]byte(id[:16])
	if _, ok := p[key]; ok {
		return false
	}
	p[key] = struct{}{}
	return true
}

// batch is how many pages are read at once. They are taken from the end of a
// stack, so that pages that were written together are read together, and the
// stack stays short.
const batch = 512

// trees reads every tree chunk of the snapshots once, and looks up every chunk
// of content that they name.
func (r *run) trees(ctx context.Context, snaps []snapshot.Snapshot) error {
	w := pageWalk{run: r, ctx: ctx, seen: pages{}}
	for i := len(snaps) - 1; i >= 0; i-- {
		w.push(snaps[i].Root)
	}
	for len(w.todo) > 0 {
		n := max(0, len(w.todo)-batch)
		ids := append([]chunk.ID(nil), w.todo[n:]...)
		w.todo = w.todo[:n]
		if err := r.store.Each(ctx, chunk.Tree, ids, func(i int, data []byte, err error) error { return w.page(ids[i], data, err) }); err != nil {
			return err
		}
	}
	return nil
}

type pageWalk struct {
	*run
	ctx context.Context

	mu   sync.Mutex
	seen pages
	todo []chunk.ID
}

func (w *pageWalk) push(id chunk.ID) {
	if id != (chunk.ID{}) && w.seen.add(id) {
		w.todo = append(w.todo, id)
	}
}

// page takes one tree chunk, or why it cannot be had.
func (w *pageWalk) page(id chunk.ID, data []byte, err error) error {
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	var trees, refs []chunk.ID
	if err == nil {
		trees, refs, err = snapshot.PageRefs(data)
	}
	if err != nil {
		w.found.chunk(id, err)
		return nil
	}
	missing, err := w.store.Missing(w.ctx, refs)
	if err != nil {
		return err
	}
	for _, id := range missing {
		w.found.chunk(id, errMissing)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rep.Trees++
	w.rep.Refs += int64(len(refs))
	for i := len(trees) - 1; i >= 0; i-- {
		w.push(trees[i])
	}
	return nil
}
