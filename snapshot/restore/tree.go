package restore

import (
	"context"
	"iter"

	"coffer/chunk"
	"coffer/snapshot"
)

// A tree is what restore reads. Tests put hostile ones in its place that the
// decoder of real ones would refuse.
type tree interface {
	list(ctx context.Context, e *snapshot.Entry) iter.Seq2[*snapshot.Entry, error]
	attrs(ctx context.Context, e *snapshot.Entry) ([]snapshot.Xattr, []snapshot.Extent, error)
	refs(ctx context.Context, e *snapshot.Entry) iter.Seq2[snapshot.Ref, error]
	each(ctx context.Context, ids []chunk.ID, fn func(i int, data []byte, err error) error) error
}

type storedTree struct{ src snapshot.Streamer }

func (t storedTree) list(ctx context.Context, e *snapshot.Entry) iter.Seq2[*snapshot.Entry, error] {
	return func(yield func(*snapshot.Entry, error) bool) {
		for c, err := range snapshot.List(ctx, t.src, e.Tree, "") {
			if !yield(c, fromSource(err)) {
				return
			}
		}
	}
}

func (t storedTree) attrs(ctx context.Context, e *snapshot.Entry) ([]snapshot.Xattr, []snapshot.Extent, error) {
	if !e.Spilled() {
		return e.Xattrs, e.Holes, nil
	}
	attrs, holes, err := snapshot.Attrs(ctx, t.src, e)
	return attrs, holes, fromSource(err)
}

func (t storedTree) refs(ctx context.Context, e *snapshot.Entry) iter.Seq2[snapshot.Ref, error] {
	return snapshot.Refs(ctx, t.src, e)
}

func (t storedTree) each(ctx context.Context, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return t.src.Each(ctx, chunk.Data, ids, fn)
}
