package explorer

import "slices"

// Calls that may arrive when nobody waits for them any more.
const (
	putReg = iota + 1
	putPack
	putSeg
	putCommit
	putAbort
	putAsk
	lateDelete = 0x80 // with one of delPacks.. added
)

// arrive carries a call out.
func (s *State) arrive(c call) {
	switch c.what {
	case putReg:
		s.reg |= sids(c.set)
	case putPack:
		s.packs |= c.set
	case putSeg:
		s.segs |= c.set
	case putCommit:
		s.commit |= sids(c.set) &^ s.abort
	case putAbort:
		s.abort |= sids(c.set) &^ s.commit
	case putAsk:
		s.asks |= sids(c.set)
	case lateDelete | delPacks:
		s.packs &^= c.set
	case lateDelete | delSegs:
		s.segs &^= c.set
	case lateDelete | delRegs:
		s.reg &^= sids(c.set)
	case lateDelete | delFates:
		s.freed |= sids(c.set) & (s.commit | s.abort)
		s.commit &^= sids(c.set)
		s.abort &^= sids(c.set)
	case lateDelete | delAsks:
		s.asks &^= sids(c.set)
	case lateDelete | delRecords:
		s.gens &^= gens(c.set)
		s.dones &^= gens(c.set)
	}
}

// later keeps a call on its way; the calls are sorted so that their order makes no new state.
func (s *State) later(c call) {
	for i := range s.late {
		if s.late[i].what == 0 {
			s.late[i] = c
			break
		}
	}
	if l := &s.late; l[1].what > l[0].what || l[1].what == l[0].what && l[1].set > l[0].set {
		l[0], l[1] = l[1], l[0]
	}
}

// arriving says whether a Put of the pack is on its way.
func (s *State) arriving(p packs) bool {
	return slices.ContainsFunc(s.late[:], func(c call) bool { return c.what == putPack && c.set&p != 0 })
}

// twice adds to the last step one in which the Put arrives once more, later.
func (m *model) twice(what uint32, set packs) {
	last := m.out[len(m.out)-1]
	if last.s.dupLeft == 0 {
		return
	}
	t := m.fork(&last.s, int(last.how.who), last.how.what, last.how.args[:]...)
	t.dupLeft--
	t.later(call{what: what, set: set})
	h := &m.out[len(m.out)-1].how
	h.note = "sent twice"
}

// lied does f, and once more with a page that comes back empty.
func (m *model) lied(s *State, which Listing, matters bool, f func(s *State, lie bool)) {
	f(s, false)
	if s.lieLeft == 0 || m.cfg.LieIn&which == 0 || !matters {
		return
	}
	t := *s
	t.lieLeft--
	from := len(m.out)
	f(&t, true)
	for i := from; i < len(m.out); i++ {
		m.out[i].how.note = "a page comes back empty"
	}
}

// list is a listing in one page, or in two: first in the state a.pc, then in the state more.
func (m *model) list(s *State, i int, what string, more uint8, which Listing, names sids, then func(t *State, seen sids)) {
	a := &s.act[i]
	if m.cfg.Paged && a.pc != more {
		m.lied(s, which, names&firstPage != 0, func(s *State, lie bool) {
			t := m.fork(s, i, "lists "+what+": first page")
			t.act[i].pc = more
			if !lie {
				t.act[i].page = names & firstPage
			}
		})
		return
	}
	mine := names
	if a.pc == more {
		mine &^= firstPage
	}
	m.lied(s, which, mine != 0, func(s *State, lie bool) {
		seen := s.act[i].page | mine
		if lie {
			seen = s.act[i].page
		}
		t := m.fork(s, i, "lists "+what+": %08b", int(seen))
		t.act[i].page = 0
		then(t, seen)
	})
}

// faults adds what happens to the world by itself.
func (m *model) faults(s *State) {
	for i := range m.roles {
		switch s.act[i].st {
		case running:
			if s.crashLeft > 0 {
				m.crash(s, i)
			}
		case inFlight:
			m.land(s, i)
		}
	}
	for i := range s.late {
		c := s.late[i]
		if c.what == 0 {
			continue
		}
		t := m.fork(s, -1, "a late call arrives: kind %02x of %08b", int(c.what), int(c.set))
		t.late[i] = call{}
		if i == 0 {
			t.late[0], t.late[1] = t.late[1], t.late[0]
		}
		t.arrive(c)
	}
	if s.cutLeft > 0 {
		m.powerCut(s)
	}
}

