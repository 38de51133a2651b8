package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// packsInFlight is how many full packs are written at once. With the two that
// are being filled they are the largest part of the memory of a backup.
const packsInFlight = 1

// A packer writes packs and the index segments that say what is in them, all
// named with one generation and one sid. Nothing of it counts until a fate or a
// generation names the segments.
type packer struct {
	s          *Store
	id         string
	sid        pack.SID
	generation uint64

	lanes [2]lane // by laneOf
	slabs *slabPool
	seq   atomic.Uint32

	mu      sync.Mutex
	pending segmentBuilder // packs written but in no segment yet
	written []segmentRef
	pieces  int              // objects that are no packs and bear our sid
	sizes   map[string]int64 // of all objects that were written
	err     error            // first failure of a pack; all is lost
	packs   sync.WaitGroup
	slots   chan struct{} // packs being written

	stored, packCount atomic.Int64
}

// newPacker returns a packer without a sid.
func newPacker(s *Store) *packer {
	p := &packer{s: s, sizes: map[string]int64{}, slabs: newSlabPool(2 * (int(s.cfg.PackSize)/slabSize + 1)), slots: make(chan struct{}, packsInFlight)}
	p.lanes[0], p.lanes[1] = lane{w: p, kind: chunk.Data}, lane{w: p, kind: chunk.Tree}
	return p
}

// name draws a new sid for generation g.
func (p *packer) name(g uint64) (err error) {
	if p.sid, err = p.s.draw(); err != nil {
		return err
	}
	p.id, p.generation = hex.EncodeToString(p.sid[:]), g
	return nil
}

// fail remembers the first error. A chunk that others count on may be lost with
// it, so nothing can be committed any more.
func (p *packer) fail(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	return err
}

func (p *packer) nextHeader(k chunk.Kind) pack.Header {
	return pack.Header{Kind: k, SID: p.sid, Seq: p.seq.Add(1)}
}

// send writes a full pack while the caller goes on. It waits for a place.
func (p *packer) send(ctx context.Context, b *packBuf) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.packs.Add(1)
	go func() {
		defer p.packs.Done()
		defer func() { <-p.slots }()
		if err := p.putPack(ctx, b); err != nil {
			_ = p.fail(err) // Flush returns it
		}
	}()
	return nil
}

func (p *packer) putPack(ctx context.Context, b *packBuf) error {
	if err := b.finish(p.s.box, p.slabs); err != nil {
		return err
	}
	ref := index.Pack{Generation: p.generation, SID: p.sid, Seq: b.header.Seq, Kind: b.header.Kind, Size: uint64(b.size)}
	if err := p.s.bucket.Put(ctx, packName(ref), b.reader(), b.size); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	p.stored.Add(b.size)
	p.packCount.Add(1)
	p.slabs.put(b.slabs)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes[packName(ref)] = b.size
	p.pending.add(ref, b.blocks)
	return nil
}

// Flush makes everything that was saved durable, short of what makes it count.
func (p *packer) Flush(ctx context.Context) error {
	for i := range p.lanes {
		if err := p.lanes[i].flush(ctx); err != nil {
			return p.fail(err)
		}
	}
	p.packs.Wait()
	if err := p.failed(); err != nil {
		return err
	}
	return p.putSegment(ctx)
}

// landed sees that everything that was written is there, whole, before what it
// was copied from is given up: some stores say yes and lose it.
func (p *packer) landed(ctx context.Context) error {
	for _, kind := range []string{"packs", "index", "catalogue"} {
		for info, err := range p.s.bucket.List(ctx, fmt.Sprintf("%s/%010d/%s-", kind, p.generation, p.id), "") {
			if err != nil {
				return fmt.Errorf("see what was written: %w", err)
			}
			if p.sizes[info.Name] == info.Size {
				delete(p.sizes, info.Name)
			}
		}
	}
	for name, size := range p.sizes {
		return fmt.Errorf("%s was written with %d bytes and is not there, or not whole; %w", name, size, errListing)
	}
	return nil
}

func (p *packer) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
