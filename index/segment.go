// Package index says where in the packs a chunk is. Immutable segments are the
// truth; they are sorted by ID, so that one is searched as it lies in memory.
// A Table is a local cache of many segments, a View the sum of both. A prune
// condemns packs without touching segments: beside a segment stands then the
// list of its dead packs, whose entries nobody finds. Merge makes few segments
// of many and leaves out what is dead.
//
// A segment's plain bytes, numbers little-endian, columns one after another:
//
//	"COFSEG1\n" | packs u32 | blocks u32 | entries u32 | refs u32
//	packs:   generation u64 | sid 16 | seq u32 | kind u8 | 0 u24 | size u64     (40 each)
//	blocks:  pack u32 | offset u32 | sealed length u32 | plain length u32       (16 each)
//	fan-out: for each first byte of an ID, how many entries sort up to it       (256 x u32)
//	entries: all IDs (32 each, ascending) | all block numbers u32 | all offsets
//	         in the plain block u32 | all lengths<<1 + form u32
//	refs:    entry u32, ascending | ID 32: the chunks that a recipe names       (36 each)
package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"coffer/chunk"
)

// ErrDamaged is wrapped by every error of bytes that are not a segment.
var ErrDamaged = errors.New("damaged index segment")

const (
	magic      = "COFSEG1\n"
	headSize   = len(magic) + 16
	packSize   = 40
	blockSize  = 16
	fanSize    = 256 * 4
	entrySize  = chunk.IDSize + 12
	refSize    = 4 + chunk.IDSize
	maxEntries = 1 << 26

	// MaxSegment bounds the plain size of a segment that a reader accepts.
	MaxSegment = 1 << 30
)

// A Pack names a pack and says how large it is. Together its first three
// fields are the name of its object.
type Pack struct {
	Generation uint64
	SID        [16]byte
	Seq        uint32
	Kind       chunk.Kind
	Size       uint64
}

// A Block is a sealed block in one of a segment's packs.
type Block struct {
	Pack   uint32 // position in the segment's list of packs
	Offset uint32
	Sealed uint32
	Plain  uint32
}

// An Entry is one chunk in one of a segment's blocks.
type Entry struct {
	ID     chunk.ID
	Block  uint32 // position in the segment's list of blocks
	Offset uint32 // in the plain block
	Length uint32
	Recipe bool
}

// A Place is where a chunk is, all of it.
type Place struct {
	Pack        Pack
	BlockOffset uint32
	BlockSealed uint32
	BlockPlain  uint32
	Offset      uint32
	Length      uint32
	Recipe      bool
}

// A ref says that the recipe which is the entry-th entry names a chunk.
type ref struct {
	entry uint32
	id    chunk.ID
}

// Encode returns the segment's bytes. It sorts entries; two entries of one ID
// are an error.
func Encode(packs []Pack, blocks []Block, entries []Entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	s, err := encode(packs, blocks, entries, nil)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// encode returns the segment of sorted entries and refs.
func encode(packs []Pack, blocks []Block, entries []Entry, refs []ref) (*Segment, error) {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Length > math.MaxInt32 }); i >= 0 {
		return nil, fmt.Errorf("encode index segment: a chunk of %d bytes: %w", entries[i].Length, ErrDamaged)
	}
	b := make([]byte, 0, headSize+len(packs)*packSize+len(blocks)*blockSize+fanSize+len(entries)*entrySize+len(refs)*refSize)
	b = append(b, magic...)
	for _, n := range []int{len(packs), len(blocks), len(entries), len(refs)} {
		b = u32(b, uint32(n))
	}
	for _, p := range packs {
		b = appendPack(b, p)
	}
	for _, k := range blocks {
		b = u32(u32(u32(u32(b, k.Pack), k.Offset), k.Sealed), k.Plain)
	}
	b = appendEntries(b, entries)
	for _, r := range refs {
		b = append(u32(b, r.entry), r.id[:]...)
	}
	s, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("encode index segment: %w", err)
	}
	return s, nil
}

func u32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

func appendPack(b []byte, p Pack) []byte {
	b = binary.LittleEndian.AppendUint64(b, p.Generation)
	b = append(b, p.SID[:]...)
	b = u32(b, p.Seq)
	b = append(b, byte(p.Kind), 0, 0, 0)
	return binary.LittleEndian.AppendUint64(b, p.Size)
}

func appendEntries(b []byte, entries []Entry) []byte {
	var fan [256]uint32
	for _, e := range entries {
		fan[e.ID[0]]++
	}
	sum := uint32(0)
	for _, n := range fan {
		sum += n
		b = u32(b, sum)
	}
	for _, e := range entries {
		b = append(b, e.ID[:]...)
	}
	for _, e := range entries {
		b = u32(b, e.Block)
	}
	for _, e := range entries {
		b = u32(b, e.Offset)
	}
	for _, e := range entries {
		b = u32(b, e.Length<<1|form(e))
	}
	return b
}

// form is 1 for a recipe.
func form(e Entry) uint32 {
	if e.Recipe {
		return 1
	}
	return 0
}

// A Segment is a decoded segment: its bytes, and where the columns begin.
type Segment struct {
	Packs                   []Pack
	all                     []byte
	blocks, fan, ids, block []byte
	offset, length, refs    []byte
	nblocks, nentries       int
}

