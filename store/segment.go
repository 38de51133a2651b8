package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"coffer/index"
	"coffer/store/pack"
)

// A segmentBuilder gathers what packs hold, for one index segment.
type segmentBuilder struct {
	packs   []index.Pack
	blocks  []index.Block
	entries []index.Entry
}

// add appends all that is in a pack.
func (b *segmentBuilder) add(p index.Pack, blocks []pack.Block) {
	b.packs = append(b.packs, p)
	at := uint32(pack.HeaderSize)
	for _, blk := range blocks {
		b.blocks = append(b.blocks, index.Block{Pack: uint32(len(b.packs) - 1), Offset: at, Sealed: blk.Sealed, Plain: blk.Plain})
		at += blk.Sealed
		off := uint32(0)
		for _, c := range blk.Chunks {
			b.entries = append(b.entries, index.Entry{ID: c.ID, Block: uint32(len(b.blocks) - 1), Offset: off,
				Length: c.Length, Recipe: c.Form == pack.Recipe})
			off += c.Length
		}
	}
}

// encode returns the segment. Of a chunk that is in two blocks, because both
// were copied as they were, one copy stays.
func (b *segmentBuilder) encode() ([]byte, error) {
	slices.SortStableFunc(b.entries, func(x, y index.Entry) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	b.entries = slices.CompactFunc(b.entries, func(x, y index.Entry) bool { return x.ID == y.ID })
	return index.Encode(b.packs, b.blocks, b.entries)
}

// putSegment writes the index segment of the packs that have none yet.
func (p *packer) putSegment(ctx context.Context) error {
	p.mu.Lock()
	b := p.pending
	p.pending = segmentBuilder{}
	p.mu.Unlock()
	if len(b.packs) == 0 {
		return nil
	}
	plain, err := b.encode()
	if err != nil {
		return p.fail(err)
	}
	ref, err := p.putPlainSegment(ctx, plain, len(b.entries))
	if err != nil {
		return p.fail(err)
	}
	p.written = append(p.written, ref)
	return nil
}

// putPlainSegment writes an encoded segment under the next name.
func (p *packer) putPlainSegment(ctx context.Context, plain []byte, entries int) (segmentRef, error) {
	ref := segmentRef{Name: segmentName(p.generation, p.sid, p.pieces), Entries: uint32(entries)}
	p.pieces++
	sealed, err := p.s.box.SealRecord(ref.Name, plain)
	if err == nil {
		err = p.s.put(ctx, ref.Name, sealed)
	}
	if err != nil {
		return ref, fmt.Errorf("write index segment: %w", err)
	}
	p.stored.Add(int64(len(sealed)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes[ref.Name] = int64(len(sealed))
	return ref, nil
}
