package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"

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

// cipherFor returns the one-message AEAD for key and nonce.
func cipherFor(key *[KeySize]byte, nonce []byte) (cipher.AEAD, error) {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		return nil, err
	}
	_, _ = h.Write(nonce) // a hash never fails
	var sub [KeySize]byte
	h.Sum(sub[:0])
	b, err := aes.NewCipher(sub[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// sealInPlace draws a nonce into buf[at:at+nonceSize] and encrypts what follows
// it in place. buf needs tagSize bytes of spare capacity to avoid a copy.
func sealInPlace(rand io.Reader, key *[KeySize]byte, buf []byte, at int, ad []byte) ([]byte, error) {
	nonce := buf[at : at+nonceSize]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	aead, err := cipherFor(key, nonce)
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
func open(key *[KeySize]byte, dst, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%d bytes are too few for a sealed object: %w", len(sealed), ErrDamaged)
	}
	aead, err := cipherFor(key, sealed[:nonceSize])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(dst, zeroNonce[:], sealed[nonceSize:], ad)
	if err != nil {
		return nil, fmt.Errorf("authentication failed: %w", ErrDamaged)
	}
	return plain, nil
}
