package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"
)

const (
	nonceSize = 24
	tagSize   = 16

	// Overhead is what sealing adds to the encoded bytes: nonce, codec, tag.
	Overhead = nonceSize + 1 + tagSize
)

// zeroNonce is right because every subkey seals exactly one message: the 192
// random bits of the real nonce go into the subkey (format.md, "Block").
var zeroNonce [12]byte

// subkeys seals and opens messages, each with a key of its own. It keeps keyed
// hashers, which are large.
type subkeys struct{ hashers sync.Pool }

// A keyed is a hasher and the key it was made with.
type keyed struct {
	key  [KeySize]byte
	hash *blake3.Hasher
}

// cipherFor returns the one-message AEAD for key and nonce.
func (k *subkeys) cipherFor(key *[KeySize]byte, nonce []byte) (cipher.AEAD, error) {
	h, _ := k.hashers.Get().(*keyed)
	if h == nil || h.key != *key {
		hash, err := blake3.NewKeyed(key[:])
		if err != nil {
			return nil, err
		}
		h = &keyed{*key, hash}
	}
	defer k.hashers.Put(h)
	h.hash.Reset()
	_, _ = h.hash.Write(nonce) // a hash never fails
	var sub [KeySize]byte
	h.hash.Sum(sub[:0])
	b, err := aes.NewCipher(sub[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// seal draws a nonce into buf[at:at+nonceSize] and encrypts what follows
// it in place. buf needs tagSize bytes of spare capacity to avoid a copy.
func (k *subkeys) seal(rand io.Reader, key *[KeySize]byte, buf []byte, at int, ad []byte) ([]byte, error) {
	nonce := buf[at : at+nonceSize]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	aead, err := k.cipherFor(key, nonce)
	if err != nil {
		return nil, err
	}
	body := buf[at+nonceSize:]
	sealed := aead.Seal(body[:0], zeroNonce[:], body, ad)
	if cap(body) >= len(sealed) { // done in place
		return buf[:at+nonceSize+len(sealed)], nil
	}
	return append(buf[:at+nonceSize], sealed...), nil
}

// open authenticates sealed and appends its plain text (codec and encoded
// bytes) to dst.
func (k *subkeys) open(key *[KeySize]byte, dst, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%d bytes are too few for a sealed object: %w", len(sealed), ErrDamaged)
	}
	aead, err := k.cipherFor(key, sealed[:nonceSize])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(dst, zeroNonce[:], sealed[nonceSize:], ad)
	if err != nil {
		return nil, fmt.Errorf("authentication failed: %w", ErrDamaged)
	}
	return plain, nil
}
