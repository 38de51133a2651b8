package index_test

import (
	"bytes"
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
	out := made{places: map[chunk.ID]index.Place{}}
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
		b := blocks[e.Block]
		out.places[id] = index.Place{Pack: packs[b.Pack], BlockOffset: b.Offset, BlockSealed: b.Sealed, BlockPlain: b.Plain,
			Offset: e.Offset, Length: e.Length, Recipe: recipe}
	}
	m.rnd.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	data, err := index.Encode(packs, blocks, entries)
	if err != nil {
		t.Fatal(err)
	}
	out.data = data
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
	want := newMaker(3).make(t, 40, false)
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
	if n > 0 {
		t.Fatalf("Contents leaves out %d entries", n)
	}
}

func FuzzDecode(f *testing.F) {
	m := newMaker(4)
	for _, n := range []int{0, 1, 60} {
		f.Add(m.make(f, n, n == 1).data)
	}
	f.Add([]byte(fmt.Sprint("COFSEG1\n", string(make([]byte, 16+1024)))))
	f.Fuzz(func(t *testing.T, data []byte) { use(t, data, made{}) })
}
