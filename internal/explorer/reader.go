package explorer

import "math/bits"

// Where a reader stands. While it reads, session k protects it; while it
// moves on, session k-1 does, until k is registered and seen to be newest.
const (
	rRegister = iota
	rAgain
	rRead
	rMoveRegister
	rMoveAgain
	rMoveEnd
	rEnd
)

// reader takes one step of a reader: it restores one snapshot, and registers
// anew when there is a newer generation that has not dropped it.
func (m *model) reader(s *State, i int) {
	a, r := &s.act[i], &m.roles[i]
	if a.st == idle {
		if int(a.k) < r.n {
			n := newest(s.gens)
			t := m.fork(s, i, "lists generations: newest is %d", n)
			t.act[i].st, t.act[i].g = running, uint8(n)
			m.flushed(t, i)
		}
		return
	}
	me, g, n := r.first+int(a.k), int(a.g), newest(s.gens)
	switch a.pc {
	case rRegister, rMoveRegister:
		t := m.fork(s, i, "puts sessions/%d/%d", g, me)
		t.reg |= sid(me)
		t.base[me] = a.g
		t.act[i].pc++
		m.twice(putReg, packs(sid(me)))
	case rAgain:
		if n > g {
			m.ended(m.fork(s, i, "sees generation %d: starts over", n), i)
			return
		}
		valid := (s.valid() | s.done[g].cat) &^ s.rec[g].d
		for x := valid; x != 0; x &= x - 1 {
			p := bits.TrailingZeros16(uint16(x))
			t := m.fork(s, i, "sees no newer generation, begins to read %d", p)
			t.act[i].x, t.act[i].pc = uint16(p), rRead
			m.flushed(t, i)
			m.believe(t, i, sid(p))
		}
	case rRead:
		m.abort(s, i, me, func(t *State) { m.ended(t, i) })
		if n > g && int(a.k)+1 < r.n && !m.gone(s, int(a.x), g, n) {
			t := m.fork(s, i, "sees generation %d, which keeps its snapshot: moves on", n)
			t.act[i].k++
			t.act[i].w = sids(a.g) // the old base, where its protection still is
			t.act[i].g, t.act[i].pc = uint8(n), rMoveRegister
			m.flushed(t, i)
		}
	case rMoveAgain:
		if n > g {
			// It stays where it was; the new registration is as good as dead.
			t := m.fork(s, i, "sees generation %d: gives the new registration up", n)
			t.act[i].pc, t.act[i].g = rEnd, uint8(a.w)
			return
		}
		m.fork(s, i, "sees no newer generation: has moved").act[i].pc = rMoveEnd
	case rMoveEnd:
		m.abort(s, i, me-1, func(t *State) { t.act[i].pc, t.act[i].w = rRead, 0 })
	case rEnd:
		m.abort(s, i, me-1, func(t *State) { m.ended(t, i) })
	}
}

// gone says whether a generation after g, up to n, drops the snapshot. To look at
// D_n alone is not enough: who was taken for dead may have missed generations.
func (m *model) gone(s *State, snapshot, g, n int) bool {
	if m.cfg.Rules.MoveByLastD {
		g = n - 1
	}
	var d sids
	for ; g < n; g++ {
		d |= s.rec[g+1].d
	}
	return d&sid(snapshot) != 0
}

// abort ends a session of the actor's own by ABORT on its fate.
func (m *model) abort(s *State, i, me int, then func(*State)) {
	t := m.fork(s, i, "puts fates/%d/%d = ABORT, its own", int(s.base[me]), me)
	if t.commit&sid(me) == 0 {
		t.abort |= sid(me)
	}
	then(t)
}

// protected says whether a reader relies on its snapshot being there, and which.
func (m *model) protected(s *State, i int) (snapshot int, ok bool) {
	a, r := &s.act[i], &m.roles[i]
	if r.kind != reader || a.st != running || a.pc < rRead {
		return 0, false
	}
	me := r.first + int(a.k)
	if a.pc == rMoveRegister || a.pc == rMoveAgain || a.pc == rEnd {
		me--
	}
	return int(a.x), s.abort&sid(me) == 0 && !s.killedLongAgo(me)
}

// killedLongAgo says that a session's generation was closed without it: its
// ABORT may have been swept since.
func (s *store) killedLongAgo(me int) bool { return s.freed&sid(me) != 0 }
