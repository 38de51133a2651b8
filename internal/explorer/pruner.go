package explorer

import "math/bits"

// Where a pruner stands.
const (
	pFates = iota
	pFatesMore
	pAsks
	pCopy
	pCopySegment
	pPublish
	pPublishSync
	pSessions
	pSessionsMore
	pSessionsAgain
	pSessionsAgainMore
	pWait
	pList
	pListMore
	pRescue
	pRescueSegment
	pClose
	pCloseSync
	pDelete
)

// pruner takes one step of a prune cycle (section "Prune").
func (m *model) pruner(s *State, i int) {
	a, r := &s.act[i], &m.roles[i]
	if a.st == idle {
		if int(a.k) < r.n {
			m.begin(s, i)
		}
		return
	}
	pl := &s.plan[r.plan]
	cyc := r.first + int(a.k)
	to := int(a.g) // the generation that this cycle publishes and closes
	switch a.pc {
	case pFates, pFatesMore:
		m.list(s, i, "fates, for the first mark", pFatesMore, OfMarked, s.of(s.commit, to-1), func(t *State, seen sids) {
			m.trusted(t, seen)
			t.act[i].seen, t.act[i].pc = seen, pAsks
		})
	case pAsks:
		for _, p := range m.policies(i) {
			if m.cfg.Rules.Rewrite != Always {
				m.propose(s, i, p, false)
			}
			if m.cfg.Rules.Rewrite == Always || m.cfg.Rules.Rewrite == Sometimes && i != m.fresh {
				m.propose(s, i, p, true)
			}
		}
	case pCopy:
		if w, r := s.copies(pl.gen.c & s.packs); s.content[copyPack(cyc)]&^(w|r<<4) != 0 {
			m.stop(m.fork(s, i, "cannot read what it would copy: stops"), i)
			return
		}
		t := m.fork(s, i, "puts the copies, pack %d", copyPack(cyc))
		t.packs |= pack(copyPack(cyc))
		t.act[i].pc = pCopySegment
		m.twice(putPack, pack(copyPack(cyc)))
	case pCopySegment:
		t := m.fork(s, i, "puts the new segment %d", copyPack(cyc))
		t.segs |= pack(copyPack(cyc))
		t.act[i].pc = m.afterCopies()
		m.twice(putSeg, pack(copyPack(cyc)))
	case pPublish:
		m.publish(s, i)
	case pPublishSync:
		t := m.fork(s, i, "flushes generations/%d", to)
		t.softGen &^= gen(to)
		t.act[i].pc = pSessions
	case pSessions, pSessionsMore:
		m.list(s, i, "sessions, who may still commit", pSessionsMore, OfSessions, s.of(s.reg, to-1), func(t *State, seen sids) {
			t.act[i].w = seen
			t.act[i].pc = m.afterSessions(s.lieLeft)
		})
	case pSessionsAgain, pSessionsAgainMore:
		m.list(s, i, "sessions once more", pSessionsAgainMore, OfSessions, s.of(s.reg, to-1), func(t *State, seen sids) {
			t.act[i].w |= seen
			t.act[i].pc = pWait
		})
	case pWait:
		m.wait(s, i)
	case pList, pListMore:
		m.list(s, i, "fates, for the second mark", pListMore, OfFates, s.of(s.commit, to-1), func(t *State, seen sids) {
			if t.of(t.commit, to-1)&t.act[i].w&^seen != 0 && !m.is(EmptyPageBelieved) {
				m.stop(t, i) // the listing lies
				return
			}
			m.trusted(t, seen)
			t.act[i].seen, t.act[i].pc = seen, pRescue
			m.secondMark(t, i)
		})
	case pRescue:
		t := m.fork(s, i, "puts what it rescued, pack %d", rescuePack(cyc))
		t.packs |= pack(rescuePack(cyc))
		t.act[i].pc = pRescueSegment
		m.twice(putPack, pack(rescuePack(cyc)))
	case pRescueSegment:
		t := m.fork(s, i, "puts the rescue segment %d", rescuePack(cyc))
		t.segs |= pack(rescuePack(cyc))
		m.doomed(t, i)
		m.twice(putSeg, pack(rescuePack(cyc)))
	case pClose:
		m.close(s, i)
	case pCloseSync:
		t := m.fork(s, i, "flushes generations/%d.done", to)
		t.softDone &^= gen(to)
		m.beginDeletes(t, i)
	case pDelete:
		m.sweep(s, i)
	}
}

// begin is step 0: help with a generation that is not closed, or plan the next.
func (m *model) begin(s *State, i int) {
	n := newest(s.gens)
	cyc := m.roles[i].first + int(s.act[i].k)
	if s.dones&gen(n) == 0 && !m.is(PlanBeforeDone) {
		t := m.fork(s, i, "finds generation %d not closed: helps", n)
		t.act[i].st, t.act[i].pc, t.act[i].g = running, pSessions, uint8(n)
		t.planned[cyc] = uint8(n)
		m.flushed(t, i)
		return
	}
	if n+1 == maxGens {
		return
	}
	t := m.fork(s, i, "begins to plan generation %d", n+1)
	t.act[i].st, t.act[i].pc, t.act[i].g = running, pFates, uint8(n+1)
	t.planned[cyc] = uint8(n + 1)
	m.flushed(t, i)
}

func (m *model) policies(i int) []Policy {
	if i == m.fresh || len(m.cfg.Policies) == 0 {
		return []Policy{KeepOldest}
	}
	return m.cfg.Policies
}