// Decode checks b and returns it as a Segment, which keeps b.
func Decode(b []byte) (*Segment, error) {
	if len(b) < headSize || len(b) > MaxSegment || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%d bytes without its magic: %w", len(b), ErrDamaged)
	}
	n := func(i int) int { return int(binary.LittleEndian.Uint32(b[len(magic)+4*i:])) }
	np, nb, ne, nr := n(0), n(1), n(2), n(3)
	want := headSize + np*packSize + nb*blockSize + fanSize + ne*entrySize + nr*refSize
	if ne > maxEntries || want != len(b) {
		return nil, fmt.Errorf("%d bytes where its counts need %d: %w", len(b), want, ErrDamaged)
	}
	s := &Segment{all: b, nblocks: nb, nentries: ne}
	rest := b[headSize:]
	take := func(n int) (part []byte) { part, rest = rest[:n:n], rest[n:]; return part }
	s.setPacks(take(np * packSize))
	s.blocks, s.fan = take(nb*blockSize), take(fanSize)
	s.ids, s.block = take(ne*chunk.IDSize), take(ne*4)
	s.offset, s.length, s.refs = take(ne*4), take(ne*4), take(nr*refSize)
	return s, s.check()
}

func (s *Segment) setPacks(b []byte) {
	s.Packs = make([]Pack, len(b)/packSize)
	for i := range s.Packs {
		p := b[i*packSize:]
		q := Pack{Generation: binary.LittleEndian.Uint64(p), Seq: at(p, 6), Kind: chunk.Kind(p[28]),
			Size: binary.LittleEndian.Uint64(p[32:])}
		copy(q.SID[:], p[8:])
		s.Packs[i] = q
	}
}

// at reads the i-th u32 of b.
func at(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

// check sees that every number stays within what it points at, so that look-ups
// need no checks.
func (s *Segment) check() error {
	for i := range s.nblocks {
		if int(at(s.blocks, 4*i)) >= len(s.Packs) {
			return fmt.Errorf("block %d: no such pack: %w", i, ErrDamaged)
		}
	}
	prev := uint32(0)
	for i := range 256 {
		if f := at(s.fan, i); f < prev || int(f) > s.nentries {
			return fmt.Errorf("fan-out: %w", ErrDamaged)
		}
		prev = at(s.fan, i)
	}
	if int(prev) != s.nentries {
		return fmt.Errorf("fan-out: %w", ErrDamaged)
	}
	if err := s.checkEntries(); err != nil {
		return err
	}
	return s.checkRefs()
}

func (s *Segment) checkEntries() error {
	for i := range s.nentries {
		if i > 0 && bytes.Compare(s.id(i-1), s.id(i)) >= 0 {
			return fmt.Errorf("entry %d is out of order: %w", i, ErrDamaged)
		}
		lo, hi := s.bucket(s.id(i)[0])
		if i < lo || i >= hi || int(at(s.block, i)) >= s.nblocks {
			return fmt.Errorf("entry %d: %w", i, ErrDamaged)
		}
		plain := at(s.blocks, 4*int(at(s.block, i))+3)
		if uint64(at(s.offset, i))+uint64(at(s.length, i)>>1) > uint64(plain) {
			return fmt.Errorf("entry %d ends behind its block: %w", i, ErrDamaged)
		}
	}
	return nil
}

// checkRefs sees that refs are sorted and belong to recipes.
func (s *Segment) checkRefs() error {
	prev := uint32(0)
	for i := range len(s.refs) / refSize {
		e := s.refEntry(i)
		if e < prev || int(e) >= s.nentries || at(s.length, int(e))&1 == 0 {
			return fmt.Errorf("ref %d: %w", i, ErrDamaged)
		}
		prev = e
	}
	return nil
}

func (s *Segment) id(i int) []byte { return s.ids[i*chunk.IDSize : (i+1)*chunk.IDSize] }

// bucket returns the range of entries whose first byte is c.
func (s *Segment) bucket(c byte) (lo, hi int) {
	if c > 0 {
		lo = int(at(s.fan, int(c)-1))
	}
	return lo, int(at(s.fan, int(c)))
}

// Len returns the number of entries.
func (s *Segment) Len() int { return s.nentries }

// Bytes returns what Decode was given.
func (s *Segment) Bytes() []byte { return s.all }

// Lookup returns the place of a chunk.
func (s *Segment) Lookup(id chunk.ID) (Place, bool) { return s.lookup(id, nil) }

// lookup leaves out the packs that the mask, if there is one, says are dead.
// The search stands here and not in a function of its own: a view asks many
// segments that do not have the chunk.
func (s *Segment) lookup(id chunk.ID, dead []bool) (Place, bool) {
	lo, hi := s.bucket(id[0])
	i := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(s.id(lo+i), id[:]) >= 0 })
	if i == hi || !bytes.Equal(s.id(i), id[:]) || dead != nil && dead[s.packOf(i)] {
		return Place{}, false
	}
	return s.place(i), true
}

func (s *Segment) place(i int) Place {
	k := 4 * int(at(s.block, i))
	length := at(s.length, i)
	return Place{Pack: s.Packs[at(s.blocks, k)], BlockOffset: at(s.blocks, k+1), BlockSealed: at(s.blocks, k+2),
		BlockPlain: at(s.blocks, k+3), Offset: at(s.offset, i), Length: length >> 1, Recipe: length&1 == 1}
}
