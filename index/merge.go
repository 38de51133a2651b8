package index

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sort"

	"coffer/chunk"
)

// Merge makes new segments of the live packs of parts, in their order. A pack
// brings its blocks and entries into one segment and is never split; no list of
// a segment gets longer than limit unless a single pack's is.
//
// A segment has one entry for an ID, so of several copies that meet in one a
// whole copy stays before a recipe, and otherwise the first. The block of
// another stays, and is all that the index says of it from then on.
//
// It holds one part and one new segment in memory and asks for a part when it
// is done with the last. It ends with the first error: one of parts, dead packs
// that do not fit their segment, or a pack that comes twice.
func Merge(parts iter.Seq2[Part, error], limit int) iter.Seq2[*Segment, error] {
	return func(yield func(*Segment, error) bool) {
		m := merger{limit: limit, met: map[packName]struct{}{}, bases: map[recipe][]chunk.ID{}}
		for part, err := range parts {
			var src *source
			if err == nil {
				src, err = newSource(part)
			}
			if err == nil {
				err = m.meet(src)
			}
			if err != nil {
				yield(nil, fmt.Errorf("merge index segments: %w", err))
				return
			}
			for p := range src.Packs {
				if src.mask != nil && src.mask[p] {
					continue
				}
				if m.isFull(src.sizes[p]) && !m.end(yield) {
					return
				}
				m.take(src, p)
			}
		}
		if len(m.packs) > 0 {
			m.end(yield)
		}
	}
}

// A size counts rows of the columns of a segment, or what a pack has of them.
type size struct{ blocks, entries, refs int }

// A source is a part that is read pack by pack.
type source struct {
	*piece
	blocks          [][]uint32 // by pack
	entries, starts []uint32   // by block
	sizes           []size     // by pack
}

func newSource(part Part) (*source, error) {
	p, err := newPiece(part.Segment, part.Dead)
	if err != nil {
		return nil, err
	}
	s := &source{piece: p, blocks: p.byPack(), sizes: make([]size, len(p.Packs))}
	s.entries, s.starts = p.byBlock()
	for i, blocks := range s.blocks {
		s.sizes[i].blocks = len(blocks)
		for _, b := range blocks {
			s.sizes[i].entries += int(s.starts[b+1] - s.starts[b])
		}
	}
	for e := range p.Refs() {
		s.sizes[p.packOf(e)].refs++
	}
	return s, nil
}

// A packName is what names a pack's object.
type packName struct {
	generation uint64
	sid        [16]byte
	seq        uint32
}

// A recipe is a copy of a chunk in a block of the new segment.
type recipe struct {
	id    chunk.ID
	block uint32
}

// A merger has the packs for the next segment.
type merger struct {
	limit   int
	met     map[packName]struct{}
	packs   []Pack
	blocks  []Block
	entries []Entry
	bases   map[recipe][]chunk.ID
	refs    int
}

// meet remembers the packs of a source, dead ones too: a pack belongs to one
// segment.
func (m *merger) meet(src *source) error {
	for _, p := range src.Packs {
		name := packName{p.Generation, p.SID, p.Seq}
		if _, ok := m.met[name]; ok {
			return fmt.Errorf("pack %d of session %x comes twice: %w", p.Seq, p.SID, ErrDamaged)
		}
		m.met[name] = struct{}{}
	}
	return nil
}

// isFull reports whether there is no room for one more pack.
func (m *merger) isFull(next size) bool {
	return len(m.packs) > 0 && (len(m.packs) >= m.limit || len(m.blocks)+next.blocks > m.limit ||
		len(m.entries)+next.entries > m.limit || m.refs+next.refs > m.limit)
}

// take adds the p-th pack of a source.
func (m *merger) take(src *source, p int) {
	for _, b := range src.blocks[p] {
		for _, i := range src.entries[src.starts[b]:src.starts[b+1]] {
			e := src.Entry(int(i))
			e.Block = uint32(len(m.blocks))
			m.entries = append(m.entries, e)
			if bases := src.bases(i); len(bases) > 0 {
				m.bases[recipe{e.ID, e.Block}] = bases
			}
		}
		block := src.Block(int(b))
		block.Pack = uint32(len(m.packs))
		m.blocks = append(m.blocks, block)
	}
	m.packs = append(m.packs, src.Packs[p])
	m.refs += src.sizes[p].refs
}

// bases returns the chunks that the entry names if it is a recipe.
func (s *source) bases(entry uint32) (ids []chunk.ID) {
	n := len(s.refs) / refSize
	for i := sort.Search(n, func(i int) bool { return s.refEntry(i) >= entry }); i < n && s.refEntry(i) == entry; i++ {
		ids = append(ids, s.refID(i))
	}
	return ids
}

// end yields a segment of the packs that there are, and begins the next.
func (m *merger) end(yield func(*Segment, error) bool) (more bool) {
	slices.SortFunc(m.entries, func(a, b Entry) int {
		if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(form(a), form(b)), cmp.Compare(a.Block, b.Block)) // the best copy first
	})
	m.entries = slices.CompactFunc(m.entries, func(a, b Entry) bool { return a.ID == b.ID })
	var refs []ref
	for i, e := range m.entries {
		for _, id := range m.bases[recipe{e.ID, e.Block}] {
			refs = append(refs, ref{uint32(i), id})
		}
	}
	s, err := encode(m.packs, m.blocks, m.entries, refs)
	m.packs, m.blocks, m.entries, m.refs = m.packs[:0], m.blocks[:0], m.entries[:0], 0
	clear(m.bases)
	if err != nil {
		yield(nil, fmt.Errorf("merge index segments: %w", err))
		return false
	}
	return yield(s, nil)
}
