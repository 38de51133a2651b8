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

// A View is what one session may rely on: the segments that it was given and
// nothing else. Segments are held in memory until they have more than
// MemoryEntries entries together; then they move into a Table. So a small
// repository never opens Badger, and a large one does not grow in memory.
// A View is safe for concurrent use.
type View struct {
	limit int

	mu      sync.RWMutex
	open    func() (*Table, error) // nil: no cache, or none any more
	mem     memory
	table   *Table
	live    map[string]span // segments of this view that the table holds
	spans   []span          // the same, in order
	ours    bool            // the table holds nothing but what this view merged
	trouble error           // why there is no cache
	broken  error           // segments are lost to this view
	hash    sync.Pool
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
	return &View{open: open, limit: limit, mem: newMemory(), live: map[string]span{}}
}

// Trouble returns why the view works without a cache, if it should have one.
func (v *View) Trouble() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.trouble
}

// Attach opens the table, if the view has none yet, and uses it for those of
// the named segments that it holds. It returns the others, which must be added.
func (v *View) Attach(open func() (*Table, error), names []string) (missing []string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table != nil {
		return names, nil
	}
	t, err := open()
	if err != nil {
		return nil, err
	}
	if err := v.adopt(t, func(n string) bool { return v.mem.segs[n] != nil || slices.Contains(names, n) }); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := v.live[n]; return ok }), nil
}

// Has reports whether the view has the named segment.
func (v *View) Has(name string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.has(name)
}

func (v *View) has(name string) bool {
	_, inTable := v.live[name]
	return inTable || v.mem.segs[name] != nil
}

// adopt makes t the view's table. One that holds a segment which is not wanted
// was built before a prune and is begun again: its entries may hide live ones.
func (v *View) adopt(t *Table, wanted func(name string) bool) error {
	have, err := t.merged()
	if err != nil {
		return err
	}
	for n := range have {
		if !wanted(n) {
			have = nil
			break
		}
	}
	v.ours = len(have) == 0
	if v.ours {
		if err := t.reset(); err != nil {
			return fmt.Errorf("reset index cache: %w", err)
		}
		have = map[string]span{}
	}
	v.table = t
	v.setLive(have)
	return nil
}

func (v *View) setLive(have map[string]span) {
	v.live = have
	v.spans = slices.SortedFunc(maps.Values(have), func(a, b span) int { return cmp.Compare(a.first, b.first) })
}

// Add gives the view a segment.
func (v *View) Add(name string, s *Segment) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(name, s)
	return nil
}

func (v *View) add(name string, s *Segment) {
	if v.has(name) {
		return
	}
	v.mem.add(name, s)
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
		if err := v.adopt(t, func(n string) bool { return v.mem.segs[n] != nil }); err != nil {
			return errors.Join(err, t.Close())
		}
	}
	defer func() { v.mem = v.mem.without(v.live) }()
	for name, s := range v.mem.segs {
		if _, ok := v.live[name]; ok {
			continue
		}
		sp, err := v.table.merge(name, s)
		if err != nil {
			return err
		}
		v.live[name] = sp
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
// again from the segments, which fetch returns. It reports whether that was
// done: a table of our own is not distrusted.
func (v *View) Distrust(fetch func(name string) (*Segment, error)) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table == nil || v.ours {
		return false, nil
	}
	names := slices.Sorted(maps.Keys(v.live))
	v.ours = true
	v.setLive(map[string]span{})
	if err := v.table.reset(); err != nil {
		v.open, v.trouble = nil, errors.Join(err, v.table.Close())
		v.table = nil
	}
	for _, name := range names {
		s, err := fetch(name)
		if err != nil {
			v.broken = fmt.Errorf("rebuild index cache: %w", err)
			return true, v.broken
		}
		v.add(name, s)
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
