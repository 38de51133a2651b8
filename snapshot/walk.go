package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"coffer/chunk"
)

// Walk calls fn for the entry at a path and for all below it, a directory
// before its entries and these in the order of their names' bytes. Paths are
// absolute; the root itself is "/", with the entry that Resolve gives it. As
// with fs.WalkDir, fs.SkipDir from fn skips the directory, or the rest of the
// directory that a file is in, and fs.SkipAll ends the walk. Any other error
// ends it and is returned as it is.
func Walk(ctx context.Context, l Loader, root chunk.ID, at string, fn func(path string, e *Entry) error) error {
	e, err := Resolve(ctx, l, root, at)
	if err != nil {
		return err
	}
	w := walker{ctx: ctx, loader: l, fn: fn}
	err = w.visit(cleanPath(at), e)
	if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

type walker struct {
	ctx    context.Context
	loader Loader
	fn     func(string, *Entry) error
}

func (w *walker) visit(at string, e *Entry) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := w.fn(at, e)
	if e.Type != Dir {
		return err
	}
	if err == nil {
		err = w.below(at, e)
	}
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

func (w *walker) below(at string, e *Entry) error {
	for c, err := range List(w.ctx, w.loader, e.Tree, "") {
		if err != nil {
			return fmt.Errorf("list %q: %w", at, err)
		}
		if err := w.visit(path.Join(at, c.Name), c); err != nil {
			return err
		}
	}
	return nil
}

// Reach visits all chunks that a listing needs: its own pages, pieces of
// entries, the listings below, and data. It calls seen for each name that it
// meets; where seen says that it is not new, Reach does not go below it. A
// tree chunk is loaded once, after seen said new. Data is not loaded.
func Reach(ctx context.Context, l Loader, root chunk.ID, seen func(chunk.Kind, chunk.ID) (isNew bool)) error {
	if root == (chunk.ID{}) || !seen(chunk.Tree, root) {
		return nil
	}
	for todo := []chunk.ID{root}; len(todo) > 0; {
		id := todo[len(todo)-1]
		trees, refs, err := loadRefs(ctx, l, id)
		if err != nil {
			return err
		}
		for _, id := range refs {
			seen(chunk.Data, id)
		}
		todo = appendNew(todo[:len(todo)-1], trees, seen)
	}
	return nil
}

// appendNew appends what is new of ids, the first one last, so that Reach goes
// through a tree in the order it was written.
func appendNew(todo, ids []chunk.ID, seen func(chunk.Kind, chunk.ID) bool) []chunk.ID {
	for i := len(ids) - 1; i >= 0; i-- {
		if seen(chunk.Tree, ids[i]) {
			todo = append(todo, ids[i])
		}
	}
	return todo
}

func loadRefs(ctx context.Context, l Loader, id chunk.ID) (trees, refs []chunk.ID, err error) {
	data, err := l.Load(ctx, chunk.Tree, id)
	if err != nil {
		return nil, nil, err
	}
	trees, refs, err = PageRefs(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read tree chunk %s: %w", id, err)
	}
	return trees, refs, nil
}
