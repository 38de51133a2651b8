package explorer

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
)

// Result is what an exploration found.
type Result struct {
	States   int // states of the world
	Stores   int // different buckets in which all died
	Depth    int
	Complete bool
	Broken   Invariant
	Trace    []string // the shortest way to it
}

func (r Result) String() string {
	return fmt.Sprintf("%d states, %d buckets left behind, depth %d", r.States, r.Stores, r.Depth)
}

// table is a set of hashes. Two states with one hash would be taken for one:
// with 64 bits and ten million states, the chance is below one in 100,000.
type table struct {
	slots []uint64
	n     int
}

func (t *table) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	if 2*t.n >= len(t.slots) {
		old := t.slots
		t.slots = make([]uint64, max(1024, 4*len(old)))
		for _, h := range old {
			if h != 0 {
				t.put(h)
			}
		}
	}
	if !t.put(h) {
		return false
	}
	t.n++
	return true
}

func (t *table) put(h uint64) bool {
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t.slots[i] {
		case h:
			return false
		case 0:
			t.slots[i] = h
			return true
		}
	}
}

func (m *model) hash(s *State) uint64 { return maphash.Comparable(m.seed, *s) }

// Explore visits every state, breadth first, until an invariant is broken.
func Explore(cfg Config) Result {
	m := newModel(&cfg)
	life := newAfterlife(m)
	var seen table
	var parents []uint32
	var hashes []uint64
	first := m.initial()
	level := []State{first}
	seen.add(m.hash(&first))
	parents, hashes = append(parents, 0), append(hashes, m.hash(&first))
	res := Result{}
	base := 0 // number of the level's first state
	for len(level) > 0 {
		var next []State
		for i := range level {
			s := &level[i]
			m.successors(s)
			for j := range m.out {
				n := &m.out[j]
				h := m.hash(&n.s)
				if !seen.add(h) && n.fail == 0 {
					continue
				}
				parents, hashes = append(parents, uint32(base+i)), append(hashes, h)
				bad := n.fail
				if bad == 0 {
					bad = m.check(s, &n.s)
				}
				dead := false
				if bad == 0 {
					bad = life.check(&n.s, nil)
					dead = bad != 0
				}
				if bad != 0 {
					res.Broken = bad
					res.Trace = m.trace(first, parents, hashes, len(hashes)-1, life, dead)
					res.States, res.Stores = len(hashes), life.seen.n
					return res
				}
				next = append(next, n.s)
				if cfg.Limit > 0 && len(hashes) >= cfg.Limit {
					res.States, res.Stores = len(hashes), life.seen.n
					return res
				}
			}
		}
		base += len(level)
		level = next
		res.Depth++
	}
	res.States, res.Stores, res.Complete = len(hashes), life.seen.n, true
	return res
}

// trace walks from the start to a state by the hashes on the way.
func (m *model) trace(s State, parents []uint32, hashes []uint64, at int, life *afterlife, dead bool) []string {
	var way []uint64
	for ; at != 0; at = int(parents[at]) {
		way = append(way, hashes[at])
	}
	var lines []string
	for i := len(way) - 1; i >= 0; i-- {
		m.successors(&s)
		for j := range m.out {
			if n := &m.out[j]; m.hash(&n.s) == way[i] {
				lines = append(lines, m.line(n.how))
				s = n.s
				break
			}
		}
	}
	if dead {
		life.check(&s, func(l string) { lines = append(lines, l) })
	}
	return lines
}

// line is a step as it is read.
func (m *model) line(h Step) string {
	who := "        "
	if h.who >= 0 {
		who = m.roles[h.who].name
	}
	args := make([]any, strings.Count(h.what, "%"))
	for i := range args {
		args[i] = h.args[i]
	}
	l := fmt.Sprintf("%-12s %s", who, fmt.Sprintf(h.what, args...))
	if h.note != "" {
		l += " (" + h.note + ")"
	}
	return l
}

// Walk takes random ways through the configuration until the steps are used up or an invariant is broken.
func Walk(cfg Config, seed uint64, steps int) Result {
	m := newModel(&cfg)
	life := newAfterlife(m)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var res Result
	for steps > 0 {
		s := m.initial()
		var way []string
		for {
			m.successors(&s)
			if len(m.out) == 0 {
				break
			}
			n := m.out[rnd.IntN(len(m.out))]
			way = append(way, m.line(n.how))
			bad := n.fail
			if bad == 0 {
				bad = m.check(&s, &n.s)
			}
			if bad == 0 {
				if bad = life.check(&n.s, nil); bad != 0 {
					life.check(&n.s, func(l string) { way = append(way, l) })
				}
			}
			res.States++
			if bad != 0 {
				res.Broken, res.Trace = bad, way
				return res
			}
			s = n.s
			steps--
		}
		res.Depth = max(res.Depth, len(way))
		res.Stores = life.seen.n
	}
	return res
}
