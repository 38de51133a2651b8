package seal

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
)

// ErrWrongSecret says that a slot was read whole but the secret does not open
// it.
var ErrWrongSecret = errors.New("wrong password or key")

// ErrWeak says that a slot asks for a weaker key derivation than the format
// allows: somebody may have tampered with it.
var ErrWeak = errors.New("key slot's parameters are outside what this version accepts")

// A SlotKind says what opens a slot.
type SlotKind string

const (
	Password SlotKind = "password"
	KeyFile  SlotKind = "key-file"
	Recovery SlotKind = "recovery"
	Open     SlotKind = "open" // anybody: --insecure-no-password
)

// A Secret is what a person or a machine brings to open a slot of its kind.
type Secret struct {
	Kind  SlotKind
	Value []byte
}

// argon2id's parameters: the second choice of RFC 9106 (64 MiB, t=3, p=4).
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	saltSize     = 32

	// Upper limits keep a hostile slot from exhausting the machine.
	maxArgonTime   = 16
	maxArgonMemory = 1 << 20 // KiB: 1 GiB
)

// A Slot is the master key wrapped by one secret. Label is for people and is
// not secret.
type Slot struct {
	Version    int      `cbor:"1,keyasint"`
	Kind       SlotKind `cbor:"2,keyasint"`
	Label      string   `cbor:"3,keyasint,omitempty"`
	Created    int64    `cbor:"4,keyasint"` // seconds since 1970
	Salt       []byte   `cbor:"5,keyasint"`
	Time       uint32   `cbor:"6,keyasint,omitempty"` // argon2id, Password only
	Memory     uint32   `cbor:"7,keyasint,omitempty"` // KiB
	Threads    uint8    `cbor:"8,keyasint,omitempty"`
	Commitment []byte   `cbor:"9,keyasint"`  // second half of the derived key: AES-GCM alone commits to no key
	Wrapped    []byte   `cbor:"10,keyasint"` // nonce, AEAD(master)
}

const slotVersion = 1

// Wrap makes a slot called name that opens with secret. The name is bound to
// it, so that slots cannot be swapped.
func Wrap(rand io.Reader, name string, master Master, secret Secret, label string, created int64) (*Slot, error) {
	s := &Slot{Version: slotVersion, Kind: secret.Kind, Label: label, Created: created, Salt: make([]byte, saltSize)}
	if secret.Kind == Password {
		s.Time, s.Memory, s.Threads = argonTime, argonMemory, argonThreads
	}
	if _, err := io.ReadFull(rand, s.Salt); err != nil {
		return nil, fmt.Errorf("draw salt: %w", err)
	}
	kek, commitment, err := s.derive(secret)
	if err != nil {
		return nil, err
	}
	s.Commitment = commitment
	buf := append(make([]byte, nonceSize, nonceSize+KeySize+tagSize), master[:]...)
	s.Wrapped, err = new(subkeys).seal(rand, &kek, buf, 0, s.bound(name))
	return s, err
}

// Unwrap returns the master key, or ErrWrongSecret, ErrWeak or ErrDamaged.
func (s *Slot) Unwrap(name string, secret Secret) (Master, error) {
	var m Master
	if err := s.check(); err != nil {
		return m, fmt.Errorf("key slot %s: %w", name, err)
	}
	kek, commitment, err := s.derive(secret)
	if err != nil {
		return m, err
	}
	if subtle.ConstantTimeCompare(commitment, s.Commitment) != 1 {
		return m, ErrWrongSecret
	}
	plain, err := new(subkeys).open(&kek, nil, s.Wrapped, s.bound(name))
	if err != nil {
		return m, fmt.Errorf("key slot %s: %w", name, err)
	}
	if len(plain) != KeySize {
		return m, fmt.Errorf("key slot %s holds %d bytes: %w", name, len(plain), ErrDamaged)
	}
	copy(m[:], plain)
	return m, nil
}

// check refuses parameters that are weaker than the format's, or absurd.
func (s *Slot) check() error {
	if s.Version != slotVersion {
		return fmt.Errorf("it has version %d; this program knows %d: use a newer coffer", s.Version, slotVersion)
	}
	if len(s.Salt) != saltSize || len(s.Commitment) != KeySize || len(s.Wrapped) != nonceSize+KeySize+tagSize {
		return fmt.Errorf("its lengths: %w", ErrDamaged)
	}
	if s.Kind != Password {
		return nil
	}
	if s.Time < argonTime || s.Memory < argonMemory || s.Threads < 1 ||
		s.Time > maxArgonTime || s.Memory > maxArgonMemory || s.Threads > 64 {
		return fmt.Errorf("argon2id t=%d m=%d KiB p=%d: %w", s.Time, s.Memory, s.Threads, ErrWeak)
	}
	return nil
}

// derive turns the secret into the wrapping key and the commitment.
func (s *Slot) derive(secret Secret) (kek [KeySize]byte, commitment []byte, err error) {
	if secret.Kind != s.Kind {
		return kek, nil, ErrWrongSecret
	}
	out := make([]byte, 2*KeySize)
	switch s.Kind {
	case Password:
		out = argon2.IDKey(secret.Value, s.Salt, s.Time, s.Memory, s.Threads, 2*KeySize)
	case KeyFile, Recovery, Open:
		// Full-entropy secrets (or none at all) gain nothing from a slow hash.
		material := append(append([]byte(nil), s.Salt...), secret.Value...)
		blake3.DeriveKey("coffer 2026-11-20 key slot "+string(s.Kind)+" v1", material, out)
	default:
		return kek, nil, fmt.Errorf("a slot of unknown kind %q: use a newer coffer", s.Kind)
	}
	copy(kek[:], out)
	return kek, out[KeySize:], nil
}

// bound is what the wrapped key authenticates besides itself: all of the slot,
// so that nobody can make an admin remove the wrong one.
func (s *Slot) bound(name string) []byte {
	return fmt.Appendf(nil, "coffer key slot v1\x00%s\x00%s\x00%d %d %d %d %d\x00%s",
		name, s.Kind, s.Version, s.Created, s.Time, s.Memory, s.Threads, s.Label)
}

// Encode returns the slot's bytes at rest.
func (s *Slot) Encode() ([]byte, error) { return cbor.Marshal(s) }

// maxSlot bounds a slot object: a real one has about 250 bytes.
const maxSlot = 4 << 10

// DecodeSlot reads what Encode wrote.
func DecodeSlot(b []byte) (*Slot, error) {
	var s Slot
	if len(b) > maxSlot {
		return nil, fmt.Errorf("key slot of %d bytes: %w", len(b), ErrDamaged)
	}
	if err := cbor.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("decode key slot: %v: %w", err, ErrDamaged)
	}
	return &s, nil
}
