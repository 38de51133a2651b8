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
	Complete bool
	Broken   Invariant
	Trace    []string // the shortest way to it
}

func (r Result) String() string {
	part := "all"
	if !r.Complete {
		part = "the first"
	}
	return fmt.Sprintf("%s %d states, %d buckets left behind", part, r.States, r.Stores)
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

// queue holds states first in, first out, in blocks that are used again.
type queue struct {
	blocks      [][]State
	spare       [][]State
	first, size int
}

const blockSize = 256

func (q *queue) push(s *State) {
	if q.size%blockSize == 0 && q.size/blockSize == len(q.blocks) {
		b := make([]State, 0, blockSize)
		if n := len(q.spare); n > 0 {
			b, q.spare = q.spare[n-1], q.spare[:n-1]
		}
		q.blocks = append(q.blocks, b)
	}
	last := len(q.blocks) - 1
	q.blocks[last] = append(q.blocks[last], *s)
	q.size++
}

// pop returns the oldest state; it is good until the next push.
func (q *queue) pop() *State {
	s := &q.blocks[0][q.first]
	q.first++
	if q.first == blockSize {
		q.spare = append(q.spare, q.blocks[0][:0])
		q.blocks, q.first, q.size = q.blocks[1:], 0, q.size-blockSize
	}
	return s
}

func (q *queue) empty() bool { return q.first == q.size }

// Explore visits every state, breadth first, until an invariant is broken.
func Explore(cfg Config) Result {
	m := newModel(&cfg)
	life := newAfterlife(m)
	first := m.initial()
	var seen table
	var todo queue
	todo.push(&first)
	parents, hashes := []uint32{0}, []uint64{m.hash(&first)}
	seen.add(hashes[0])
	for at := 0; !todo.empty(); at++ {
		s := *todo.pop()
		m.successors(&s)
		for j := range m.out {
			n := &m.out[j]
			h := m.hash(&n.s)
			if !seen.add(h) && n.fail == 0 {
				continue
			}
			parents, hashes = append(parents, uint32(at)), append(hashes, h)
			bad, dead := n.fail, false
			if bad == 0 {
				bad = m.check(&s, &n.s)
			}
			if bad == 0 {
				bad = life.check(&n.s, nil)
				dead = bad != 0
			}
			if bad != 0 {
				return Result{
					States: len(hashes), Stores: life.seen.n, Broken: bad,
					Trace: m.trace(first, parents, hashes, len(hashes)-1, life, dead),
				}
			}
			if len(hashes) == cfg.Limit {
				return Result{States: len(hashes), Stores: life.seen.n}
			}
			todo.push(&n.s)
		}
	}
	return Result{States: len(hashes), Stores: life.seen.n, Complete: true}
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
		var way []Step
		for {
			m.successors(&s)
			if len(m.out) == 0 {
				break
			}
			n := m.out[rnd.IntN(len(m.out))]
			way = append(way, n.how)
			bad := n.fail
			var end State
			if bad == 0 {
				bad = m.check(&s, &n.s)
			}
			if bad == 0 {
				if bad = life.check(&n.s, nil); bad != 0 {
					end = n.s
				}
			}
			res.States++
			if bad != 0 {
				res.Broken = bad
				for _, how := range way {
					res.Trace = append(res.Trace, m.line(how))
				}
				if end.gens != 0 {
					life.check(&end, func(l string) { res.Trace = append(res.Trace, l) })
				}
				return res
			}
			s = n.s
			steps--
		}
		res.Stores = life.seen.n
	}
	return res
}
