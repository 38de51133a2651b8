package index

import (
	"encoding/binary"

	"coffer/chunk"
)

// A memory holds segments as they are. A few are searched one after another;
// where many small backups left many small segments, a directory says which one
// has a chunk. What is in dead packs is not in the directory, so that it hides
// nothing.
type memory struct {
	segs    map[string]*piece
	order   []*Segment
	masks   [][]bool // of dead packs, in the same order
	entries int
	dir     map[uint64]slot // nil while the segments are few
}

// fewSegments is how many are searched without a directory: about as long as
// one look into it takes.
const fewSegments = 8

// A slot is an entry of a segment in memory.
type slot struct{ seg, entry uint32 }

// contested marks, as a segment's number, a prefix that several IDs share.
// Nobody meets one but who looks for it; then all segments are searched.
const contested = ^uint32(0)

func newMemory() memory { return memory{segs: map[string]*piece{}} }

func (m *memory) add(name string, s *piece) {
	m.segs[name] = s
	m.order = append(m.order, s.Segment)
	m.masks = append(m.masks, s.mask)
	m.entries += s.Len()
	switch {
	case m.dir != nil:
		m.enter(len(m.order) - 1)
	case len(m.order) > fewSegments:
		m.dir = make(map[uint64]slot, m.entries)
		for i := range m.order {
			m.enter(i)
		}
	}
}

// enter puts the live entries of a segment into the directory.
func (m *memory) enter(seg int) {
	dead := m.masks[seg]
	for i := range m.order[seg].nentries {
		if dead != nil && dead[m.order[seg].packOf(i)] {
			continue
		}
		mine := slot{uint32(seg), uint32(i)}
		id := m.order[seg].id(i)
		key := binary.LittleEndian.Uint64(id)
		old, taken := m.dir[key]
		switch {
		case taken && old.seg == contested:
		case taken && string(m.id(old)) != string(id):
			m.dir[key] = slot{seg: contested}
		case !taken || m.place(old).Recipe:
			m.dir[key] = mine
		}
	}
}

func (m *memory) id(s slot) []byte   { return m.order[s.seg].id(int(s.entry)) }
func (m *memory) place(s slot) Place { return m.order[s.seg].place(int(s.entry)) }

// without returns a memory of the segments that gone does not name.
func (m *memory) without(gone map[string]held) memory {
	rest := newMemory()
	for name, s := range m.segs {
		if _, ok := gone[name]; !ok {
			rest.add(name, s)
		}
	}
	return rest
}

// lookup returns the place of a chunk. A whole copy wins over a recipe.
func (m *memory) lookup(id chunk.ID) (best Place, found bool) {
	if m.dir != nil {
		s, ok := m.dir[binary.LittleEndian.Uint64(id[:])]
		if !ok {
			return best, false
		}
		if s.seg != contested {
			if string(m.id(s)) != string(id[:]) {
				return best, false
			}
			return m.place(s), true
		}
	}
	for i, s := range m.order {
		if p, ok := s.lookup(id, m.masks[i]); ok && (!found || best.Recipe) {
			best, found = p, true
			if !p.Recipe {
				break
			}
		}
	}
	return best, found
}
