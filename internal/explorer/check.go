package explorer

import "fmt"

// check says which invariant does not hold in t, which came from s.
func (m *model) check(s, t *State) Invariant {
	valid := t.valid()
	lost := t.acked&^t.asked&^valid != 0 || s.valid()&^s.softCommit&^t.asked&^valid != 0
	switch {
	case lost && !m.blind[I2]:
		return I2
	case valid&t.dropped() != 0 && !m.blind[I3]:
		return I3
	}
	if m.cfg.Rules.Manifests && valid&^(t.commit|m.seeds) != 0 && !m.blind[I1] {
		return I1
	}
	ps, open := t.readable(), newest(t.gens)
	if _, _, gone := t.closure(t.needs(valid&^t.rec[open].d), ps); gone != 0 && !m.blind[I1] {
		return I1
	}
	if _, _, gone := t.closure(t.needs(valid&t.rec[open].d), ps); gone != 0 && !m.blind[ID] {
		return ID
	}
	for i := range m.roles {
		if m.roles[i].kind != reader || m.blind[IR] {
			continue
		}
		if p, ok := m.protected(t, i); ok {
			g := int(t.act[i].g)
			ps := t.liveFor(g) | t.rec[g].c
			if g > 0 {
				ps |= t.liveFor(g - 1)
			}
			if _, _, gone := t.closure(t.root[p], ps&t.packs); gone != 0 {
				return IR
			}
		}
	}
	return 0
}

// readable returns the packs that exist and that an existing segment
// describes, of the last closed generation, the open one, and commits since.
func (s *store) readable() packs {
	n, open := newest(s.dones), newest(s.gens)
	ps := s.under(s.rec[n].segs&s.segs) &^ s.rec[n].dead
	ps |= s.under((s.done[n].rescue | s.segments(s.done[n].uncovered)) & s.segs)
	if open > n {
		ps |= s.under(s.rec[open].segs&s.segs) &^ s.rec[open].dead
	}
	ps |= s.under(s.segments(s.from(s.commit, n)) & s.segs)
	return ps & s.packs
}

// successors fills m.out with the states after s.
func (m *model) successors(s *State) {
	m.out = m.out[:0]
	for i := range m.roles {
		if i != m.fresh && s.act[i].st <= running {
			m.step(s, i)
		}
	}
	if s.asksLeft > 0 {
		m.forget(s)
	}
	m.faults(s)
}

// forget asks for a snapshot to be dropped.
func (m *model) forget(s *State) {
	may := s.valid() | s.commit
	if m.cfg.AskAny {
		may |= s.reg
	}
	may &^= s.asked
	for v := range maxSids {
		if may&sid(v) == 0 {
			continue
		}
		t := m.fork(s, -1, "someone asks to forget %d", v)
		t.asksLeft--
		t.asked |= sid(v)
		if m.is(ForgetDeletes) && s.commit&sid(v) != 0 {
			m.out[len(m.out)-1].how.what = "someone forgets %d by deleting its fate"
			t.commit &^= sid(v)
			m.fail(I4)
			continue
		}
		t.asks |= sid(v)
		m.twice(putAsk, packs(sid(v)))
	}
}

// afterlife is what a fresh pruner makes of a state in which all have died.
type afterlife struct {
	m    *model // without faults
	main *model
	seen table
	way  []Step
}

func newAfterlife(main *model) *afterlife {
	cfg := *main.cfg
	cfg.Paged, cfg.PowerCuts, cfg.Crashes = false, 0, 0
	m := newModel(&cfg)
	return &afterlife{m: m, main: main}
}

// check lets all die in s, with their calls lost and with their calls arriving, and
// runs a fresh pruner to its end. tell gets the steps.
func (l *afterlife) check(s *State, tell func(string)) Invariant {
	for _, arrive := range [2]bool{false, true} {
		t := *s
		t.asksLeft, t.crashLeft, t.dupLeft, t.lateLeft, t.lieLeft, t.cutLeft = 0, 0, 0, 0, 0, 0
		for i := range t.late {
			if arrive {
				t.arrive(t.late[i])
			}
			t.late[i] = call{}
		}
		if arrive {
			for i := range l.m.roles {
				if a := t.act[i].st; a == inFlight || a == running && l.main.calls(&t, i) {
					l.m.out = l.m.out[:0]
					if l.m.land(&t, i); len(l.m.out) > 0 {
						t = l.m.out[0].s
					}
				}
			}
		}
		l.m.bury(&t)
		for i := range l.m.roles {
			if i != l.m.fresh {
				t.act[i] = actor{st: over}
			}
		}
		t.view = [2]packs{}
		if !l.seen.add(l.m.hash(&t)) && tell == nil {
			continue
		}
		if bad := l.run(s, &t); bad != 0 {
			if tell != nil {
				tell(fmt.Sprintf("             -- all die; calls on their way arrive: %v", arrive))
				for _, how := range l.way {
					tell(l.m.line(how))
				}
			}
			return bad
		}
	}
	return 0
}

func (l *afterlife) run(s, t *State) Invariant {
	m, i := l.m, l.m.fresh
	l.way = l.way[:0]
	if bad := m.check(s, t); bad != 0 {
		return bad
	}
	swept := 0
	for {
		m.out = m.out[:0]
		m.step(t, i)
		if len(m.out) == 0 {
			return l.garbage()
		}
		n := &m.out[0]
		l.way = append(l.way, n.how)
		if n.fail != 0 {
			return n.fail
		}
		if bad := m.check(t, &n.s); bad != 0 {
			return bad
		}
		if t.dones != n.s.dones {
			swept = newest(n.s.dones)
		}
		nothing := t.act[i].pc == pAsks && n.s.act[i].st != running
		*t = n.s
		if nothing {
			return l.clean(t, swept)
		}
	}
}

func (l *afterlife) garbage() Invariant {
	if l.m.blind[IG] {
		return 0
	}
	return IG
}

// clean says whether what is left is needed; swept is the last generation that
// the fresh pruner closed.
func (l *afterlife) clean(t *State, swept int) Invariant {
	ps := t.readable()
	whole, recipe, _ := t.closure(t.needs(t.valid()), ps)
	if t.packs&^ps != 0 || t.condemn(KeepOldest, ps, whole, recipe) != 0 || t.under(t.segs)&t.packs&^ps != 0 ||
		t.withoutDead(t.segs, ^t.packs) != t.segs || t.asks&t.dropped() != 0 {
		return l.garbage()
	}
	old := t.reg | t.commit | t.abort
	if l.m.cfg.Rules.Records == ByText {
		old &^= t.valid() // these it keeps for ever
	}
	if old&^t.from(old, swept-1) != 0 {
		return l.garbage()
	}
	return 0
}
