package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"coffer/chunk"
)

// ErrDamaged is what every error about stored bytes that do not follow the
// format wraps: cut short, not canonical, out of bounds, or lying.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// wireEntry is an Entry as it stands in a listing: docs/format.md. It is
// flat, because what the library spends goes by the number of values, and zero
// values are left out.
type wireEntry struct {
	Name      string   `cbor:"0,keyasint,omitempty"`
	Mode      uint32   `cbor:"1,keyasint,omitempty"` // Type<<12 | permissions
	UID       uint32   `cbor:"2,keyasint,omitempty"`
	GID       uint32   `cbor:"3,keyasint,omitempty"`
	User      string   `cbor:"4,keyasint,omitempty"`
	Group     string   `cbor:"5,keyasint,omitempty"`
	MSec      int64    `cbor:"6,keyasint,omitempty"`
	MNsec     uint32   `cbor:"7,keyasint,omitempty"`
	CSec      int64    `cbor:"8,keyasint,omitempty"`
	CNsec     uint32   `cbor:"9,keyasint,omitempty"`
	Size      int64    `cbor:"10,keyasint,omitempty"`
	Inode     uint64   `cbor:"11,keyasint,omitempty"`
	FS        uint32   `cbor:"12,keyasint,omitempty"`
	Links     uint32   `cbor:"13,keyasint,omitempty"`
	LinkGroup string   `cbor:"14,keyasint,omitempty"`
	Target    string   `cbor:"15,keyasint,omitempty"`
	Major     uint32   `cbor:"16,keyasint,omitempty"`
	Minor     uint32   `cbor:"17,keyasint,omitempty"`
	Flags     uint32   `cbor:"18,keyasint,omitempty"`
	Tree      []byte   `cbor:"19,keyasint,omitempty"`
	Items     uint64   `cbor:"20,keyasint,omitempty"`
	Content   []byte   `cbor:"21,keyasint,omitempty"` // IDs, joined
	Lengths   []uint32 `cbor:"22,keyasint,omitempty"`
	Holes     []byte   `cbor:"23,keyasint,omitempty"` // varints
	Xattrs    []Xattr  `cbor:"24,keyasint,omitempty"`
	Spill     []byte   `cbor:"25,keyasint,omitempty"` // IDs, joined
	SpillUp   uint8    `cbor:"26,keyasint,omitempty"`
	Files     uint64   `cbor:"27,keyasint,omitempty"`
}

// wirePiece is a part of an entry's bulk. Each stands for itself, so that gc
// can take the references from one without its neighbours.
type wirePiece struct {
	Content []byte   `cbor:"21,keyasint,omitempty"`
	Lengths []uint32 `cbor:"22,keyasint,omitempty"`
	Holes   []byte   `cbor:"23,keyasint,omitempty"`
	Xattrs  []Xattr  `cbor:"24,keyasint,omitempty"`
}

// wireChild is one page in the branch page above it.
type wireChild struct {
	_    struct{} `cbor:",toarray"`
	Last string   // the greatest name below
	ID   []byte
}

// Limits of what is decoded: bytes come from hosts, and must neither exhaust
// memory nor the stack.
const (
	maxTreeChunk = 256 << 10 // the largest piece is one of maxPiece
	maxArray     = 8192      // of lengths or attributes in a piece, both cut below it
	maxNesting   = 8
)

// codec holds the library's modes: building them costs as much as coding
// hundreds of entries.
type codec struct {
	enc    cbor.UserBufferEncMode
	strict cbor.DecMode // unknown fields are errors

	manifest, version cbor.DecMode // strict, and lax for the version alone
	notes             cbor.DecMode // strict

	entries sync.Pool // of *[]wireEntry, cleared: half of what decoding a page allocates
}

var codecs = sync.OnceValue(newCodec)

func newCodec() *codec {
	eo := cbor.CoreDetEncOptions()
	eo.String = cbor.StringToByteString // names are bytes, not text
	eo.NilContainers = cbor.NilContainerAsEmpty
	enc, err := eo.UserBufferEncMode()
	must(err)
	do := cbor.DecOptions{
		MaxNestedLevels:    maxNesting,
		MaxArrayElements:   maxArray,
		MaxMapPairs:        64,
		IndefLength:        cbor.IndefLengthForbidden,
		TagsMd:             cbor.TagsForbidden,
		ByteStringToString: cbor.ByteStringToStringAllowed,
	}
	c := &codec{enc: enc}
	do.ExtraReturnErrors = cbor.ExtraDecErrorUnknownField
	c.strict = decMode(do)
	do.MaxArrayElements = maxManifestArray
	c.manifest = decMode(do)
	do.MaxArrayElements = maxNoteCount
	c.notes = decMode(do)
	do.ExtraReturnErrors = cbor.ExtraDecErrorNone
	c.version = decMode(do)
	c.entries.New = func() any { return new([]wireEntry) }
	return c
}

func decMode(o cbor.DecOptions) cbor.DecMode {
	m, err := o.DecMode()
	must(err)
	return m
}

// must is for options that are constants: they are right or no test passes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := codecs().enc.MarshalToBuffer(v, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decode reads canonical bytes into v.
func decode(mode cbor.DecMode, data []byte, v any) error {
	if len(data) > maxTreeChunk {
		return damaged("%d bytes are more than %d", len(data), maxTreeChunk)
	}
	if err := canonical(data); err != nil {
		return err
	}
	if err := mode.Unmarshal(data, v); err != nil {
		return damaged("%v", err)
	}
	return nil
}

// joinIDs appends the IDs of ids to b.
func joinIDs(b []byte, ids []chunk.ID) []byte {
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}

func splitIDs(b []byte) ([]chunk.ID, error) {
	if len(b)%chunk.IDSize != 0 {
		return nil, damaged("%d bytes are no list of chunk ids", len(b))
	}
	if len(b) == 0 {
		return nil, nil
	}
	ids := make([]chunk.ID, 0, len(b)/chunk.IDSize)
	for ; len(b) > 0; b = b[chunk.IDSize:] {
		ids = append(ids, chunk.ID(b[:chunk.IDSize]))
	}
	return ids, nil
}
