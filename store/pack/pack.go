// Package pack is the format of the objects that hold content. It is pure.
//
//	+--------+---------+---------+-- - --+----------------+---------------------+
//	| header | block 0 | block 1 |  ...  | sealed trailer | footer              |
//	| 40     | sealed  | sealed  |       | sealed record  | 56: place, BLAKE3   |
//	+--------+---------+---------+-- - --+----------------+---------------------+
//
//	header:  "COFPACK\n" | version u16 | kind u8 | 0 u8 | key epoch u32 | sid 16 | seq u32 | 0 u32
//	footer:  trailer offset u64 | trailer length u32 | 0 u32 | "COFPEND\n" | BLAKE3-256 of all before
//
// Numbers are little-endian. Blocks follow each other without delimiters, so
// that nobody without the keys sees where one ends. The trailer lists blocks
// and the chunks in them: a lost index is rebuilt from trailers alone. The
// footer's hash lets anyone, with no key, find bit rot.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"coffer/chunk"
)

// ErrDamaged is wrapped by every error of bytes that are not a whole pack.
var ErrDamaged = errors.New("damaged pack")

const (
	// HeaderSize and FooterSize are fixed by the format.
	HeaderSize = 40
	FooterSize = 56
	HashSize   = 32 // at the end of the footer

	version  = 1
	keyEpoch = 1 // the master key has never been changed in this version

	headMagic = "COFPACK\n"
	tailMagic = "COFPEND\n"

	// MaxSize bounds a pack: offsets are 32 bits wide.
	MaxSize = 1 << 30
)

// A SID is the 128 random bits that name a session.
type SID [16]byte

// A Header is what a pack says of itself in the clear.
type Header struct {
	Kind chunk.Kind
	SID  SID
	Seq  uint32
}

// AppendHeader appends the header's bytes to dst.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, headMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = append(dst, byte(h.Kind), 0)
	dst = binary.LittleEndian.AppendUint32(dst, keyEpoch)
	dst = append(dst, h.SID[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, h.Seq)
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// ParseHeader reads the first HeaderSize bytes of a pack.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < HeaderSize || string(b[:8]) != headMagic {
		return h, fmt.Errorf("no pack header: %w", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != version {
		return h, fmt.Errorf("pack has version %d; this program knows %d: use a newer coffer", v, version)
	}
	if e := binary.LittleEndian.Uint32(b[12:]); e != keyEpoch {
		return h, fmt.Errorf("pack has key epoch %d; this program knows %d: use a newer coffer", e, keyEpoch)
	}
	h.Kind = chunk.Kind(b[10])
	copy(h.SID[:], b[16:32])
	h.Seq = binary.LittleEndian.Uint32(b[32:])
	if !h.Kind.Valid() || b[11] != 0 || binary.LittleEndian.Uint32(b[36:]) != 0 {
		return h, fmt.Errorf("pack header of %s: %w", h.Kind, ErrDamaged)
	}
	return h, nil
}

// A Footer says where the sealed trailer is, and the hash of all before it.
type Footer struct {
	TrailerOffset int64
	TrailerLength int64
	Hash          [HashSize]byte
}

// AppendFooterHead appends the part of the footer that the hash covers.
func AppendFooterHead(dst []byte, trailerOffset, trailerLength int64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(trailerOffset))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(trailerLength))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return append(dst, tailMagic...)
}

// ParseFooter reads the last FooterSize bytes of a pack of size bytes.
func ParseFooter(b []byte, size int64) (Footer, error) {
	var f Footer
	if len(b) != FooterSize || string(b[16:24]) != tailMagic || binary.LittleEndian.Uint32(b[12:]) != 0 {
		return f, fmt.Errorf("no pack footer: %w", ErrDamaged)
	}
	f.TrailerOffset = int64(binary.LittleEndian.Uint64(b))
	f.TrailerLength = int64(binary.LittleEndian.Uint32(b[8:]))
	copy(f.Hash[:], b[24:])
	if size > MaxSize || f.TrailerOffset < HeaderSize || f.TrailerOffset+f.TrailerLength+FooterSize != size {
		return f, fmt.Errorf("pack footer's places in %d bytes: %w", size, ErrDamaged)
	}
	return f, nil
}
