package index

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/zeebo/blake3"

	"coffer/chunk"
)

// A View is what one session may rely on: the segments that it was given,
// without their dead packs, and nothing else. A segment has the same dead packs
// as long as the view lives: a prune makes a generation, and that a new view.
// Segments are held in memory until they have more than
// MemoryEntries entries together; then they move into a Table. So a small
// repository never opens Badger, and a large one does not grow in memory.
// A View is safe for concurrent use.
type View struct {
	limit int

	mu      sync.RWMutex
	open    func() (*Table, error) // nil: no cache, or none any more
	mem     memory
	table   *Table
	live    map[string]held // segments of this view that the table holds
	spans   []span          // the same, in order
	ours    bool            // the table holds nothing but what this view merged
	trouble error           // why there is no cache
	broken  error           // segments are lost to this view
	hash    sync.Pool
}

// A held segment is in the table, without its dead packs.
type held struct {
	span
	dead []uint32
}

// MemoryEntries is how many entries stay in memory: 400,000 take about 18 MB.
const MemoryEntries = 400_000

// NewView returns an empty view. open is called when the view outgrows limit
// entries (0: MemoryEntries); where it is nil or fails, the view stays in
// memory.
func NewView(open func() (*Table, error), limit int) *View {
	if limit == 0 {
		limit = MemoryEntries
	}
	return &View{open: open, limit: limit, mem: newMemory(), live: map[string]held{}}
}

// Trouble returns why the view works without a cache, if it should have one.
func (v *View) Trouble() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.trouble
}

// Attach opens the table, if the view has none yet, and uses it for those of
// the wanted segments that it holds. It returns the others, which must be added.
func (v *View) Attach(open func() (*Table, error), wants []Want) (missing []Want, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table != nil {
		return wants, nil
	}
	all := v.inMemory()
	for _, w := range wants {
		if dead, ok := all[w.Name]; ok && !slices.Equal(dead, w.Dead) {
			return nil, otherDead(w.Name)
		}
		all[w.Name] = w.Dead
	}
	t, err := open()
	if err != nil {
		return nil, err
	}
	if err := v.adopt(t, all); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return slices.DeleteFunc(slices.Clone(wants), func(w Want) bool { _, ok := v.live[w.Name]; return ok }), nil
}

// inMemory returns the segments in memory with their dead packs.
func (v *View) inMemory() map[string][]uint32 {
	out := make(map[string][]uint32, len(v.mem.segs))
	for name, p := range v.mem.segs {
		out[name] = p.dead
	}
	return out
}

func otherDead(name string) error {
	return fmt.Errorf("index segment %s is in this view with other dead packs", name)
}

// Has reports whether the view has the segment, with the same dead packs.
func (v *View) Has(w Want) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	dead, ok := v.has(w.Name)
	return ok && slices.Equal(dead, w.Dead)
}

// has returns the dead packs of a segment that the view has.
func (v *View) has(name string) (dead []uint32, ok bool) {
	if h, ok := v.live[name]; ok {
		return h.dead, true
	}
	if p := v.mem.segs[name]; p != nil {
		return p.dead, true
	}
	return nil, false
}

// adopt makes t the view's table. One that holds a segment which is not wanted,
// or has other dead packs than now, was built before a prune or by somebody who
// is behind one, and is begun again: an entry that is dead now may hide a live
// one, and one that was dead then is not there.
func (v *View) adopt(t *Table, wanted map[string][]uint32) error {
	marks, err := t.merged()
	if err != nil {
		return err
	}
	have := make(map[string]held, len(marks))
	for n, m := range marks {
		dead, ok := wanted[n]
		if !ok || m.dead != deadSum(dead) {
			clear(have)
			break
		}
		have[n] = held{m.span, dead}
	}
	v.ours = len(have) == 0
	if v.ours {
		if err := t.reset(); err != nil {
			return fmt.Errorf("reset index cache: %w", err)
		}
	}
	v.table = t
	v.setLive(have)
	return nil
}

