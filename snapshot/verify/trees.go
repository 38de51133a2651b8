package verify

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
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

// A walk reads every tree chunk below some roots once.
type walk struct {
	ctx   context.Context
	each  func(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error
	enter func(id chunk.ID) (bool, error)                     // whether to read a chunk; called once for each, one at a time
	page  func(id chunk.ID, refs []chunk.ID, err error) error // of a chunk, or why it cannot be had; called from several goroutines

	mu   sync.Mutex
	seen pages
	todo []chunk.ID
}

func (w *walk) run(roots []chunk.ID) error {
	w.seen = pages{}
	if err := w.push(roots); err != nil {
		return err
	}
	for len(w.todo) > 0 {
		n := max(0, len(w.todo)-batch)
		ids := append([]chunk.ID(nil), w.todo[n:]...)
		w.todo = w.todo[:n]
		if err := w.each(w.ctx, chunk.Tree, ids, func(i int, data []byte, err error) error { return w.take(ids[i], data, err) }); err != nil {
			return err
		}
	}
	return nil
}

// push puts chunks on the stack that were not there before, the first on top.
func (w *walk) push(ids []chunk.ID) error {
	for _, id := range slices.Backward(ids) {
		if id == (chunk.ID{}) || !w.seen.add(id) {
			continue
		}
		if enter, err := w.enter(id); err != nil {
			return err
		} else if enter {
			w.todo = append(w.todo, id)
		}
	}
	return nil
}

func (w *walk) take(id chunk.ID, data []byte, err error) error {
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	var trees, refs []chunk.ID
	if err == nil {
		trees, refs, err = snapshot.PageRefs(data)
	}
	if err := w.page(id, refs, err); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.push(trees)
}

// rootsOf returns the tree chunks that a manifest names itself.
func rootsOf(m *snapshot.Manifest) ([]chunk.ID, error) {
	roots := []chunk.ID{m.Root}
	if len(m.Top) == 0 {
		return roots, nil
	}
	top, err := snapshot.DecodeEntry(m.Top)
	if err != nil {
		return roots, err
	}
	return append(roots, top.Spill.IDs...), nil
}

// trees reads every tree chunk of the snapshots, and looks up every chunk of
// content that they name.
func (r *run) trees(ctx context.Context, snaps []snapshot.Snapshot) error {
	var roots []chunk.ID
	for i := range snaps {
		some, err := rootsOf(&snaps[i].Manifest)
		if err != nil {
			r.found.add(&store.DamageError{Err: fmt.Errorf("read snapshot %s: %w", snaps[i].ID, err)})
		}
		roots = append(roots, some...)
	}
	w := walk{ctx: ctx, each: r.store.Each, enter: func(chunk.ID) (bool, error) { return true, nil }}
	w.page = func(id chunk.ID, refs []chunk.ID, err error) error {
		if err != nil {
			r.found.chunk(id, err)
			return nil
		}
		missing, err := r.store.Missing(ctx, refs)
		if err != nil {
			return err
		}
		for _, id := range missing {
			r.found.chunk(id, errMissing)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		r.rep.Trees++
		r.rep.Refs += int64(len(refs))
		return nil
	}
	return w.run(roots)
}

// Missing returns the chunks that commits need and has does not know, but for
// those that v says are lost: what a repair has to look for. It loads tree
// chunks only, and fails if one cannot be had that has knows.
func Missing(ctx context.Context, v store.MarkView, commits []store.Commit, has func(chunk.ID) (bool, error)) ([]chunk.ID, error) {
	var roots, missing []chunk.ID
	for _, c := range commits {
		m, err := snapshot.DecodeManifest(c.Payload)
		if err != nil {
			continue // nobody can need what it names
		}
		some, _ := rootsOf(&m)
		roots = append(roots, some...)
	}
	there := func(id chunk.ID) (bool, error) {
		ok, err := has(id)
		if err == nil && !ok && !v.Lost(id) {
			missing = append(missing, id)
		}
		return ok, err
	}
	data := pages{} // of content that is not there
	w := walk{ctx: ctx, each: v.Each, enter: there}
	w.page = func(id chunk.ID, refs []chunk.ID, err error) error {
		if err != nil {
			return fmt.Errorf("read tree chunk %s: %w", id, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range refs {
			if ok, err := has(id); err != nil {
				return err
			} else if !ok && !v.Lost(id) && data.add(id) {
				missing = append(missing, id)
			}
		}
		return nil
	}
	err := w.run(roots)
	return missing, err
}
