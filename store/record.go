package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"coffer/seal"
)

// A generation record. This version only ever writes generation 0, which is
// empty: prune, which writes others, comes later (docs/format.md).
type generation struct {
	Version int    `cbor:"1,keyasint"`
	Number  uint64 `cbor:"2,keyasint"`
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
	Name    string `cbor:"1,keyasint"`
	Entries uint32 `cbor:"2,keyasint"`
}

const recordVersion = 1

// decodeRecord decodes CBOR into v and checks its version.
func decodeRecord(name string, plain []byte, v any, version *int) error {
	if err := cbor.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("decode %s: %v: %w", name, err, seal.ErrDamaged)
	}
	if *version != recordVersion {
		return fmt.Errorf("%s has version %d; this program knows %d: use a newer coffer", name, *version, recordVersion)
	}
	return nil
}

func (s *Store) getFate(ctx context.Context, name string) (fate, error) {
	var f fate
	plain, err := s.getRecord(ctx, name, maxRecord)
	if err != nil {
		return f, err
	}
	if err := decodeRecord(name, plain, &f, &f.Version); err != nil {
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

// putFirstGeneration writes generation 0 and closes it.
func (s *Store) putFirstGeneration(ctx context.Context) error {
	g := generation{Version: recordVersion}
	for _, name := range []string{generationName(0), generationName(0) + doneSuffix} {
		if err := s.putCBOR(ctx, name, g); err != nil {
			return fmt.Errorf("write first generation: %w", err)
		}
	}
	return nil
}

// newestGeneration lists the generations and returns the highest number.
func (s *Store) newestGeneration(ctx context.Context) (uint64, error) {
	newest, found := uint64(0), false
	for info, err := range s.bucket.List(ctx, generationPrefix, "") {
		if err != nil {
			return 0, fmt.Errorf("list generations: %w", err)
		}
		var g uint64
		text := strings.TrimSuffix(strings.TrimPrefix(info.Name, generationPrefix), doneSuffix)
		if n, err := fmt.Sscanf(text, "%d", &g); n == 1 && err == nil {
			newest, found = max(newest, g), true
		}
	}
	if !found {
		return 0, fmt.Errorf("no generation is listed; part of the repository is missing: %w", seal.ErrDamaged)
	}
	if newest > 0 {
		return 0, fmt.Errorf("the repository has been pruned by a newer coffer (generation %d); use that one", newest)
	}
	return newest, nil
}
