package chunk

import "github.com/restic/chunker"

// A position ends a chunk if the Rabin fingerprint of the 64 bytes before it
// has its lowest bits clear. restic/chunker clears its window at each boundary
// and then skips Min-64 bytes, so when it first looks, the window is full of
// the stream's own bytes: whether a position can end a chunk depends on those
// 64 bytes alone, not on where the chunk began.
//
// Each step of the fingerprint waits for a table look-up that depends on the
// step before, so a core that follows one window idles most of the time. Four
// windows side by side are three times as fast (500 -> 1550 MB/s), six no
// faster. The lanes only say which blocks hold no boundary; where one does,
// restic/chunker says where.
const (
	window = 64
	lanes  = 4
	stride = 4 << 10 // long enough to hide warming up, short enough to search twice
	block  = lanes * stride
)

// A finder finds boundaries. It does not change and may be shared.
type finder struct {
	min, max int
	mask     uint64
	exact    chunker.BaseChunker // only ever copied
	out, mod [256]uint64         // as restic/chunker's tables of the same names
}

func newFinder(p Params) *finder {
	pol := chunker.Pol(p.Polynomial)
	f := &finder{min: int(p.Min), max: int(p.Max), mask: 1<<p.Bits - 1}
	f.exact = *chunker.NewBase(pol, chunker.WithBaseBoundaries(window+1, maxLimit), chunker.WithBaseAverageBits(p.Bits))
	for b := range chunker.Pol(256) {
		f.mod[b] = uint64((b << degree).Mod(pol) | b<<degree)
		leaving := b.Mod(pol)
		for range window - 1 {
			leaving = (leaving << 8).Mod(pol)
		}
		f.out[b] = uint64(leaving)
	}
	return f
}

// find returns the first boundary in buf after position from, or 0 and a
// position up to which there is none. Only if final is set does it search the
// last bytes of buf that do not fill a block.
func (f *finder) find(buf []byte, from int, final bool) (boundary, next int) {
	for len(buf)-from >= block {
		if f.mayEnd((*[window + block]byte)(buf[from-window:])) {
			if n := f.locate(buf[from-window : from+block]); n > 0 {
				return from - window + n, 0
			}
		}
		from += block
	}
	if !final || len(buf) <= from {
		return 0, from
	}
	if n := f.locate(buf[from-window:]); n > 0 {
		return from - window + n, 0
	}
	return 0, len(buf)
}

// locate returns the first boundary in b beyond its first window, or -1.
func (f *finder) locate(b []byte) int {
	exact := f.exact
	return exact.NextSplitPoint(b)
}

// mayEnd reports whether a chunk can end in b beyond its first window.
func (f *finder) mayEnd(b *[window + block]byte) bool {
	d0, d1 := f.warm(b[:window]), f.warm(b[stride:stride+window])
	d2, d3 := f.warm(b[2*stride:2*stride+window]), f.warm(b[3*stride:3*stride+window])
	for i := range stride {
		d0 = f.slide(d0, b[i], b[i+window])
		d1 = f.slide(d1, b[i+stride], b[i+stride+window])
		d2 = f.slide(d2, b[i+2*stride], b[i+2*stride+window])
		d3 = f.slide(d3, b[i+3*stride], b[i+3*stride+window])
		if d0&f.mask == 0 || d1&f.mask == 0 || d2&f.mask == 0 || d3&f.mask == 0 {
			return true
		}
	}
	return false
}

// warm returns the fingerprint of a window.
func (f *finder) warm(w []byte) (digest uint64) {
	for _, in := range w {
		digest = f.slide(digest, 0, in)
	}
	return digest
}

// slide moves the window on by a byte.
func (f *finder) slide(digest uint64, out, in byte) uint64 {
	digest ^= f.out[out]
	return (digest<<8 | uint64(in)) ^ f.mod[uint8(digest>>(degree-8))]
}
