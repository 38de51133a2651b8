package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"coffer/bucket"
	"coffer/chunk"
	"coffer/seal"
)

// configMagic and the repository's ID with a line feed stand in the clear before
// the sealed config: a person sees what this directory is, and the ID is needed
// for the key that opens the rest.
const configMagic = "coffer repository 1\n"

// maxConfig bounds what is read of the config, which has some 200 bytes.
const maxConfig = 64 << 10

// maxRecord bounds the plain size of small records.
const maxRecord = 64 << 20

// A Config is what never changes in a repository. It is written last by Init:
// without it there is no repository.
type Config struct {
	Version  int    `cbor:"1,keyasint"`
	ID       string `cbor:"2,keyasint"` // 128 random bits in hexadecimal
	Created  int64  `cbor:"3,keyasint"` // seconds since 1970
	Hash     string `cbor:"4,keyasint"`
	Cipher   string `cbor:"5,keyasint"`
	Codec    string `cbor:"6,keyasint"`
	Chunker  string `cbor:"7,keyasint"`
	Poly     uint64 `cbor:"8,keyasint"`
	Min      uint32 `cbor:"9,keyasint"`
	Bits     int    `cbor:"10,keyasint"`
	Max      uint32 `cbor:"11,keyasint"`
	PackSize uint32 `cbor:"12,keyasint"`
	Solid    uint32 `cbor:"13,keyasint"` // plain bytes at which a solid block is full
}

const (
	formatVersion = 1

	// DefaultPackSize keeps objects few and a ranged read of one cheap.
	DefaultPackSize = 32 << 20
	// DefaultSolid: measured, docs/benchmarks.md, "Solid blocks".
	DefaultSolid = 256 << 10
)

// Chunking returns the parameters of the chunker.
func (c Config) Chunking() chunk.Params {
	return chunk.Params{Polynomial: c.Poly, Min: c.Min, Bits: c.Bits, Max: c.Max}
}

func (c Config) check() error {
	if c.Version != formatVersion {
		return fmt.Errorf("repository has format %d; this program knows %d: use a newer coffer", c.Version, formatVersion)
	}
	if c.Hash != "blake3-256" || c.Cipher != "aes-256-gcm/blake3" || c.Codec != "zstd" || c.Chunker != "rabin-53" {
		return fmt.Errorf("repository uses %s, %s, %s, %s: use a newer coffer", c.Hash, c.Cipher, c.Codec, c.Chunker)
	}
	if c.PackSize < 1<<16 || c.PackSize > 256<<20 || c.Solid < 1<<10 || c.Solid > 4<<20 {
		return fmt.Errorf("config: sizes %d and %d: %w", c.PackSize, c.Solid, seal.ErrDamaged)
	}
	return c.Chunking().Validate()
}

// ErrExists says that there is a repository already.
var ErrExists = errors.New("there is a repository here already")

// ErrNotEmpty says that there is something else where a repository should be
// made.
var ErrNotEmpty = errors.New("this place is not empty")

// ErrNoRepository says that the bucket holds no repository.
var ErrNoRepository = errors.New("this is no coffer repository")

// InitOptions say how to make a repository.
type InitOptions struct {
	Secret seal.Secret // the first key slot
	Label  string
	Like   *Store // use the keys and the chunker of this one, so that sealed blocks travel unopened
	Pack   uint32 // 0: DefaultPackSize
}

// Init makes a repository in an empty bucket and returns its recovery key.
// Keys and the first generation are written before the config, so that a crash
// leaves a repository or none.
func Init(ctx context.Context, b bucket.Bucket, env Env, opt InitOptions) (recovery seal.Secret, err error) {
	env = env.filled()
	if err := clearWay(ctx, b); err != nil {
		return recovery, err
	}
	master, cfg, err := newConfig(env, opt)
	if err != nil {
		return recovery, err
	}
	if recovery, err = seal.NewRecovery(env.Rand); err != nil {
		return recovery, err
	}
	s, err := newStore(b, env, master, cfg)
	if err != nil {
		return recovery, err
	}
	var ids []string
	for _, slot := range []struct {
		secret seal.Secret
		label  string
	}{{opt.Secret, opt.Label}, {recovery, "recovery key"}} {
		id, err := s.AddKey(ctx, slot.secret, slot.label)
		if err != nil {
			return recovery, err
		}
		ids = append(ids, id)
	}
	if err := s.putFirstGeneration(ctx); err != nil {
		return recovery, err
	}
	if err := s.putConfig(ctx); err != nil {
		return recovery, err
	}
	s.reserve(func() int64 { return 0 })
	return recovery, s.checkAlone(ctx, ids)
}