// propose is the first mark, with the asks listed just now.
func (m *model) propose(s *State, i int, p Policy, rewrite bool) {
	a, r := &s.act[i], &m.roles[i]
	n, cyc := int(a.g)-1, r.first+int(a.k)
	rec, done := &s.rec[n], &s.done[n]
	cat := done.cat
	if s.dones&gen(n) == 0 && n > 0 { // only the mutant that does not wait comes here
		cat = s.done[n-1].cat | s.of(s.commit, n-1)
	}
	known := cat | a.seen
	d := s.asks & known
	if m.is(UnseenInD) {
		d = s.asks &^ s.dropped()
	}
	if p == Early {
		d = 0
		if a.seen == 0 {
			return
		}
	}
	segs := rec.segs | done.rescue | s.segments(done.uncovered) | s.segments(a.seen)
	if segs&^s.segs != 0 {
		m.stop(m.fork(s, i, "misses a segment of generation %d: stops", n), i)
		return
	}
	idx := s.under(segs) &^ rec.dead
	whole, recipe, _ := m.mark(&s.store, s.needs(known&^d), idx, true)
	c := s.condemn(p, idx, whole, recipe)
	if m.is(RecipeInstead) {
		_, rcp := s.copies(idx &^ c)
		whole &^= rcp // a recipe that stays is thought to be enough
	}
	copies := s.missing(whole, recipe, idx&^c)
	if p != Early && d == 0 && c == 0 && !m.dirty(s, n, segs, idx) {
		if !rewrite || m.cfg.Rules.Rewrite == Always {
			m.stop(m.fork(s, i, "finds nothing to do"), i)
		}
		return
	}
	t := m.fork(s, i, "marks: condemns packs %024b, drops sessions %08b", int(c), int(d))
	if rewrite {
		m.out[len(m.out)-1].how.note = "and writes the index anew"
	}
	pl := &t.plan[r.plan]
	me := pack(copyPack(cyc))
	pl.gen = generation{c: c, d: d, covered: a.seen}
	if rewrite {
		t.merged[cyc] = idx &^ c
		if copies != 0 {
			t.merged[cyc] |= me
		}
		if t.merged[cyc] != 0 {
			pl.gen.segs = me
		}
	} else {
		if copies != 0 {
			segs |= me
			t.merged[cyc] = me
		}
		pl.gen.dead = (rec.dead | c) & t.under(segs)
		pl.gen.segs = t.withoutDead(segs, pl.gen.dead)
		pl.gen.dead &= t.under(pl.gen.segs)
	}
	t.content[copyPack(cyc)] = copies
	t.act[i].seen = 0
	switch {
	case copies != 0:
		t.act[i].pc = pCopy
	case pl.gen.segs&me != 0:
		t.act[i].pc = pCopySegment
	default:
		t.act[i].pc = m.afterCopies()
	}
}

// withoutDead drops the segments all of whose packs are dead.
func (s *store) withoutDead(segs, dead packs) packs {
	var r packs
	for x := segs; x != 0; x &= x - 1 {
		i := bits.TrailingZeros32(uint32(x))
		if s.under(pack(i))&^dead != 0 {
			r |= pack(i)
		}
	}
	return r
}

// dirty says whether there is something to sweep that no mark condemns.
func (m *model) dirty(s *State, n int, segs, idx packs) bool {
	if s.upTo(s.packs, n)&^idx != 0 || s.upTo(s.segs, n)&^segs != 0 || s.asks&s.dropped() != 0 {
		return true
	}
	old := s.reg | s.commit | s.abort
	return m.cfg.Rules.SureNoop && old&^s.from(old, n) != 0
}

// publish is step 2.
func (m *model) publish(s *State, i int) {
	a, r := &s.act[i], &m.roles[i]
	to := int(a.g)
	if s.gens&gen(to) != 0 && !m.is(TwoPlans) {
		t := m.fork(s, i, "finds generations/%d published by another: helps", to)
		t.plan[r.plan] = plan{}
		t.act[i].pc = m.afterPublish()
		m.flushed(t, i)
		return
	}
	t := m.fork(s, i, "puts generations/%d", to)
	t.gens |= gen(to)
	t.rec[to] = t.plan[r.plan].gen
	t.plan[r.plan] = plan{}
	t.act[i].pc = m.afterPublish()
	if m.cfg.PowerCuts > 0 {
		m.out[len(m.out)-1].how.what = "links generations/%d, not yet flushed"
		t.softGen |= gen(to)
		t.act[i].pc = pPublishSync
	}
	if t.dones&gen(to-1) == 0 {
		m.fail(I7)
	}
}

// afterCopies, afterPublish and afterSessions are the order of the steps, which a mutant changes.
func (m *model) afterCopies() uint8 {
	if m.is(SessionsBeforePlan) {
		return pSessions
	}
	return pPublish
}

func (m *model) afterPublish() uint8 {
	if m.is(SessionsBeforePlan) {
		return pWait
	}
	return pSessions
}

func (m *model) afterSessions(lies uint8) uint8 {
	if m.is(SessionsBeforePlan) {
		return pPublish
	}
	if m.cfg.LieIn&OfSessions != 0 && !m.cfg.Rules.WOnce {
		return pSessionsAgain
	}
	return pWait
}

// trusted flushes fates that a pruner is about to rely on.
func (m *model) trusted(t *State, fates sids) {
	if !m.is(PrunerTrustsCommits) {
		t.softCommit &^= fates
	}
}

// stop ends a cycle.
func (m *model) stop(t *State, i int) {
	a, r := &t.act[i], &m.roles[i]
	cyc := r.first + int(a.k)
	for _, p := range [2]int{copyPack(cyc), rescuePack(cyc)} {
		if t.packs&pack(p) == 0 && !t.arriving(pack(p)) {
			t.content[p] = 0
		}
	}
	t.plan[r.plan] = plan{}
	*a = actor{k: a.k + 1}
	if int(a.k) == r.n {
		a.st = over
	}
}
