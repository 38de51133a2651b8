package store

import (
	"context"
	"fmt"

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

// putSegment writes the index segment of the packs that have none yet.
func (w *Session) putSegment(ctx context.Context) error {
	w.mu.Lock()
	b := w.pending
	w.pending = segmentBuilder{}
	w.mu.Unlock()
	if len(b.packs) == 0 {
		return nil
	}
	plain, err := index.Encode(b.packs, b.blocks, b.entries)
	if err != nil {
		return w.fail(err)
	}
	name := segmentName(w.generation, w.sid, len(w.written))
	sealed, err := w.s.box.SealRecord(name, plain)
	if err == nil {
		err = w.s.put(ctx, name, sealed)
	}
	if err != nil {
		return w.fail(fmt.Errorf("write index segment: %w", err))
	}
	w.stored.Add(int64(len(sealed)))
	w.written = append(w.written, segmentRef{Name: name, Entries: uint32(len(b.entries))})
	return nil
}
