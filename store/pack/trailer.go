package pack

import (
	"encoding/binary"
	"fmt"

	"coffer/chunk"
)

// A Form says how a chunk is stored.
type Form uint8

const (
	Whole  Form = 0 // its plain bytes
	Recipe Form = 1 // extents of other chunks; reserved, see docs/format.md
)

// A Block is one sealed block and the chunks whose plain bytes lie in it, one
// after another.
type Block struct {
	Sealed uint32 // bytes in the pack
	Plain  uint32 // bytes when opened: the sum of the chunks' lengths
	Chunks []Chunk
}

// A Chunk is one chunk in a block.
type Chunk struct {
	ID     chunk.ID
	Length uint32 // plain bytes
	Form   Form
}

// MaxBlocks and MaxChunks bound what a decoder accepts of one pack.
const (
	MaxBlocks = 1 << 20
	MaxChunks = 1 << 22
)

// EncodeTrailer returns the trailer's plain bytes: numbers first, as uvarints,
// because they compress well together; then the IDs in the same order.
//
//	blocks | for each block: sealed, chunks, for each chunk: length<<1|form | IDs
func EncodeTrailer(blocks []Block) []byte {
	b := binary.AppendUvarint(nil, uint64(len(blocks)))
	n := 0
	for _, blk := range blocks {
		b = binary.AppendUvarint(b, uint64(blk.Sealed))
		b = binary.AppendUvarint(b, uint64(len(blk.Chunks)))
		for _, c := range blk.Chunks {
			b = binary.AppendUvarint(b, uint64(c.Length)<<1|uint64(c.Form))
		}
		n += len(blk.Chunks)
	}
	b = append(make([]byte, 0, len(b)+n*chunk.IDSize), b...)
	for _, blk := range blocks {
		for _, c := range blk.Chunks {
			b = append(b, c.ID[:]...)
		}
	}
	return b
}

// DecodeTrailer reads what EncodeTrailer wrote.
func DecodeTrailer(b []byte) ([]Block, error) {
	d := decoder{b: b}
	blocks := make([]Block, d.count(MaxBlocks, 2))
	total := 0
	for i := range blocks {
		blocks[i].Sealed = uint32(d.count(MaxSize, 0))
		blocks[i].Chunks = make([]Chunk, d.count(MaxChunks-total, 1))
		total += len(blocks[i].Chunks)
		d.lengths(&blocks[i])
	}
	for i := range blocks {
		for j := range blocks[i].Chunks {
			d.id(&blocks[i].Chunks[j].ID)
		}
	}
	if d.bad || len(d.b) != 0 {
		return nil, fmt.Errorf("trailer of %d bytes: %w", len(b), ErrDamaged)
	}
	return blocks, nil
}

// A decoder reads numbers until something does not fit; then it is bad and
// yields zeros.
type decoder struct {
	b   []byte
	bad bool
}

// count reads a number of at most limit; where each unit takes at least size
// bytes of what follows, it may not claim more than there are.
func (d *decoder) count(limit, size int) int {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > uint64(limit) || v*uint64(size) > uint64(len(d.b)-n) {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) lengths(blk *Block) {
	for j := range blk.Chunks {
		v := d.count(MaxSize<<1, 0)
		blk.Chunks[j].Length, blk.Chunks[j].Form = uint32(v>>1), Form(v&1)
		if blk.Plain+uint32(v>>1) < blk.Plain || blk.Plain+uint32(v>>1) > MaxSize {
			d.bad = true
			return
		}
		blk.Plain += uint32(v >> 1)
	}
}

func (d *decoder) id(id *chunk.ID) {
	if d.bad || len(d.b) < len(id) {
		d.bad = true
		return
	}
	d.b = d.b[copy(id[:], d.b):]
}
