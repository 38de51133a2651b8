package index_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/index"
)

// A made is a segment that was made up, and what it says.
type made struct {
	data   []byte
	places map[chunk.ID]index.Place
	bases  map[chunk.ID][]chunk.ID // what recipes name
	dead   []uint32
}

// live returns the places that are not in dead packs.
func (m made) live() map[chunk.ID]index.Place {
	s, _ := index.Decode(m.data)
	out := maps.Clone(m.places)
	maps.DeleteFunc(out, func(_ chunk.ID, p index.Place) bool {
		return slices.ContainsFunc(m.dead, func(d uint32) bool { return s.Packs[d] == p.Pack })
	})
	return out
}

// maker makes segments whose packs are never the same.
type maker struct {
	rnd  *rand.Rand
	next uint32
}

func newMaker(seed uint64) *maker { return &maker{rnd: rand.New(rand.NewPCG(seed, 0))} }

func (m *maker) id() chunk.ID {
	var id chunk.ID
	for i := range id {
		id[i] = byte(m.rnd.Uint32())
	}
	return id
}

// make puts ids and n more into packs of a few blocks each.
func (m *maker) make(t testing.TB, n int, recipe bool, ids ...chunk.ID) made {
	t.Helper()
	for range n {
		ids = append(ids, m.id())
	}
	out := made{places: map[chunk.ID]index.Place{}, bases: map[chunk.ID][]chunk.ID{}}
	var packs []index.Pack
	var blocks []index.Block
	var entries []index.Entry
	for i, id := range ids {
		if i%50 == 0 {
			m.next++
			packs = append(packs, index.Pack{Generation: uint64(m.next), SID: [16]byte{byte(m.next)}, Seq: m.next, Kind: chunk.Data, Size: 1 << 20})
		}
		if i%10 == 0 {
			blocks = append(blocks, index.Block{Pack: uint32(len(packs) - 1), Offset: uint32(i * 100), Sealed: 100, Plain: 1000})
		}
		e := index.Entry{ID: id, Block: uint32(len(blocks) - 1), Offset: uint32(i % 10 * 100), Length: uint32(m.rnd.IntN(100)), Recipe: recipe}
		entries = append(entries, e)
		for range m.rnd.IntN(3) {
			if recipe {
				out.bases[id] = append(out.bases[id], ids[m.rnd.IntN(len(ids))])
			}
		}
		b := blocks[e.Block]
		out.places[id] = index.Place{Pack: packs[b.Pack], BlockOffset: b.Offset, BlockSealed: b.Sealed, BlockPlain: b.Plain,
			Offset: e.Offset, Length: e.Length, Recipe: recipe}
	}
	m.rnd.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	var err error
	if out.data, err = index.EncodeRefs(packs, blocks, entries, out.bases); err != nil {
		t.Fatal(err)
	}
	return out
}

// bases returns what the recipes of a segment name.
func bases(s *index.Segment) map[chunk.ID][]chunk.ID {
	out := map[chunk.ID][]chunk.ID{}
	for i, id := range s.Refs() {
		of := s.Entry(i).ID
		out[of] = append(out[of], id)
	}
	return out
}

func decode(t testing.TB, data []byte) *index.Segment {
	t.Helper()
	s, err := index.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSegmentRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 5000} {
		m := newMaker(uint64(n))
		want := m.make(t, n, n%2 == 1)
		s := decode(t, want.data)
		if s.Len() != n {
			t.Errorf("%d entries, not %d", s.Len(), n)
		}
		for id, p := range want.places {
			if got, ok := s.Lookup(id); !ok || got != p {
				t.Fatalf("%d: %s is at %+v, %v; want %+v", n, id.Short(), got, ok, p)
			}
		}
		for range 1000 {
			if p, ok := s.Lookup(m.id()); ok {
				t.Fatalf("%d: found what is not there: %+v", n, p)
			}
		}
		if got := maps.Collect(s.All()); !maps.Equal(got, want.places) {
			t.Errorf("%d: All differs", n)
		}
		if !bytes.Equal(s.Bytes(), want.data) {
			t.Errorf("%d: Bytes differs", n)
		}
		if got := bases(s); !maps.EqualFunc(got, want.bases, slices.Equal) {
			t.Errorf("%d: Refs differs", n)
		}
	}
}

