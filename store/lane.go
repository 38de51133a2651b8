package store

import (
	"context"
	"sync"

	"coffer/chunk"
	"coffer/seal"
	"coffer/store/pack"
)

// A lane carries the chunks of one kind into packs: small ones by way of an
// open solid block, large ones as blocks of their own. Whoever fills a block
// seals it, so that as many processors work as there are callers.
type lane struct {
	w    *packer
	kind chunk.Kind

	mu   sync.Mutex
	open *solid // block that is being filled

	packing sync.Mutex
	pack    *packBuf // pack that is being filled; nil if none
}

// A solid is a block of small chunks that is being filled.
type solid struct {
	plain  []byte
	chunks []pack.Chunk
}

// add puts a chunk on its way. data is not kept.
func (l *lane) add(ctx context.Context, id chunk.ID, data []byte) error {
	c := pack.Chunk{ID: id, Length: uint32(len(data))}
	if len(data) >= l.w.s.soloSize() {
		return l.seal(ctx, data, []pack.Chunk{c})
	}
	full := l.gather(c, data)
	if full == nil {
		return nil
	}
	return l.sealSolid(ctx, full)
}

// gather copies a small chunk into the open block and returns the block if it
// is full.
func (l *lane) gather(c pack.Chunk, data []byte) *solid {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = &solid{plain: l.w.s.solids.Get(3 * int(l.w.s.cfg.Solid) / 2)}
	}
	l.open.plain = append(l.open.plain, data...)
	l.open.chunks = append(l.open.chunks, c)
	if len(l.open.plain) < int(l.w.s.cfg.Solid) {
		return nil
	}
	full := l.open
	l.open = nil
	return full
}

func (l *lane) sealSolid(ctx context.Context, b *solid) error {
	defer l.w.s.solids.Put(b.plain)
	return l.seal(ctx, b.plain, b.chunks)
}

// seal makes a sealed block of plain and puts it into the pack.
func (l *lane) seal(ctx context.Context, plain []byte, chunks []pack.Chunk) error {
	buf := l.w.s.buf.Get(len(plain) + seal.Overhead)
	defer l.w.s.buf.Put(buf)
	sealed, err := l.w.s.box.SealBlock(buf, plain)
	if err != nil {
		return err
	}
	return l.place(ctx, sealed, len(plain), chunks)
}

// place appends a sealed block to the pack, and sends the pack off if it is
// full. It waits while an earlier pack is still being written: that bounds
// memory.
func (l *lane) place(ctx context.Context, sealed []byte, plain int, chunks []pack.Chunk) error {
	l.packing.Lock()
	defer l.packing.Unlock()
	if l.pack == nil {
		l.pack = newPackBuf(l.w.nextHeader(l.kind), l.w.slabs)
	}
	l.pack.add(sealed, plain, chunks, l.w.slabs)
	if l.pack.size < int64(l.w.s.cfg.PackSize) && l.pack.chunks < maxPackChunks {
		return nil
	}
	full := l.pack
	l.pack = nil
	return l.w.send(ctx, full)
}

// flush sends off what is left.
func (l *lane) flush(ctx context.Context) error {
	l.mu.Lock()
	rest := l.open
	l.open = nil
	l.mu.Unlock()
	if rest != nil {
		if err := l.sealSolid(ctx, rest); err != nil {
			return err
		}
	}
	l.packing.Lock()
	defer l.packing.Unlock()
	if l.pack == nil {
		return nil
	}
	last := l.pack
	l.pack = nil
	return l.w.send(ctx, last)
}

// maxPackChunks keeps a pack of the tiniest chunks far within what a decoder of
// trailers accepts.
const maxPackChunks = pack.MaxChunks / 8

// soloSize is the size from which a chunk is a block of its own: half of a
// solid block, so that no solid block grows far beyond its target.
func (s *Store) soloSize() int { return int(s.cfg.Solid) / 2 }
