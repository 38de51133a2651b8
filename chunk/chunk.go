// Package chunk names pieces of content and cuts streams into them. It is
// pure: bytes in, bytes out.
//
// A chunk's ID is the BLAKE3-256 hash of its plain bytes in derive-key mode,
// with one public context string per kind. Anybody can compute an ID, also a
// host that holds no key; equal bytes of one kind have equal IDs everywhere.
//
// A Cutter cuts a stream where its content says so, hence equal streams, and
// streams that are equal for long enough, have equal chunks. The chunks of a
// stream follow from its bytes and the repository's Params alone: not from how
// a reader portions them, from Cut or CutAt, or from the number of workers.
// Joined in order they are the stream. Boundaries are those of restic/chunker.
package chunk

import (
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// IDSize is the length of an ID in bytes.
const IDSize = 32

// An ID names the content of a chunk.
type ID [IDSize]byte

// String returns the ID in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight hexadecimal digits, for people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != IDSize {
		return id, fmt.Errorf("chunk id %q is not %d hexadecimal digits", s, 2*IDSize)
	}
	copy(id[:], b)
	return id, nil
}

// A Kind says what a chunk holds. Kinds have separate name spaces and separate
// packs, so that file data can never pose as a directory.
type Kind uint8

const (
	Data Kind = 1 // bytes of files and streams
	Tree Kind = 2 // directory pages and what spills from them
)

// The contexts are part of the format (docs/format.md, "Chunk") and never change.
const (
	dataContext = "coffer 2026-11-20 chunk data v1"
	treeContext = "coffer 2026-11-20 chunk tree v1"
)

// String returns "data" or "tree".
func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Tree:
		return "tree"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid reports whether the kind is one that this version knows.
func (k Kind) Valid() bool { return k == Data || k == Tree }

// A Hasher computes IDs. It is not safe for concurrent use; keep one for each
// goroutine, because building the derived state costs more than hashing a
// small file.
type Hasher struct {
	data, tree *blake3.Hasher
}

// NewHasher returns a Hasher for both kinds.
func NewHasher() *Hasher {
	return &Hasher{data: blake3.NewDeriveKey(dataContext), tree: blake3.NewDeriveKey(treeContext)}
}

// Sum returns the ID of data as a chunk of kind k.
func (h *Hasher) Sum(k Kind, data []byte) ID {
	b := h.data
	if k == Tree {
		b = h.tree
	}
	b.Reset()
	_, _ = b.Write(data) // a hash never fails
	var id ID
	b.Sum(id[:0])
	return id
}

// Sum returns the ID of data as a chunk of kind k.
func Sum(k Kind, data []byte) ID { return NewHasher().Sum(k, data) }
