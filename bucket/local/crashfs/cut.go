package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// blockSize is the page, of which the kernel writes all or nothing.
const blockSize = 4096

// Keep decides what of the unsynced survives a cut: given a number of
// possibilities it picks one, where 0 keeps nothing and the last everything.
type Keep func(possibilities int) int

// Nothing keeps only what was synced.
func Nothing(int) int { return 0 }

// Everything keeps all: what a process leaves behind that is killed while the
// machine lives on.
func Everything(possibilities int) int { return possibilities - 1 }

// Some keeps a part that the seed decides.
func Some(seed uint64) Keep {
	r := rand.New(rand.NewPCG(seed, 0))
	return r.IntN
}

// Cut returns the file system as it would be found after a power cut at this
// moment. This one goes on as if nothing had happened, so Cut can be called
// again, to see what else might be found.
func (f *FS) Cut(keep Keep) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := cutter{keep, make(map[*node]*node)}
	return &FS{root: c.survivor(f.root)}
}

// A cutter copies what survives; a file with two names is copied once.
type cutter struct {
	keep Keep
	done map[*node]*node
}

func (c *cutter) survivor(n *node) *node {
	if s, ok := c.done[n]; ok {
		return s
	}
	s := new(node)
	c.done[n] = s
	if n.isDir() {
		c.keepNames(n, s)
	} else {
		s.data = c.keepData(n)
		s.safe = len(s.data)
	}
	return s
}

// keepNames picks for every name that changed since the sync one of the states
// it had.
func (c *cutter) keepNames(n, s *node) {
	s.entries = make(map[string]*node)
	order, states := n.histories()
	for _, name := range order {
		if child := states[name][c.keep(len(states[name]))]; child != nil {
			s.entries[name] = c.survivor(child)
			s.entries[name].links++
		}
	}
}

// histories gives the states of every name, the synced one first. Names that
// changed come in the order of their changes, so that a seed decides the same
// for names that are random.
func (n *node) histories() (order []string, states map[string][]*node) {
	states = make(map[string][]*node)
	for _, change := range n.pending {
		if len(states[change.name]) == 0 {
			order = append(order, change.name)
			states[change.name] = []*node{change.was}
		}
		states[change.name] = append(states[change.name], change.node)
	}
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		if len(states[name]) == 0 {
			order = append(order, name)
			states[name] = []*node{n.entries[name]}
		}
	}
	return order, states
}

// keepData picks the length that the file is found with, and for every block
// that was not safe whether it has its bytes or zeros.
func (c *cutter) keepData(n *node) []byte {
	lost := len(n.data) - n.safe
	if n.failed && lost > 0 { // the kernel has dropped them, the length may stay
		return append(slices.Clone(n.data[:n.safe]), make([]byte, c.keep(lost+1))...)
	}
	data := slices.Clone(n.data[:n.safe+c.keep(lost+1)])
	for from := n.safe; from < len(data); {
		to := min(len(data), from-from%blockSize+blockSize)
		if c.keep(2) == 0 {
			clear(data[from:to])
		}
		from = to
	}
	return data
}
