package explorer

import "math/bits"

// wait is step 3: everybody in W is decided, by himself or by us.
func (m *model) wait(s *State, i int) {
	a := &s.act[i]
	to := int(a.g)
	undecided := a.w &^ (s.commit | s.abort)
	if undecided == 0 {
		m.fork(s, i, "finds all of W = %08b decided", int(a.w)).act[i].pc = pList
		return
	}
	for x := undecided; x != 0; x &= x - 1 {
		v := bits.TrailingZeros16(uint16(x))
		if !m.cfg.KillAny && m.alive(s, v) {
			continue
		}
		switch {
		case m.is(KillWithoutAbort):
			m.fork(s, i, "takes %d for dead and goes on", v).act[i].w &^= sid(v)
		case m.is(RegistrationDeleted):
			t := m.fork(s, i, "takes %d for dead and deletes its registration", v)
			t.reg &^= sid(v)
			t.act[i].w &^= sid(v)
		default:
			t := m.fork(s, i, "takes %d for dead: puts ABORT on its fate, base %d", v, to-1)
			t.abort |= sid(v)
			m.twice(putAbort, packs(sid(v)))
		}
	}
	m.stop(m.fork(s, i, "would have to wait: leaves generation %d open", to), i)
}

// alive says whether the process that registered the session still runs it.
func (m *model) alive(s *State, v int) bool {
	for i := range m.roles {
		a, r := &s.act[i], &m.roles[i]
		if r.kind != writer && r.kind != reader || v < r.first || v >= r.first+r.n || a.st != running {
			continue
		}
		k := v - r.first
		return k == int(a.k) || k == int(a.k)-1 && r.kind == reader && a.pc >= rMoveRegister
	}
	return false
}

// secondMark is step 4: what the roots need that is alive only in C is rescued.
func (m *model) secondMark(t *State, i int) {
	a, r := &t.act[i], &m.roles[i]
	to, cyc := int(a.g), r.first+int(a.k)
	rec := &t.rec[to]
	uncovered := a.seen &^ rec.covered &^ rec.d
	roots := uncovered
	if m.cfg.Rules.FullMark {
		roots = (t.done[to-1].cat | a.seen) &^ rec.d
	}
	keep := t.under(rec.segs)&^rec.dead | t.under(t.segments(uncovered))
	whole, recipe, _ := m.mark(&t.store, t.needs(roots), keep|rec.c, false)
	rescue := t.missing(whole, recipe, keep)
	if m.is(NoSecondMark) {
		rescue = 0
	}
	if w, r := t.copies(rec.c & t.packs); rescue&^(w|r<<4) != 0 && t.dones&gen(to) == 0 {
		m.stop(t, i) // cannot read what it would rescue
		return
	}
	t.content[rescuePack(cyc)] = rescue
	if rescue == 0 {
		m.doomed(t, i)
	}
}

// doomed lists what is there and draws up the names to delete (step 5).
func (m *model) doomed(t *State, i int) {
	a, r := &t.act[i], &m.roles[i]
	to, cyc := int(a.g), r.first+int(a.k)
	rec := &t.rec[to]
	d := closing{
		uncovered: a.seen &^ rec.covered &^ rec.d,
		cat:       (t.done[to-1].cat | a.seen) &^ rec.d,
	}
	if m.is(PlanBeforeDone) {
		d.cat = (t.done[newest(t.dones)].cat | t.from(t.commit, newest(t.dones)) | a.seen) &^ rec.d
	}
	if m.is(NoUncovered) {
		d.uncovered = 0
	}
	if t.content[rescuePack(cyc)] != 0 {
		d.rescue = pack(rescuePack(cyc))
	}
	segs := rec.segs | t.segments(d.uncovered) | d.rescue
	d.delSegs = t.upTo(t.segs, to-1) &^ segs
	d.delPacks = t.upTo(t.packs, to-1) &^ (t.under(segs) &^ rec.dead)
	m.records(t, to, &d)
	t.plan[r.plan].done = d
	t.act[i].seen, t.act[i].w = 0, 0
	t.act[i].pc = pClose
	if m.is(DeleteBeforeDone) {
		m.beginDeletes(t, i)
	}
}

