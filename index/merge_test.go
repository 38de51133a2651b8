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

// TestMergeFills: segments are not smaller than they have to be, and not one of
// their columns is longer than the limit, refs neither.
func TestMergeFills(t *testing.T) {
	m := newMaker(1)
	var parts []index.Part
	for i := range 40 {
		parts = append(parts, m.make(t, 100, i%2 == 1).part(t)) // 2 packs of 50
	}
	if got := merge(t, parts, 1000); len(got) != 4 || got[0].Len() != 1000 || got[3].Len() != 1000 {
		t.Errorf("%d segments", len(got))
	}
	for _, s := range merge(t, parts, 60) {
		n := 0
		for range s.Refs() {
			n++
		}
		if n > 60 && len(s.Packs) > 1 {
			t.Errorf("%d packs with %d refs", len(s.Packs), n)
		}
	}
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

// FuzzMerge decodes two segments and merges them without the packs whose bits
// are set.
func FuzzMerge(f *testing.F) {
	for seed := range uint64(4) {
		parts := someParts(f, seed, 2)
		f.Add(parts[0].Segment.Bytes(), parts[1].Segment.Bytes(), seed*5, seed*3, uint16(seed*70))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, deadA, deadB uint64, limit uint16) {
		var parts []index.Part
		met := map[index.Pack]bool{}
		for i, data := range [][]byte{a, b} {
			s, err := index.Decode(data)
			if err != nil {
				return
			}
			p := index.Part{Segment: s}
			for n, pack := range s.Packs {
				if []uint64{deadA, deadB}[i]>>(n%64)&1 == 1 {
					p.Dead = append(p.Dead, uint32(n))
				}
				pack.Kind, pack.Size = 0, 0
				met[pack] = true
			}
			parts = append(parts, p)
		}
		var got []*index.Segment
		for s, err := range index.Merge(each(parts), int(limit)) {
			if twice := len(met) < len(parts[0].Segment.Packs)+len(parts[1].Segment.Packs); err != nil && twice {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s)
		}
		judge(t, parts, got, int(limit))
	})
}
