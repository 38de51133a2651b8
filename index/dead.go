package index

import (
	"fmt"

	"github.com/zeebo/blake3"
)

// A Want names a segment together with its dead packs: positions in
// Segment.Packs, ascending. With another list it is another want.
type Want struct {
	Name string
	Dead []uint32
}

// A Part is a segment with its dead packs, as in a Want.
type Part struct {
	Segment *Segment
	Dead    []uint32
}

// A piece is a segment of which some packs are dead.
type piece struct {
	*Segment
	dead []uint32
	mask []bool // by pack; nil: none is dead
}

// newPiece keeps dead.
func newPiece(s *Segment, dead []uint32) (*piece, error) {
	p := &piece{Segment: s, dead: dead}
	if len(dead) > 0 {
		p.mask = make([]bool, len(s.Packs))
	}
	for i, d := range dead {
		if int(d) >= len(s.Packs) || i > 0 && d <= dead[i-1] {
			return nil, fmt.Errorf("dead pack %d of a segment with %d: %w", d, len(s.Packs), ErrDamaged)
		}
		p.mask[d] = true
	}
	return p, nil
}

// isDead reports whether the i-th entry is in a dead pack.
func (p *piece) isDead(i int) bool { return p.mask != nil && p.mask[p.packOf(i)] }

// deadSum tells lists of dead packs apart; that of no packs is empty.
func deadSum(dead []uint32) string {
	if len(dead) == 0 {
		return ""
	}
	var b []byte
	for _, d := range dead {
		b = u32(b, d)
	}
	sum := blake3.Sum256(b)
	return string(sum[:])
}