// TestSegmentNeighbours looks up IDs that differ in one bit from one that is
// there, at the borders of the fan-out too.
func TestSegmentNeighbours(t *testing.T) {
	m := newMaker(1)
	ids := []chunk.ID{{}, {0: 0xff}, {0: 0x7f, 31: 1}, {0: 0x80}}
	for i := range ids[1] {
		ids[1][i] = 0xff
	}
	want := m.make(t, 100, false, ids...)
	s := decode(t, want.data)
	for id := range want.places {
		for bit := range 256 {
			near := id
			near[bit/8] ^= 1 << (bit % 8)
			got, ok := s.Lookup(near)
			if p, there := want.places[near]; ok != there || got != p {
				t.Fatalf("%s: %v", near, ok)
			}
		}
	}
}

func TestContents(t *testing.T) {
	want := newMaker(2).make(t, 333, false)
	s := decode(t, want.data)
	got := map[chunk.ID]index.Place{}
	packs := 0
	for p, blocks := range s.Contents() {
		packs++
		last := int64(-1)
		for _, b := range blocks {
			if int64(b.Offset) <= last {
				t.Error("blocks are not in order")
			}
			last = int64(b.Offset)
			if !slices.IsSortedFunc(b.Chunks, func(x, y index.Entry) int { return int(x.Offset) - int(y.Offset) }) {
				t.Error("chunks are not in order")
			}
			for _, e := range b.Chunks {
				got[e.ID] = index.Place{Pack: p, BlockOffset: b.Offset, BlockSealed: b.Sealed, BlockPlain: b.Plain,
					Offset: e.Offset, Length: e.Length, Recipe: e.Recipe}
			}
		}
	}
	if packs != len(s.Packs) || !maps.Equal(got, want.places) {
		t.Errorf("%d packs with %d chunks; want %d with %d", packs, len(got), len(s.Packs), len(want.places))
	}
}

// TestEntriesAndBlocks puts together again what All says.
func TestEntriesAndBlocks(t *testing.T) {
	want := newMaker(5).make(t, 333, true)
	s := decode(t, want.data)
	var blocks []index.Block
	for i, b := range s.Blocks() {
		if i != len(blocks) || b != s.Block(i) {
			t.Fatalf("block %d of %d is not its number", i, len(blocks))
		}
		blocks = append(blocks, b)
	}
	if len(blocks) != 34 {
		t.Errorf("%d blocks", len(blocks))
	}
	got, next := map[chunk.ID]index.Place{}, 0
	for i, e := range s.Entries() {
		if i != next || e != s.Entry(i) {
			t.Fatalf("entry %d of %d is not its number", i, next)
		}
		next++
		b := blocks[e.Block]
		got[e.ID] = index.Place{Pack: s.Packs[b.Pack], BlockOffset: b.Offset, BlockSealed: b.Sealed, BlockPlain: b.Plain,
			Offset: e.Offset, Length: e.Length, Recipe: e.Recipe}
	}
	if !maps.Equal(got, want.places) {
		t.Error("Entries and Blocks differ from what was encoded")
	}
	if n := testing.AllocsPerRun(10, func() { sum(s) }); n > 0 {
		t.Errorf("%v allocations to go through all", n)
	}
}

// sum uses all that a prune does of a segment.
func sum(s *index.Segment) (n uint64) {
	for _, e := range s.Entries() {
		n += uint64(e.ID[0]) + uint64(s.Block(int(e.Block)).Pack) + uint64(e.Length)
	}
	for i, id := range s.Refs() {
		n += uint64(i) + uint64(id[0])
	}
	return n
}

