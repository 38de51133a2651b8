// Package seal turns plain bytes into bytes that may leave the machine, and
// back: it compresses, encrypts and authenticates. It is pure; it reads and
// writes nothing but its arguments and the random source it is given.
//
// Everything at rest is one of three things: a Block (content; may move to
// another object with the same keys), a record (bookkeeping; bound to the name
// of its object, so that a provider who swaps objects is noticed), or a Slot
// (the master key, wrapped by a password, a key file or a recovery key).
// docs/format.md gives the bytes.
package seal

import (
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// ErrDamaged is wrapped by every error of bytes that are not what was sealed:
// flipped, truncated, moved under another name, or sealed with other keys.
var ErrDamaged = errors.New("damaged or not ours")

// KeySize is the length of the master key and of all keys derived from it.
const KeySize = 32

// A Master is the one secret of a repository.
type Master [KeySize]byte

// NewMaster draws a master key from rand.
func NewMaster(rand io.Reader) (Master, error) {
	var m Master
	if _, err := io.ReadFull(rand, m[:]); err != nil {
		return m, fmt.Errorf("draw master key: %w", err)
	}
	return m, nil
}

// Keys are the purpose keys of a repository.
type Keys struct {
	block, record, lookup [KeySize]byte
}

// RepositoryID is the 128 random bits that tell repositories apart.
type RepositoryID [16]byte

// Keys derives the purpose keys of one repository. Blocks may travel between
// repositories with the same master key, so their key depends on that alone;
// records may not. The contexts are part of the format.
func (m Master) Keys(id RepositoryID) *Keys {
	k := new(Keys)
	own := append(m[:len(m):len(m)], id[:]...)
	blake3.DeriveKey("coffer 2026-11-20 block key v1", m[:], k.block[:])
	blake3.DeriveKey("coffer 2026-11-20 record key v1", own, k.record[:])
	blake3.DeriveKey("coffer 2026-11-20 lookup key v1", own, k.lookup[:])
	return k
}

// LookupKey returns the key under which local caches hash chunk IDs, so that a
// stolen cache tells nothing of what is stored.
func (k *Keys) LookupKey() [KeySize]byte { return k.lookup }