// checkAlone sees that no Init at the same time took our key slots for leftovers.
func (s *Store) checkAlone(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if _, err := readAll(ctx, s.bucket, keyPrefix+id, maxSlot); err != nil {
			return fmt.Errorf("read back key %s: %w; empty this place and run init again", id, err)
		}
	}
	return nil
}

// clearWay refuses a bucket with anything in it but what an Init leaves that
// was cut off before the config. That is removed: its key slots hold another
// master key.
func clearWay(ctx context.Context, b bucket.Bucket) error {
	if _, err := readAll(ctx, b, configName, maxConfig); err == nil {
		return ErrExists
	}
	var left []string
	for info, err := range b.List(ctx, "", "") {
		if err != nil {
			return fmt.Errorf("look for an existing repository: %w", err)
		}
		switch {
		case info.Name == configName: // there, though it cannot be read
			return ErrExists
		case !strings.HasPrefix(info.Name, keyPrefix) && !strings.HasPrefix(info.Name, generationName(0)):
			return fmt.Errorf("%w: it has no config, but %s; if the config was lost, bring it back from a copy", ErrNotEmpty, info.Name)
		}
		left = append(left, info.Name)
	}
	if len(left) == 0 {
		return nil
	}
	if err := b.Delete(ctx, left...); err != nil {
		return fmt.Errorf("remove what an interrupted init left: %w", err)
	}
	return nil
}

func newConfig(env Env, opt InitOptions) (seal.Master, Config, error) {
	cfg := Config{Version: formatVersion, Created: env.Now().Unix(), Hash: "blake3-256", Cipher: "aes-256-gcm/blake3",
		Codec: "zstd", Chunker: "rabin-53", PackSize: opt.Pack, Solid: DefaultSolid}
	if cfg.PackSize == 0 {
		cfg.PackSize = DefaultPackSize
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(env.Rand, id); err != nil {
		return seal.Master{}, cfg, fmt.Errorf("draw repository id: %w", err)
	}
	cfg.ID = hex.EncodeToString(id)
	if opt.Like != nil {
		c := opt.Like.cfg
		cfg.Poly, cfg.Min, cfg.Bits, cfg.Max, cfg.Solid = c.Poly, c.Min, c.Bits, c.Max, c.Solid
		return opt.Like.master, cfg, nil
	}
	params, err := chunk.DefaultParams(env.Rand)
	if err != nil {
		return seal.Master{}, cfg, err
	}
	cfg.Poly, cfg.Min, cfg.Bits, cfg.Max = params.Polynomial, params.Min, params.Bits, params.Max
	master, err := seal.NewMaster(env.Rand)
	return master, cfg, err
}

func (s *Store) putConfig(ctx context.Context) error {
	plain, err := cbor.Marshal(s.cfg)
	if err != nil {
		return fmt.Errorf("encode config: %w", err)
	}
	sealed, err := s.box.SealRecord(configName, plain)
	if err != nil {
		return err
	}
	raw := append([]byte(configMagic+s.cfg.ID+"\n"), sealed...)
	err = s.put(ctx, configName, raw)
	if err == nil {
		return nil
	}
	if got, getErr := readAll(context.WithoutCancel(ctx), s.bucket, configName, maxConfig); getErr == nil && bytes.Equal(got, raw) {
		return bucket.Settle(ctx, s.bucket, configName) // only the reply was lost
	}
	return fmt.Errorf("write config: %w", err)
}

// readConfig returns the repository's ID and the sealed part of the config.
func readConfig(ctx context.Context, b bucket.Bucket) (id string, sealed []byte, err error) {
	raw, err := readAll(ctx, b, configName, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("%w (it has no config)", ErrNoRepository)
	}
	if err != nil {
		return "", nil, fmt.Errorf("read config: %w", err)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(configMagic))
	if !ok {
		return "", nil, fmt.Errorf("%w of a version that this program knows", ErrNoRepository)
	}
	line, sealed, ok := bytes.Cut(rest, []byte("\n"))
	if !ok {
		return "", nil, fmt.Errorf("config: no repository id: %w", seal.ErrDamaged)
	}
	return string(line), sealed, nil
}

// repositoryID returns the ID in bytes.
func (c Config) repositoryID() (seal.RepositoryID, error) {
	var id seal.RepositoryID
	b, err := hex.DecodeString(c.ID)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != c.ID {
		return id, fmt.Errorf("config: %q is no repository id: %w", c.ID, seal.ErrDamaged)
	}
	copy(id[:], b)
	return id, nil
}

func decodeConfig(box *seal.Box, sealed []byte) (Config, error) {
	var c Config
	plain, err := box.OpenRecord(configName, sealed, maxRecord)
	if err != nil {
		return c, err
	}
	if err := cbor.Unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("decode config: %v: %w", err, seal.ErrDamaged)
	}
	return c, c.check()
}
