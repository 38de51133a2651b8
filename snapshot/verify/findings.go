package verify

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"coffer/chunk"
	"coffer/store"
)

// findings gathers what is damaged.
type findings struct {
	mu      sync.Mutex
	objects []*store.DamageError // that name no chunk
	lost    map[string]error     // packs of which nothing can be had
	chunks  map[chunk.ID]finding
}

type finding struct {
	pack string
	err  error
	used bool // a snapshot needs it
	lost bool // a repair has found out already
}

func newFindings() *findings {
	return &findings{lost: map[string]error{}, chunks: map[chunk.ID]finding{}}
}

func (f *findings) none() bool { return len(f.objects) == 0 && len(f.chunks) == 0 }

// add is told of damage by the store.
func (f *findings) add(d *store.DamageError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Chunk != (chunk.ID{}) {
		f.chunks[d.Chunk] = finding{pack: d.Pack, err: d.Err}
		return
	}
	f.objects = append(f.objects, d)
	if d.Whole {
		f.lost[d.Pack] = d.Err
	}
}

// chunk notes why a chunk cannot be had.
func (f *findings) chunk(id chunk.ID, err error) {
	var d *store.DamageError
	if errors.As(err, &d) {
		d = &store.DamageError{Pack: d.Pack, Chunk: id, Err: d.Err}
	} else {
		d = &store.DamageError{Chunk: id, Err: err}
	}
	f.add(d)
}

// known marks chunks that a repair has found lost.
func (f *findings) known(lost []chunk.ID) {
	for _, id := range lost {
		if c, ok := f.chunks[id]; ok && c.pack == "" {
			c.lost, c.err = true, errLost
			f.chunks[id] = c
		}
	}
}

// packs are those in which something is damaged, or that are missing.
func (f *findings) packs() map[string]bool {
	names := map[string]bool{}
	for _, c := range f.chunks {
		names[c.pack] = true
	}
	for _, d := range f.objects {
		names[d.Pack] = true
	}
	return names
}

// split counts what is known to be lost, and returns other chunks that no pack
// holds and the packs in which something is damaged.
func (f *findings) split() (lost int, missing []chunk.ID, packs []string) {
	for id, c := range f.chunks {
		switch {
		case c.lost:
			lost++
		case c.pack == "":
			missing = append(missing, id)
		}
	}
	for name := range f.packs() {
		if _, gone := f.lost[name]; !gone && strings.HasPrefix(name, "packs/") {
			packs = append(packs, name)
		}
	}
	slices.SortFunc(missing, func(a, b chunk.ID) int { return slices.Compare(a[:], b[:]) })
	slices.Sort(packs)
	return lost, missing, packs
}

// report lists the objects, and the chunks that nobody needs.
func (f *findings) report(rep *Report) {
	list := func(d Damage) {
		rep.DamagedTotal++
		if len(rep.Damaged) < MaxListed {
			rep.Damaged = append(rep.Damaged, d)
		}
	}
	slices.SortFunc(f.objects, func(a, b *store.DamageError) int { return cmp.Compare(a.Pack, b.Pack) })
	for _, d := range f.objects {
		list(Damage{Pack: d.Pack, Err: d.Err.Error()})
	}
	ids := slices.SortedFunc(maps.Keys(f.chunks), func(a, b chunk.ID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		if c := f.chunks[id]; !c.used {
			list(Damage{Pack: c.pack, Chunk: id.String(), Err: c.err.Error()})
		}
	}
}
