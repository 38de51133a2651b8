package index

import (
	"cmp"
	"iter"
	"slices"
)

// A Filled is a block with the chunks in it, in the order of their offsets.
type Filled struct {
	Block
	Chunks []Entry
}

// Contents yields every pack of the segment with its blocks, in the order of
// their offsets: what the entries say, sorted by place.
func (s *Segment) Contents() iter.Seq2[Pack, []Filled] {
	return func(yield func(Pack, []Filled) bool) {
		entries, starts := s.byBlock()
		blocks := s.byPack()
		for i, p := range s.Packs {
			var filled []Filled
			for _, b := range blocks[i] {
				filled = append(filled, s.fill(b, entries[starts[b]:starts[b+1]]))
			}
			if !yield(p, filled) {
				return
			}
		}
	}
}

// byBlock returns the numbers of all entries sorted by block, and where each
// block's begin.
func (s *Segment) byBlock() (entries, starts []uint32) {
	starts = make([]uint32, s.nblocks+1)
	for i := range s.nentries {
		starts[at(s.block, i)+1]++
	}
	for b := range s.nblocks {
		starts[b+1] += starts[b]
	}
	entries = make([]uint32, s.nentries)
	next := slices.Clone(starts)
	for i := range s.nentries {
		b := at(s.block, i)
		entries[next[b]] = uint32(i)
		next[b]++
	}
	return entries, starts
}

// byPack returns for each pack the numbers of its blocks.
func (s *Segment) byPack() [][]uint32 {
	blocks := make([][]uint32, len(s.Packs))
	for b := range s.nblocks {
		p := at(s.blocks, 4*b)
		blocks[p] = append(blocks[p], uint32(b))
	}
	for _, list := range blocks {
		slices.SortFunc(list, func(a, b uint32) int {
			return cmp.Compare(at(s.blocks, 4*int(a)+1), at(s.blocks, 4*int(b)+1))
		})
	}
	return blocks
}

func (s *Segment) fill(b uint32, entries []uint32) Filled {
	f := Filled{Block: s.Block(int(b)), Chunks: make([]Entry, len(entries))}
	for j, e := range entries {
		f.Chunks[j] = s.Entry(int(e))
	}
	slices.SortFunc(f.Chunks, func(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	return f
}