// crash ends an actor; if a Put or Delete was next, it may have been sent.
func (m *model) crash(s *State, i int) {
	if m.roles[i].kind == pruner {
		t := m.fork(s, i, "crashes")
		t.crashLeft--
		m.stop(t, i)
	} else {
		t := m.fork(s, i, "crashes")
		t.crashLeft--
		m.ended(t, i)
	}
	if m.calls(s, i) {
		t := m.fork(s, i, "crashes, its last call on its way")
		t.crashLeft--
		t.act[i].st = inFlight
	}
}

// calls says whether the actor's next step is a Put or a Delete.
func (m *model) calls(s *State, i int) bool {
	pc := s.act[i].pc
	switch m.roles[i].kind {
	case writer:
		return pc == wRegister || pc == wPack || pc == wSegment || pc == wCommit
	case reader:
		return pc == rRegister || pc == rMoveRegister || pc == rMoveEnd || pc == rEnd
	case pruner:
		return pc == pCopy || pc == pCopySegment || pc == pPublish || pc == pRescue || pc == pRescueSegment || pc == pClose || pc == pDelete
	}
	return false
}

// land lets the last call of a dead actor arrive.
func (m *model) land(s *State, i int) {
	t := *s
	t.act[i].st = running
	t.dupLeft, t.lateLeft, t.lieLeft = 0, 0, 0
	from := len(m.out)
	m.step(&t, i)
	for j := from; j < len(m.out); j++ {
		u := &m.out[j]
		if m.roles[i].kind == pruner && u.s.act[i].st == running {
			m.stop(&u.s, i)
		}
		u.s.act[i] = actor{st: over}
		u.s.dupLeft, u.s.lateLeft, u.s.lieLeft = s.dupLeft, s.lateLeft, s.lieLeft
		u.how.note = "its last call arrives"
	}
}

func (m *model) step(s *State, i int) {
	switch m.roles[i].kind {
	case writer:
		m.writer(s, i)
	case reader:
		m.reader(s, i)
	case pruner:
		m.pruner(s, i)
	}
}

// powerCut ends everybody; each name that nobody has flushed is there or gone.
func (m *model) powerCut(s *State) {
	for lost := 0; lost < 8; lost++ {
		c, g, d := sids(0), gens(0), gens(0)
		if lost&1 != 0 {
			c = s.softCommit
		}
		if lost&2 != 0 {
			g = s.softGen
		}
		if lost&4 != 0 {
			d = s.softDone
		}
		if lost&1 != 0 && c == 0 || lost&2 != 0 && g == 0 || lost&4 != 0 && d == 0 {
			continue
		}
		// Of several commits each may be lost alone.
		for sub := c; ; sub = (sub - 1) & c {
			if sub != 0 || c == 0 {
				m.cut(s, sub, g, d)
			}
			if sub == 0 {
				break
			}
		}
	}
}

func (m *model) cut(s *State, c sids, g, d gens) {
	t := m.fork(s, -1, "power is cut: commits %08b and generations %08b are gone", int(c), int(g))
	if d != 0 {
		m.out[len(m.out)-1].how.what = "power is cut: commits %08b and .done of %08b are gone"
		m.out[len(m.out)-1].how.args[1] = int(d)
	}
	t.cutLeft--
	m.bury(t)
	t.commit &^= c
	t.gens &^= g
	t.dones &^= d
	for x := g; x != 0; x &= x - 1 {
		t.rec[newest(x&-x)] = generation{}
	}
	for x := d; x != 0; x &= x - 1 {
		t.done[newest(x&-x)] = closing{}
	}
	t.softCommit, t.softGen, t.softDone = 0, 0, 0
}

// bury ends all who are under way; the idle may still begin.
func (m *model) bury(t *State) {
	for i := range m.roles {
		if t.act[i].st == idle || t.act[i].st == over {
			continue
		}
		if m.roles[i].kind == pruner {
			m.stop(t, i)
		} else {
			m.ended(t, i)
		}
	}
}