// setLive sorts spans; one without packs begins where the next one does.
func (v *View) setLive(have map[string]held) {
	v.live = have
	v.spans = v.spans[:0]
	for _, h := range have {
		v.spans = append(v.spans, h.span)
	}
	slices.SortFunc(v.spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.n, b.n)) })
}

// Add gives the view a segment, and keeps it and the list of its dead packs. To
// add it again has no effect; to add it with other dead packs is an error.
func (v *View) Add(name string, s *Segment, dead []uint32) error {
	p, err := newPiece(s, dead)
	if err != nil {
		return fmt.Errorf("index segment %s: %w", name, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if have, ok := v.has(name); ok {
		if !slices.Equal(have, dead) {
			return otherDead(name)
		}
		return nil
	}
	v.add(name, p)
	return nil
}

func (v *View) add(name string, p *piece) {
	v.mem.add(name, p)
	if v.mem.entries <= v.limit || v.open == nil {
		return
	}
	if err := v.spill(); err != nil { // memory serves
		v.open, v.trouble = nil, err
	}
}

// spill moves all segments from memory into the table.
func (v *View) spill() error {
	if v.table == nil {
		t, err := v.open()
		if err != nil {
			return err
		}
		if err := v.adopt(t, v.inMemory()); err != nil {
			return errors.Join(err, t.Close())
		}
	}
	defer func() { v.mem = v.mem.without(v.live) }()
	for name, p := range v.mem.segs {
		if _, ok := v.live[name]; ok {
			continue
		}
		sp, err := v.table.merge(name, p)
		if err != nil {
			return err
		}
		v.live[name] = held{sp, p.dead}
		v.spans = append(v.spans, sp) // numbers ascend
	}
	return nil
}

// Lookup returns where a chunk is. A whole copy wins over a recipe.
func (v *View) Lookup(id chunk.ID) (Place, bool, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	best, found := v.mem.lookup(id)
	if found && !best.Recipe {
		return best, true, nil
	}
	p, ok, err := v.lookupTable(id)
	if err != nil || !ok || (found && p.Recipe) {
		return best, found, errors.Join(err, v.broken)
	}
	return p, true, nil
}

func (v *View) lookupTable(id chunk.ID) (Place, bool, error) {
	if v.table == nil {
		return Place{}, false, nil
	}
	h, _ := v.hash.Get().(*blake3.Hasher)
	if h == nil {
		h = v.table.hasher()
	}
	defer v.hash.Put(h)
	n, p, ok, err := v.table.lookup(h, id)
	if err != nil || !ok || !v.isLive(n) {
		return Place{}, false, err
	}
	if p.Pack, err = v.table.pack(n); err != nil {
		return Place{}, false, fmt.Errorf("index cache: pack %d: %w", n, err)
	}
	return p, true, nil
}

// isLive reports whether a pack number belongs to a segment of this view.
func (v *View) isLive(n uint32) bool {
	i := sort.Search(len(v.spans), func(i int) bool { return v.spans[i].first > n })
	return i > 0 && n-v.spans[i-1].first < v.spans[i-1].n
}

// Distrust is for a chunk that should be there and is not found: a table that
// an earlier process built may have rotted on its disk, and Badger says of a
// block that it cannot read that the chunk is not there. The table is begun
// again from the segments, which fetch returns; the view knows which of their
// packs are dead. It reports whether that was
// done: a table of our own is not distrusted.
func (v *View) Distrust(fetch func(name string) (*Segment, error)) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table == nil || v.ours {
		return false, nil
	}
	had := v.live
	v.ours = true
	v.setLive(map[string]held{})
	if err := v.table.reset(); err != nil {
		v.open, v.trouble = nil, errors.Join(err, v.table.Close())
		v.table = nil
	}
	for _, name := range slices.Sorted(maps.Keys(had)) {
		s, err := fetch(name)
		var p *piece
		if err == nil {
			p, err = newPiece(s, had[name].dead)
		}
		if err != nil {
			v.broken = fmt.Errorf("rebuild index cache: %w", err)
			return true, v.broken
		}
		v.add(name, p)
	}
	return true, nil
}

// Close releases the table, if there is one.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table == nil {
		return nil
	}
	err := v.table.Close()
	v.table = nil
	return err
}
