// Package snapshot says what a snapshot is: a manifest, and a Merkle tree of
// directory listings whose entries name the chunks of files. It reads and
// writes both through the small interfaces below and knows nothing of packs,
// indexes and buckets.
//
// A directory is a listing: pages of entries with pages above them, cut at
// places that depend on the entries alone, so that equal directories have equal
// IDs and a change rewrites few pages. Listing writes one; List, Lookup,
// Resolve, Walk, Find, Diff, History and FS read them. Attributes, holes and
// content that are too many for a page spill into pieces, which Attrs, Refs and
// Fill read. Reach and PageRefs tell what a snapshot needs to exist.
//
// A snapshot may have several commits (holds, and what brought it back), and
// notes that changed its tags: Collect puts them together, Select finds the one
// that a person means.
//
// What is read is checked: no function here returns an entry whose name could
// leave its directory, or whose parts contradict each other. Such bytes give an
// error that is ErrDamaged, in bounded memory. docs/format.md has the
// format to the last bit.
package snapshot

import (
	"context"

	"coffer/chunk"
)

// A Loader loads chunks, verified against their IDs. The bytes belong to the
// caller only for reading: they may be shared with other callers.
type Loader interface {
	Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error)
}

// A Saver stores chunks. When Save returns, data may be used again; the chunk
// is durable only when what the Saver belongs to is committed.
type Saver interface {
	Save(ctx context.Context, k chunk.Kind, data []byte) (chunk.ID, error)
}

// A Streamer is a Loader that can load many chunks in the order that is
// fastest to read. Each calls fn once for every index of ids, from several
// goroutines at once and in any order, with data that is valid during the call
// only. A chunk that is damaged or missing gives fn an error in place of data;
// what fn returns ends the streaming if it is not nil.
type Streamer interface {
	Loader
	Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error
}
