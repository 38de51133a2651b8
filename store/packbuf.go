package store

import (
	"errors"
	"io"

	"github.com/zeebo/blake3"

	"coffer/chunk"
	"coffer/seal"
	"coffer/store/pack"
)

// slabSize is how a pack grows in memory: without copying, and without 32 MiB
// for a backup that has only a few new kilobytes.
const slabSize = 1 << 20

// A packBuf is a pack on its way: its bytes in slabs, and what is in it.
type packBuf struct {
	header pack.Header
	slabs  [][]byte
	size   int64
	blocks []pack.Block
	hash   *blake3.Hasher // of all bytes so far: by whoever brings them, while they are in his processor's cache
	chunks int
}

// newPackBuf begins a pack, taking slabs from pool.
func newPackBuf(h pack.Header, pool *slabPool) *packBuf {
	p := &packBuf{header: h, hash: blake3.New()}
	p.append(pack.AppendHeader(nil, h), pool)
	return p
}

// append copies b to the end.
func (p *packBuf) append(b []byte, pool *slabPool) {
	p.size += int64(len(b))
	_, _ = p.hash.Write(b) // a hash never fails
	for len(b) > 0 {
		n := len(p.slabs)
		if n == 0 || len(p.slabs[n-1]) == slabSize {
			p.slabs = append(p.slabs, pool.get())
			n++
		}
		last := p.slabs[n-1]
		k := copy(last[len(last):slabSize], b)
		p.slabs[n-1], b = last[:len(last)+k], b[k:]
	}
}

// add appends a sealed block that holds chunks.
func (p *packBuf) add(sealed []byte, plain int, chunks []pack.Chunk, pool *slabPool) {
	p.append(sealed, pool)
	p.blocks = append(p.blocks, pack.Block{Sealed: uint32(len(sealed)), Plain: uint32(plain), Chunks: chunks})
	p.chunks += len(chunks)
}

// finish appends the trailer and the footer.
func (p *packBuf) finish(box *seal.Box, pool *slabPool) error {
	trailer, err := box.SealRecord(trailerName(p.header), pack.EncodeTrailer(p.blocks))
	if err != nil {
		return err
	}
	at := p.size
	p.append(trailer, pool)
	p.append(pack.AppendFooterHead(nil, at, int64(len(trailer))), pool)
	p.append(p.hash.Sum(nil), pool)
	return nil
}

// A slabPool keeps slabs for the next pack. Its size is bounded by the number
// of packs that are under way at once.
type slabPool struct{ free chan []byte }

func newSlabPool(n int) *slabPool { return &slabPool{free: make(chan []byte, n)} }

func (p *slabPool) get() []byte {
	select {
	case b := <-p.free:
		return b[:0]
	default:
		return make([]byte, 0, slabSize)
	}
}

func (p *slabPool) put(slabs [][]byte) {
	for _, b := range slabs {
		select {
		case p.free <- b:
		default:
		}
	}
}

// reader returns the pack's bytes for a Put.
func (p *packBuf) reader() io.ReadSeeker { return &slabReader{slabs: p.slabs, size: p.size} }

// A slabReader reads slabs as one object.
type slabReader struct {
	slabs [][]byte
	size  int64
	at    int64
}

func (r *slabReader) Read(b []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	s := r.slabs[r.at/slabSize]
	n := copy(b, s[r.at%slabSize:])
	r.at += int64(n)
	return n, nil
}

// WriteTo hands over whole slabs.
func (r *slabReader) WriteTo(w io.Writer) (int64, error) {
	start := r.at
	for r.at < r.size {
		n, err := w.Write(r.slabs[r.at/slabSize][r.at%slabSize:])
		r.at += int64(n)
		if err != nil {
			return r.at - start, err
		}
	}
	return r.at - start, nil
}

func (r *slabReader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.at
	case io.SeekEnd:
		off += r.size
	}
	if off < 0 {
		return 0, errors.New("seek before the beginning")
	}
	r.at = off
	return off, nil
}

// kinds in the order of their lanes.
func laneOf(k chunk.Kind) int {
	if k == chunk.Tree {
		return 1
	}
	return 0
}
