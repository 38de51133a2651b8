package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/index"
)

func (m made) part(t testing.TB) index.Part {
	return index.Part{Segment: decode(t, m.data), Dead: m.dead}
}

func each(parts []index.Part) iter.Seq2[index.Part, error] {
	return func(yield func(index.Part, error) bool) {
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func merge(t testing.TB, parts []index.Part, limit int) (out []*index.Segment) {
	t.Helper()
	for s, err := range index.Merge(each(parts), limit) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// A copied is one copy and what it names as a recipe.
type copied struct {
	index.Place
	bases string
}

// A truth is what parts say, slowly.
type truth struct {
	packs  []index.Pack // live ones, in order
	blocks map[index.Pack][]index.Block
	copies map[chunk.ID][]copied
}

func (tr *truth) add(p index.Part) {
	s := p.Segment
	for i, pack := range s.Packs {
		if slices.Contains(p.Dead, uint32(i)) {
			continue
		}
		tr.packs = append(tr.packs, pack)
		for _, b := range s.Blocks() {
			if int(b.Pack) == i {
				b.Pack = 0
				tr.blocks[pack] = append(tr.blocks[pack], b)
			}
		}
	}
	named := bases(s)
	for _, e := range s.Entries() {
		if slices.Contains(p.Dead, s.Block(int(e.Block)).Pack) {
			continue
		}
		place, _ := s.Lookup(e.ID)
		tr.copies[e.ID] = append(tr.copies[e.ID], copied{place, fmt.Sprint(named[e.ID])})
	}
}

func truthOf(parts []index.Part) *truth {
	tr := &truth{blocks: map[index.Pack][]index.Block{}, copies: map[chunk.ID][]copied{}}
	for _, p := range parts {
		tr.add(p)
	}
	return tr
}

// judge compares merged segments with their parts: the same packs in the same
// order with the same blocks; and in each segment one copy of every chunk that
// one of its packs has, the best and of these the first.
func judge(t testing.TB, parts []index.Part, got []*index.Segment, limit int) {
	t.Helper()
	tr := truthOf(parts)
	var packs []index.Pack
	for _, s := range got {
		packs = append(packs, s.Packs...)
		if len(s.Packs) == 0 || len(s.Packs) > 1 && s.Len() > limit {
			t.Errorf("a segment with %d packs and %d entries, limit %d", len(s.Packs), s.Len(), limit)
		}
		tr.judgeBlocks(t, s)
		tr.judgeEntries(t, s)
	}
	if !slices.Equal(packs, tr.packs) {
		t.Errorf("packs are %v; want %v", packs, tr.packs)
	}
}

func (tr *truth) judgeBlocks(t testing.TB, s *index.Segment) {
	t.Helper()
	blocks := map[index.Pack][]index.Block{}
	for _, b := range s.Blocks() {
		pack := s.Packs[b.Pack]
		b.Pack = 0
		blocks[pack] = append(blocks[pack], b)
	}
	for _, pack := range s.Packs {
		want := slices.Clone(tr.blocks[pack])
		slices.SortStableFunc(want, func(a, b index.Block) int { return int(int64(a.Offset) - int64(b.Offset)) })
		if !slices.Equal(blocks[pack], want) {
			t.Errorf("blocks are %v; want %v", blocks[pack], want)
		}
	}
}

func (tr *truth) judgeEntries(t testing.TB, s *index.Segment) {
	t.Helper()
	named := bases(s)
	n := 0
	for id, all := range tr.copies {
		here := slices.DeleteFunc(slices.Clone(all), func(c copied) bool { return !slices.Contains(s.Packs, c.Pack) })
		place, ok := s.Lookup(id)
		if !ok && len(here) == 0 {
			continue
		}
		n++
		slices.SortStableFunc(here, func(a, b copied) int { return form(a.Recipe) - form(b.Recipe) })
		if got := (copied{place, fmt.Sprint(named[id])}); !ok || len(here) == 0 || got != here[0] {
			t.Errorf("%s: %+v, %v; want the first of %+v", id.Short(), got, ok, here)
		}
	}
	if n != s.Len() {
		t.Errorf("%d entries, of which %d are in the parts", s.Len(), n)
	}
}

func form(recipe bool) int { return map[bool]int{true: 1}[recipe] }

// someParts share some chunks, have recipes and dead packs.
func someParts(t testing.TB, seed uint64, n int) (parts []index.Part) {
	m := newMaker(seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	var pool []chunk.ID
	for range 40 {
		pool = append(pool, m.id())
	}
	for range n {
		rnd.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		p := m.make(t, rnd.IntN(300), rnd.IntN(3) == 0, slices.Clone(pool[:rnd.IntN(len(pool))])...).part(t)
		for i := range p.Segment.Packs {
			if rnd.IntN(4) == 0 {
				p.Dead = append(p.Dead, uint32(i))
			}
		}
		parts = append(parts, p)
	}
	return parts
}

func TestMerge(t *testing.T) {
	for seed := range uint64(12) {
		parts := someParts(t, seed, int(seed))
		for _, limit := range []int{0, 1, 50, 120, 1000, 1 << 20} {
			judge(t, parts, merge(t, parts, limit), limit)
		}
	}
}

// TestMergeFills: segments are not smaller than they have to be, and whichever
// list is the longest is not longer than the limit.
func TestMergeFills(t *testing.T) {
	for name, pack := range map[string]struct{ blocks, entries, refs int }{
		"packs": {0, 0, 0}, "blocks": {30, 1, 0}, "entries": {1, 30, 0}, "refs": {1, 1, 30},
	} {
		longest := max(1, pack.blocks, pack.entries, pack.refs)
		parts := []index.Part{evenPart(t, 10, pack.blocks, pack.entries, pack.refs)}
		for _, each := range []int{1, 2, 5, 10} {
			limit := each*longest + longest - 1 // room for no pack more
			got := merge(t, parts, limit)
			if len(got) != 10/each {
				t.Errorf("%s: %d segments for %d packs each", name, len(got), each)
			}
			judge(t, parts, got, limit)
		}
	}
}

// evenPart has packs with as many blocks each, the first of which has entries
// that name refs chunks together.
func evenPart(t testing.TB, packs, blocks, entries, refs int) index.Part {
	t.Helper()
	var ps []index.Pack
	var bs []index.Block
	var es []index.Entry
	named := map[chunk.ID][]chunk.ID{}
	for p := range packs {
		ps = append(ps, index.Pack{Seq: uint32(p)})
		for e := range entries {
			es = append(es, index.Entry{ID: chunk.ID{byte(p), byte(e)}, Block: uint32(len(bs)), Recipe: refs > 0})
		}
		for r := range refs {
			id := es[len(es)-1].ID
			named[id] = append(named[id], chunk.ID{31: byte(r)})
		}
		for b := range blocks {
			bs = append(bs, index.Block{Pack: uint32(p), Offset: uint32(b)})
		}
	}
	data, err := index.EncodeRefs(ps, bs, es, named)
	if err != nil {
		t.Fatal(err)
	}
	return index.Part{Segment: decode(t, data)}
}

// TestMergeAgain: to merge what was merged changes nothing.
func TestMergeAgain(t *testing.T) {
	once := merge(t, someParts(t, 3, 9), 1<<20)
	again := merge(t, []index.Part{{Segment: once[0]}}, 1<<20)
	if len(once) != 1 || len(again) != 1 || !bytes.Equal(once[0].Bytes(), again[0].Bytes()) {
		t.Error("not the same")
	}
}

// TestMergeDropsTheDead: what a recipe that is left out named is left out too,
// and a whole copy in a dead pack does not stand before a recipe.
func TestMergeDropsTheDead(t *testing.T) {
	m := newMaker(2)
	ids := []chunk.ID{m.id(), m.id(), m.id()}
	recipes, whole := m.make(t, 0, true, ids...), m.make(t, 0, false, ids...)
	got := merge(t, []index.Part{recipes.part(t), whole.part(t)}, 100)
	if n := len(bases(got[0])); n > 0 || !maps.Equal(maps.Collect(got[0].All()), whole.places) {
		t.Errorf("recipes stay: %d name chunks", n)
	}
	whole.dead = []uint32{0}
	got = merge(t, []index.Part{recipes.part(t), whole.part(t)}, 100)
	if !maps.EqualFunc(bases(got[0]), recipes.bases, slices.Equal) || !maps.Equal(maps.Collect(got[0].All()), recipes.places) {
		t.Error("a dead copy hides a recipe")
	}
}

func TestMergeFails(t *testing.T) {
	parts := someParts(t, 5, 4)
	broken := errors.New("broken")
	fails := func(parts iter.Seq2[index.Part, error], want error) {
		t.Helper()
		var last error
		for s, err := range index.Merge(parts, 1<<20) {
			if last != nil || (s == nil) == (err == nil) {
				t.Errorf("%v, %v after %v", s, err, last)
			}
			last = err
		}
		if !errors.Is(last, want) {
			t.Errorf("%v; want %v", last, want)
		}
	}
	fails(each(append(slices.Clone(parts), parts[1])), index.ErrDamaged) // its packs come twice
	fails(each(append(slices.Clone(parts), index.Part{Segment: parts[1].Segment, Dead: []uint32{99}})), index.ErrDamaged)
	fails(func(yield func(index.Part, error) bool) { _ = yield(parts[0], nil) && yield(index.Part{}, broken) }, broken)
}

// TestMergeIsLazy: one part after the other is asked for, and none when nobody
// wants more.
func TestMergeIsLazy(t *testing.T) {
	m := newMaker(3)
	asked := 0
	parts := func(yield func(index.Part, error) bool) {
		for range 100 {
			asked++
			if !yield(m.make(t, 100, false).part(t), nil) {
				return
			}
		}
	}
	n := 0
	for _, err := range index.Merge(parts, 200) {
		if n++; err != nil || asked != 2*n+1 {
			t.Fatalf("segment %d after %d parts: %v", n, asked, err)
		}
		if n == 3 {
			break
		}
	}
	if asked != 7 {
		t.Errorf("%d parts were asked for", asked)
	}
}

// FuzzMerge merges parts that a script makes of few IDs, so that most are in
// several of them, without the packs whose bits are set.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{3, 7, 11, 1, 3, 2, 7, 67, 0, 71}, uint64(0), uint16(3))
	f.Add([]byte{67, 71, 2, 3, 7, 1, 75, 2, 3, 7, 11}, uint64(5), uint16(100))
	f.Add([]byte{1, 1, 3, 2, 2, 3, 3, 0, 0, 67}, uint64(2), uint16(0))
	f.Fuzz(func(t *testing.T, script []byte, dead uint64, limit uint16) {
		parts := scripted(t, script[:min(len(script), 500)], dead)
		got := merge(t, parts, int(limit))
		judge(t, parts, got, int(limit))
		for _, s := range got {
			if again := merge(t, []index.Part{{Segment: s}}, 1<<20); !bytes.Equal(again[0].Bytes(), s.Bytes()) {
				t.Error("merged again it is not the same")
			}
		}
	})
}

// scripted makes parts: 0 begins a block, 1 a pack, 2 a part; any other byte is
// a chunk whose upper bits say which and whether it is a recipe.
func scripted(t testing.TB, script []byte, dead uint64) (parts []index.Part) {
	t.Helper()
	seq := uint32(0)
	for _, commands := range bytes.Split(script, []byte{2}) {
		var packs []index.Pack
		var blocks []index.Block
		entries, named := map[chunk.ID]index.Entry{}, map[chunk.ID][]chunk.ID{}
		p := index.Part{}
		for i, c := range append([]byte{1, 0}, commands...) {
			id := chunk.ID{c << 3 & 0xe0, 31: c >> 2 & 15}
			switch last := len(blocks) - 1; {
			case c == 0:
				blocks = append(blocks, index.Block{Pack: uint32(len(packs) - 1), Offset: uint32(i * 10), Sealed: 10, Plain: 1 << 10})
			case c == 1:
				if dead>>(seq%64)&1 == 1 {
					p.Dead = append(p.Dead, uint32(len(packs)))
				}
				seq++
				packs = append(packs, index.Pack{Seq: seq, Size: uint64(i)})
			case blocks[last].Pack == uint32(len(packs)-1) && entries[id].Length == 0:
				entries[id] = index.Entry{ID: id, Block: uint32(last), Offset: uint32(i), Length: 1, Recipe: c >= 64}
				for n := range c >> 6 {
					named[id] = append(named[id], chunk.ID{c, n})
				}
			}
		}
		data, err := index.EncodeRefs(packs, blocks, slices.Collect(maps.Values(entries)), named)
		if err != nil {
			t.Fatal(err)
		}
		p.Segment = decode(t, data)
		parts = append(parts, p)
	}
	return parts
}
