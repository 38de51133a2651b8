package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"coffer/chunk"
	"coffer/seal"
)

// A generation says what the repository is made of when it begins. It is
// written once and never deleted.
type generation struct {
	Version   int          `cbor:"1,keyasint"`
	Number    uint64       `cbor:"2,keyasint"`
	Base      []segmentRef `cbor:"3,keyasint,omitempty"` // the index, without what is condemned
	Catalogue []pieceRef   `cbor:"4,keyasint,omitempty"` // the commits that the base covers, without those dropped
	Covered   []string     `cbor:"5,keyasint,omitempty"` // commits of generation Number-1 that are in base and catalogue, or dropped
	Dropped   []string     `cbor:"6,keyasint,omitempty"` // commits that end here: D
	Lost      []byte       `cbor:"7,keyasint,omitempty"` // IDs of chunks that repair found lost, joined
	Condemned int          `cbor:"8,keyasint,omitempty"` // how many packs of the generation before are not in the base
	Host      string       `cbor:"9,keyasint,omitempty"` // who wrote it; for people only
	Time      int64        `cbor:"10,keyasint,omitempty"`

	Mended uint64   `cbor:"11,keyasint,omitempty"` // what repair found: of older generations' records some are damaged or gone, and nothing needs them
	Void   []string `cbor:"12,keyasint,omitempty"` // names of records that repair found damaged: they count for nothing
}

// A closing ends the generations before its own. It is written once and never
// deleted.
type closing struct {
	Version   int          `cbor:"1,keyasint"`
	Number    uint64       `cbor:"2,keyasint"`
	Segments  []segmentRef `cbor:"3,keyasint,omitempty"` // of commits that the generation's base does not cover, and of rescues
	Catalogue []pieceRef   `cbor:"4,keyasint,omitempty"` // all valid commits of earlier generations
	Delete    []string     `cbor:"5,keyasint,omitempty"` // names of objects that nothing needs any more
}

// An intent is what a session says of itself when it begins.
type intent struct {
	Version   int      `cbor:"1,keyasint"`
	Writer    bool     `cbor:"2,keyasint"`
	Snapshots []string `cbor:"3,keyasint,omitempty"` // a reader's
	Host      string   `cbor:"4,keyasint,omitempty"`
	PID       int      `cbor:"5,keyasint,omitempty"`
	Started   int64    `cbor:"6,keyasint"` // by the writer's clock; for people only
}

// Outcomes of a session.
const (
	fateCommit = 1
	fateAbort  = 2
)

// A fate is the outcome of a session, written once.
type fate struct {
	Version  int          `cbor:"1,keyasint"`
	Outcome  int          `cbor:"2,keyasint"`
	Segments []segmentRef `cbor:"3,keyasint,omitempty"`
	Payload  []byte       `cbor:"4,keyasint,omitempty"`
}

// A segmentRef names an index segment and says how large it is, so that a
// reader knows what it costs before it loads it.
type segmentRef struct {
	Name    string   `cbor:"1,keyasint"`
	Entries uint32   `cbor:"2,keyasint"`
	Dead    []uint32 `cbor:"3,keyasint,omitempty"` // positions of its packs that are condemned or gone
}

const recordVersion = 1

// errNewer says that a record is of a version that this program does not know.
var errNewer = errors.New("use a newer coffer")

// decodeRecord decodes CBOR into v and checks its version.
func decodeRecord(name string, plain []byte, v any, version *int) error {
	if err := cbor.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("decode %s: %v: %w", name, err, seal.ErrDamaged)
	}
	if *version != recordVersion {
		return fmt.Errorf("%s has version %d; this program knows %d: %w", name, *version, recordVersion, errNewer)
	}
	return nil
}

// getCBOR reads, opens and decodes a record into v, and checks its version.
func (s *Store) getCBOR(ctx context.Context, name string, v any, version *int) error {
	plain, err := s.getRecord(ctx, name, maxRecord)
	if err != nil {
		return err
	}
	return decodeRecord(name, plain, v, version)
}

func (s *Store) getFate(ctx context.Context, name string) (fate, error) {
	var f fate
	if err := s.getCBOR(ctx, name, &f, &f.Version); err != nil {
		return f, err
	}
	if f.Outcome != fateCommit && f.Outcome != fateAbort {
		return f, fmt.Errorf("%s has outcome %d: %w", name, f.Outcome, seal.ErrDamaged)
	}
	return f, nil
}

// putCBOR encodes, seals and stores a record.
func (s *Store) putCBOR(ctx context.Context, name string, v any) error {
	plain, err := cbor.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return s.putRecord(ctx, name, plain)
}

// joinIDs and splitIDs turn a list of IDs into bytes and back.
func joinIDs(ids []chunk.ID) []byte {
	var b []byte
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func splitIDs(b []byte) (map[chunk.ID]struct{}, error) {
	if len(b)%chunk.IDSize != 0 {
		return nil, fmt.Errorf("%d bytes are no list of chunks: %w", len(b), seal.ErrDamaged)
	}
	ids := make(map[chunk.ID]struct{}, len(b)/chunk.IDSize)
	for ; len(b) > 0; b = b[chunk.IDSize:] {
		ids[chunk.ID(b[:chunk.IDSize])] = struct{}{}
	}
	return ids, nil
}
