package index

import (
	"encoding/binary"
	"iter"

	"coffer/chunk"
)

// All yields every chunk and its place, in ascending order of IDs.
func (s *Segment) All() iter.Seq2[chunk.ID, Place] {
	return func(yield func(chunk.ID, Place) bool) {
		for i := range s.nentries {
			if !yield(chunk.ID(s.id(i)), s.place(i)) {
				return
			}
		}
	}
}

// Entries yields every entry with its position, in ascending order of IDs.
// Nothing is allocated: it is made for going through all of a repository.
func (s *Segment) Entries() iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for i := range s.nentries {
			if !yield(i, s.Entry(i)) {
				return
			}
		}
	}
}

// Entry returns the i-th entry.
func (s *Segment) Entry(i int) Entry {
	length := at(s.length, i)
	return Entry{ID: chunk.ID(s.id(i)), Block: at(s.block, i), Offset: at(s.offset, i), Length: length >> 1, Recipe: length&1 == 1}
}

// Blocks yields every block with its position, those without entries too.
func (s *Segment) Blocks() iter.Seq2[int, Block] {
	return func(yield func(int, Block) bool) {
		for i := range s.nblocks {
			if !yield(i, s.Block(i)) {
				return
			}
		}
	}
}

// Block returns the i-th block.
func (s *Segment) Block(i int) Block {
	b := s.blocks[i*blockSize : (i+1)*blockSize]
	return Block{Pack: at(b, 0), Offset: at(b, 1), Sealed: at(b, 2), Plain: at(b, 3)}
}

// packOf returns the position of the pack that the i-th entry is in.
func (s *Segment) packOf(i int) uint32 { return at(s.blocks, 4*int(at(s.block, i))) }

// Refs yields the position of each recipe's entry with a chunk that it names,
// as often as it names chunks, in ascending order of entries.
func (s *Segment) Refs() iter.Seq2[int, chunk.ID] {
	return func(yield func(int, chunk.ID) bool) {
		for i := range len(s.refs) / refSize {
			if !yield(int(s.refEntry(i)), s.refID(i)) {
				return
			}
		}
	}
}

func (s *Segment) refEntry(i int) uint32 { return binary.LittleEndian.Uint32(s.refs[i*refSize:]) }

func (s *Segment) refID(i int) chunk.ID { return chunk.ID(s.refs[i*refSize+4 : (i+1)*refSize]) }
