package store

import (
	"context"

	"coffer/chunk"
)

// A MarkView is what a Marker reads from.
type MarkView interface {
	Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error)
	// Each is Store.Each.
	Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error
	// Lost reports whether repair has recorded that a chunk is lost: a mark
	// goes on without it.
	Lost(id chunk.ID) bool
}

// A Marker says what commits need: package snapshot/gc has one. Mark adds every
// chunk that must be kept for commits to live. It fails rather than leave one
// out.
type Marker interface {
	Mark(ctx context.Context, v MarkView, commits []Commit, live *LiveSet) error
}
