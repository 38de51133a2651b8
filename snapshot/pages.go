package snapshot

import (
	"context"

	"coffer/chunk"
)

// Pages calls fn with each page of entries of a listing, in the order of the
// names. Before it loads a page, of whatever level, it asks skip, and leaves the
// page and what is below it out where that says so: who has seen an earlier
// state of a large directory need not look at all of it again. The entries
// belong to the caller.
func Pages(ctx context.Context, l Loader, tree chunk.ID, skip func(page chunk.ID) bool, fn func(page chunk.ID, entries []Entry) error) error {
	if tree == (chunk.ID{}) {
		return nil
	}
	r := pageReader{ctx: ctx, loader: l, skip: skip, fn: fn}
	return r.page(tree, span{top: true})
}

type pageReader struct {
	ctx    context.Context
	loader Loader
	skip   func(chunk.ID) bool
	fn     func(chunk.ID, []Entry) error
}

func (r *pageReader) page(id chunk.ID, s span) error {
	if r.skip(id) {
		return nil
	}
	p, err := loadPage(r.ctx, r.loader, id, s)
	if err != nil {
		return err
	}
	if p.level == 0 {
		return r.fn(id, p.entries)
	}
	for i := range p.children {
		if err := r.page(p.children[i].id, s.below(p, i)); err != nil {
			return err
		}
	}
	return nil
}