// records adds the registrations and fates that the sweep of m = to deletes.
func (m *model) records(t *State, to int, d *closing) {
	below := func(set sids, n int) sids { return set &^ t.from(set, n) }
	switch m.cfg.Rules.Records {
	case BelowM1:
		d.delRegs, d.delFates = below(t.reg, to), below(t.commit|t.abort, to-1)
	case BelowM2:
		d.delRegs, d.delFates = below(t.reg, to-1), below(t.commit|t.abort, to-1)
	case ByText:
		d.delRegs = below(t.reg, to) &^ d.cat
		d.delFates = below(t.commit, to)&^d.cat | below(t.abort, to-1)
	case CommitsM1:
		d.delRegs, d.delFates = below(t.reg, to), below(t.commit, to)|below(t.abort, to-1)
	case FatesM1:
		d.delRegs, d.delFates = below(t.reg, to), below(t.commit|t.abort, to)
	}
	if m.is(AbortsEarly) {
		d.delFates |= below(t.abort, to)
	}
}

// close is step 5: from here on the generations below do not count.
func (m *model) close(s *State, i int) {
	a, r := &s.act[i], &m.roles[i]
	to := int(a.g)
	if s.dones&gen(to) != 0 {
		t := m.fork(s, i, "finds %d.done put by another", to)
		t.plan[r.plan] = plan{}
		m.flushed(t, i)
		m.beginDeletes(t, i)
		return
	}
	t := m.fork(s, i, "puts generations/%d.done, catalogue %08b", to, int(s.plan[r.plan].done.cat))
	t.dones |= gen(to)
	t.done[to] = t.plan[r.plan].done
	t.plan[r.plan] = plan{}
	if m.is(DeleteBeforeDone) {
		m.stop(t, i)
		return
	}
	if m.cfg.PowerCuts > 0 {
		m.out[len(m.out)-1].how.what = "links generations/%d.done, not yet flushed, catalogue %08b"
		t.softDone |= gen(to)
		t.act[i].pc = pCloseSync
		return
	}
	m.beginDeletes(t, i)
}

// Kinds of names to delete; they are taken in any order.
const (
	delPacks = 1 << iota
	delSegs
	delRegs
	delFates
	delAsks
	delRecords
)

// served returns the asks that generations up to n have answered.
func (s *State) served(n uint8) sids {
	var d sids
	for g := range int(n) + 1 {
		d |= s.rec[g].d
	}
	return s.asks & d
}

// doomedBy returns the record that says what to delete.
func (m *model) doomedBy(s *State, i int) *closing {
	if m.is(DeleteBeforeDone) {
		return &s.plan[m.roles[i].plan].done
	}
	return &s.done[s.act[i].g]
}

// beginDeletes is step 6, for what is still there.
func (m *model) beginDeletes(t *State, i int) {
	d := m.doomedBy(t, i)
	var x uint16
	if d.delPacks&t.packs != 0 {
		x |= delPacks
	}
	if d.delSegs&t.segs != 0 {
		x |= delSegs
	}
	if d.delRegs&t.reg != 0 {
		x |= delRegs
	}
	if d.delFates&(t.commit|t.abort) != 0 {
		x |= delFates
	}
	if t.served(t.act[i].g) != 0 {
		x |= delAsks
	}
	if m.is(RecordsDeleted) && t.gens&(gen(int(t.act[i].g))-1) != 0 {
		x |= delRecords
	}
	t.act[i].x, t.act[i].pc = x, pDelete
	if x == 0 {
		m.swept(t, i)
	}
}

func (m *model) swept(t *State, i int) {
	if m.is(DeleteBeforeDone) {
		t.act[i].pc = pClose
		return
	}
	m.stop(t, i)
}

// sweep deletes the names of one kind.
func (m *model) sweep(s *State, i int) {
	a := &s.act[i]
	d := *m.doomedBy(s, i)
	for x := a.x; x != 0; x &= x - 1 {
		k := x & -x
		c := call{what: uint32(k) | lateDelete}
		what := "deletes"
		switch k {
		case delPacks:
			c.set, what = d.delPacks, "deletes packs %024b"
		case delSegs:
			c.set, what = d.delSegs, "deletes segments %024b"
		case delRegs:
			c.set, what = packs(d.delRegs), "deletes registrations %08b"
		case delFates:
			c.set, what = packs(d.delFates), "deletes fates %08b"
		case delAsks:
			c.set, what = packs(s.served(a.g)), "deletes asks %08b"
		case delRecords:
			c.set, what = packs(gen(int(a.g))-1), "deletes generations %08b"
		}
		t := m.fork(s, i, what, int(c.set))
		t.arrive(c)
		if s.dones&gen(int(a.g)) == 0 {
			m.fail(I4)
		}
		t.act[i].x &^= k
		if t.act[i].x == 0 {
			m.swept(t, i)
		}
		if s.lateLeft > 0 {
			t := m.fork(s, i, what+" (which takes effect later)", int(c.set))
			t.lateLeft--
			t.later(c)
			t.act[i].x &^= k
			if t.act[i].x == 0 {
				m.swept(t, i)
			}
		}
	}
}
