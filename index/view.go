package index

import (
	"errors"
	"fmt"
	"slices"
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
	open  func() (*Table, error) // nil: no cache
	limit int

	mu    sync.RWMutex
	segs  map[string]*Segment
	mem   int // entries in segs
	table *Table
	live  map[string]span // segments of this view that the table holds
	hash  sync.Pool
}

// MemoryEntries is how many entries stay in memory: 400,000 take about 18 MB.
const MemoryEntries = 400_000

// NewView returns an empty view. open is called when the view outgrows limit
// entries (0: MemoryEntries); where it is nil or fails with ErrBusy, the view
// stays in memory.
func NewView(open func() (*Table, error), limit int) *View {
	if limit == 0 {
		limit = MemoryEntries
	}
	return &View{open: open, limit: limit, segs: map[string]*Segment{}, live: map[string]span{}}
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
	if err := v.adopt(t, func(n string) bool { return v.segs[n] != nil || slices.Contains(names, n) }); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := v.live[n]; return ok }), nil
}

// Has reports whether the view has the named segment.
func (v *View) Has(name string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, inTable := v.live[name]
	return inTable || v.segs[name] != nil
}

// adopt makes t the view's table. One that holds a segment which is not
// wanted was built before a prune and is begun again: its entries may hide
// live ones.
func (v *View) adopt(t *Table, wanted func(name string) bool) error {
	have, err := t.merged()
	if err != nil {
		return err
	}
	for n := range have {
		if !wanted(n) {
			have = map[string]span{}
			if err := t.reset(); err != nil {
				return fmt.Errorf("reset index cache: %w", err)
			}
			break
		}
	}
	v.table, v.live = t, have
	return nil
}

// Add gives the view a segment.
func (v *View) Add(name string, s *Segment) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.segs[name]; ok {
		return nil
	}
	v.segs[name] = s
	v.mem += s.Len()
	if v.mem <= v.limit || v.open == nil {
		return nil
	}
	return v.spill()
}

// spill moves all segments from memory into the table.
func (v *View) spill() error {
	if v.table == nil {
		t, err := v.open()
		if errors.Is(err, ErrBusy) {
			v.open = nil
			return nil
		}
		if err != nil {
			return err
		}
		if err := v.adopt(t, func(n string) bool { return v.segs[n] != nil }); err != nil {
			return errors.Join(err, t.Close())
		}
	}
	for name, s := range v.segs {
		if _, ok := v.live[name]; !ok {
			sp, err := v.table.merge(name, s)
			if err != nil {
				return err
			}
			v.live[name] = sp
		}
		delete(v.segs, name)
		v.mem -= s.Len()
	}
	return nil
}

// Lookup returns where a chunk is. A whole copy wins over a recipe.
func (v *View) Lookup(id chunk.ID) (Place, bool, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var best Place
	found := false
	for _, s := range v.segs {
		if p, ok := s.Lookup(id); ok {
			best, found = p, true
			if !p.Recipe {
				return best, true, nil
			}
		}
	}
	p, ok, err := v.lookupTable(id)
	if err != nil || !ok || (found && p.Recipe) {
		return best, found, err
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
	for _, sp := range v.live {
		if n-sp.first < sp.n {
			return true
		}
	}
	return false
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
