package explorer

// Where a writer stands.
const (
	wRegister = iota
	wAgain
	wPrev
	wPrevMore
	wFates
	wFatesMore
	wPack
	wSegment
	wCommit
	wSync
	wCheck
)

// firstPage are the sessions whose names come first in a listing.
const firstPage sids = 0b01010101

// writer takes one step of a writing session (section "A writing session").
func (m *model) writer(s *State, i int) {
	a, r := &s.act[i], &m.roles[i]
	if a.st == idle {
		if int(a.k) < r.n {
			n := newest(s.gens)
			m.lied(s, OfGenerations, n > 0 && m.cfg.Rules.ListNewest, func(s *State, lie bool) {
				g := n
				if lie {
					g--
				}
				t := m.fork(s, i, "lists generations: newest is %d", g)
				t.act[i].st, t.act[i].pc, t.act[i].g = running, wRegister, uint8(g)
				m.flushed(t, i)
			})
		}
		return
	}
	me := r.first + int(a.k)
	g := int(a.g)
	switch a.pc {
	case wRegister:
		t := m.fork(s, i, "puts sessions/%d/%d", g, me)
		t.reg |= sid(me)
		t.base[me] = a.g
		t.act[i].pc = wAgain
		m.twice(putReg, packs(sid(me)))
	case wAgain:
		m.again(s, i)
	case wPrev, wPrevMore:
		// g.done was missing: what was committed on the generation before counts, as far as g does not cover it.
		m.list(s, i, "fates of the generation before", wPrevMore, OfView, s.of(s.commit, g-1), func(t *State, seen sids) {
			m.believe(t, i, seen)
			t.act[i].seen, t.act[i].pc = seen, wFates
		})
	case wFates, wFatesMore:
		got := s.of(s.commit, g)
		if m.cfg.Paged && a.pc == wFates {
			m.list(s, i, "fates", wFatesMore, OfView, got, nil)
			return
		}
		if a.pc == wFatesMore {
			got = got&^firstPage | a.page
		}
		m.lied(s, OfView, got != 0, func(s *State, lie bool) {
			seen := got
			if lie {
				seen = a.page
			}
			m.choose(s, i, seen)
		})
	case wPack:
		t := m.fork(s, i, "puts pack and segment %d", me)
		if m.cfg.Split {
			m.out[len(m.out)-1].how.what = "puts pack %d"
			t.act[i].pc = wSegment
		} else {
			t.segs |= pack(me)
			t.act[i].pc = wCommit
		}
		t.packs |= pack(int(s.pk[me]))
		m.twice(putPack, pack(int(s.pk[me])))
	case wSegment:
		t := m.fork(s, i, "puts segment %d", me)
		t.segs |= pack(me)
		t.act[i].pc = wCommit
		m.twice(putSeg, pack(me))
	case wCommit:
		if s.abort&sid(me) != 0 {
			m.ended(m.fork(s, i, "finds fates/%d/%d to be ABORT: fenced", g, me), i)
			return
		}
		t := m.fork(s, i, "puts fates/%d/%d = COMMIT", g, me)
		t.commit |= sid(me)
		t.act[i].pc = wCheck
		if m.cfg.PowerCuts > 0 {
			m.out[len(m.out)-1].how.what = "links fates/%d/%d = COMMIT, not yet flushed"
			t.softCommit |= sid(me)
			t.act[i].pc = wSync
		}
		m.twice(putCommit, packs(sid(me)))
	case wSync:
		t := m.fork(s, i, "flushes its COMMIT")
		t.softCommit &^= sid(me)
		t.act[i].pc = wCheck
	case wCheck:
		m.step7(s, i, me)
	}
}

// again is step 2: still the newest generation? It also reads g.done.
func (m *model) again(s *State, i int) {
	a := &s.act[i]
	n, g := newest(s.gens), int(a.g)
	m.lied(s, OfGenerations, n > g && m.cfg.Rules.ListNewest, func(s *State, lie bool) {
		if n > g && !lie && !m.is(NoSecondList) {
			m.ended(m.fork(s, i, "sees generation %d: starts over", n), i)
			return
		}
		if s.dones&gen(g) != 0 || g == 0 {
			t := m.fork(s, i, "sees no newer generation, reads generation %d, closed", g)
			t.act[i].x, t.act[i].pc = 1, wFates
			m.flushed(t, i)
			return
		}
		t := m.fork(s, i, "sees no newer generation, reads generation %d, not yet closed", g)
		t.act[i].x, t.act[i].pc = 0, wPrev
		m.flushed(t, i)
	})
}

// step7 looks whether the generation was closed without us.
func (m *model) step7(s *State, i, me int) {
	g := int(s.act[i].g)
	first := 0
	for n := g + 1; n < maxGens; n++ {
		if s.dones&gen(n) != 0 {
			first = n
			break
		}
	}
	m.lied(s, OfGenerations, first != 0 && m.cfg.Rules.ListNewest, func(s *State, lie bool) {
		ok := first == 0 || lie || m.is(NoStep7)
		if !ok {
			last := first
			if m.cfg.Rules.Step7Last {
				last = newest(s.dones)
			}
			ok = s.done[last].cat&sid(me) != 0
			for n := g + 1; n <= last; n++ {
				ok = ok || s.rec[n].d&sid(me) != 0
			}
		}
		if !ok {
			m.ended(m.fork(s, i, "reads %d.done, which lacks %d: fenced", first, me), i)
			return
		}
		t := m.fork(s, i, "reports success of %d", me)
		t.acked |= sid(me)
		if t.tainted&sid(me) != 0 {
			m.fail(I4)
		}
		m.ended(t, i)
	})
}

// ended closes a session, whatever came of it.
func (m *model) ended(t *State, i int) {
	a, r := &t.act[i], &m.roles[i]
	me := r.first + int(a.k)
	if t.commit&sid(me) == 0 && t.packs&pack(me) == 0 && !t.arriving(pack(me)) && r.kind == writer {
		t.root[me] = 0
		if t.pk[me] == uint8(me) {
			t.content[me] = 0
		}
	}
	*a = actor{k: a.k + 1}
	if int(a.k) == r.n {
		a.st = over
	}
}