// TestDecodeRefusesRefs: of what is no recipe, of what is not there, out of order.
func TestDecodeRefusesRefs(t *testing.T) {
	m := newMaker(6)
	recipes := m.make(t, 40, true)
	head, ref := 8+16, 4+chunk.IDSize
	first := len(recipes.data) - ref*int(binary.LittleEndian.Uint32(recipes.data[head-4:]))
	change := func(at int, to uint32) []byte {
		out := bytes.Clone(recipes.data)
		binary.LittleEndian.PutUint32(out[at:], to)
		return out
	}
	whole := m.make(t, 40, false).data
	whole = append(whole, recipes.data[first:first+ref]...)
	binary.LittleEndian.PutUint32(whole[head-4:], 1)
	for name, data := range map[string][]byte{
		"of no recipe": whole, "of what is not there": change(len(recipes.data)-ref, 40), "out of order": change(first, 39),
	} {
		if _, err := index.Decode(data); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	packs, blocks := []index.Pack{{Kind: chunk.Data}}, []index.Block{{Plain: 10}}
	for name, c := range map[string]struct {
		blocks  []index.Block
		entries []index.Entry
	}{
		"twice the same":  {blocks, []index.Entry{{ID: chunk.ID{1}}, {ID: chunk.ID{1}, Offset: 5}}},
		"no such pack":    {[]index.Block{{Pack: 1}}, nil},
		"no such block":   {blocks, []index.Entry{{Block: 1}}},
		"behind a block":  {blocks, []index.Entry{{Offset: 5, Length: 6}}},
		"length too wide": {blocks, []index.Entry{{Length: 1 << 31}}},
	} {
		if _, err := index.Encode(packs, c.blocks, c.entries); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSegmentDamage changes every byte of a small segment, in several ways, and
// cuts it at every length. Decode refuses, or what it returns can be used: the
// seal around a segment finds what it cannot.
func TestSegmentDamage(t *testing.T) {
	want := newMaker(3).make(t, 40, true)
	for i := range want.data {
		for _, mask := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(want.data)
			bad[i] ^= mask
			use(t, bad, want)
		}
		if _, err := index.Decode(want.data[:i]); !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := index.Decode(append(bytes.Clone(want.data), 0)); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
}

// use decodes a segment and calls everything it has.
func use(t testing.TB, data []byte, want made) {
	t.Helper()
	s, err := index.Decode(data)
	if err != nil {
		if !errors.Is(err, index.ErrDamaged) {
			t.Fatal(err)
		}
		return
	}
	for id := range want.places {
		s.Lookup(id)
	}
	n := 0
	for id, p := range s.All() {
		n++
		if got, ok := s.Lookup(id); !ok || got != p {
			t.Fatalf("an entry of All is not found: %s", id)
		}
		if uint64(p.Offset)+uint64(p.Length) > uint64(p.BlockPlain) {
			t.Fatalf("an entry ends behind its block: %+v", p)
		}
	}
	for _, blocks := range s.Contents() {
		for _, b := range blocks {
			n -= len(b.Chunks)
		}
	}
	sum(s)
	if n > 0 {
		t.Fatalf("Contents leaves out %d entries", n)
	}
	useMerge(t, s)
}

// useMerge merges what Decode let through, without its first pack. Only a pack
// that comes twice is refused.
func useMerge(t testing.TB, s *index.Segment) {
	t.Helper()
	p := index.Part{Segment: s}
	if len(s.Packs) > 1 {
		p.Dead = []uint32{0}
	}
	met := map[index.Pack]bool{}
	for _, pack := range s.Packs {
		pack.Kind, pack.Size = 0, 0
		met[pack] = true
	}
	var got []*index.Segment
	for merged, err := range index.Merge(each([]index.Part{p}), 30) {
		if err != nil && len(met) == len(s.Packs) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		got = append(got, merged)
	}
	if len(met) < len(s.Packs) {
		t.Fatal("a pack came twice and nothing was said")
	}
	judge(t, []index.Part{p}, got, 30)
}

func FuzzDecode(f *testing.F) {
	m := newMaker(4)
	for _, n := range []int{0, 1, 60} {
		f.Add(m.make(f, n, n == 1).data)
	}
	f.Add([]byte(fmt.Sprint("COFSEG1\n", string(make([]byte, 16+1024)))))
	f.Fuzz(func(t *testing.T, data []byte) { use(t, data, made{}) })
}
