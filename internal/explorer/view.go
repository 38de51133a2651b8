package explorer

import "math/bits"

// view is what a session with base g may read: snapshots and packs. ok is
// false if a segment is gone.
func (m *model) view(s *State, g int, closed bool, prev, cur sids) (valid sids, ps packs, ok bool) {
	rec := &s.rec[g]
	segs := rec.segs | s.segments(cur)
	var extra packs
	if closed {
		d := &s.done[g]
		extra = s.segments(d.uncovered) | d.rescue
		valid = d.cat | cur
	} else {
		// What g covers is in its base, what it drops is gone.
		extra = s.segments(prev &^ (rec.covered | rec.d))
		valid = (s.done[g-1].cat | prev | cur) &^ rec.d
	}
	segs |= extra
	if segs&^s.segs != 0 {
		return 0, 0, false
	}
	ps = s.under(rec.segs)&^rec.dead | s.under(extra|s.segments(cur))
	if m.is(HitInDeadPack) {
		ps |= rec.c
	}
	if m.is(ParentFromD) {
		valid |= rec.d
	}
	return valid, ps, true
}

// liveFor is the live set of generation g, as an omniscient observer knows it.
func (s *store) liveFor(g int) packs {
	ps := s.live(g) | s.under(s.done[g].rescue|s.segments(s.done[g].uncovered))
	ps |= s.under(s.segments(s.of(s.commit, g)))
	if g > 0 && s.dones&gen(g) == 0 {
		ps |= s.under(s.segments(s.of(s.commit, g-1) &^ (s.rec[g].covered | s.rec[g].d)))
	}
	return ps
}

// condemned is the union of C_m, m <= g.
func (s *store) condemned(g int) packs {
	var ps packs
	for n := 1; n <= g; n++ {
		ps |= s.rec[n].c
	}
	return ps
}

// choose ends the reading of the view: the session decides what its snapshot
// names, what of it it uploads, and goes on with step 4.
func (m *model) choose(s *State, i int, cur sids) {
	a, r := &s.act[i], &m.roles[i]
	me, g := r.first+int(a.k), int(a.g)
	valid, ps, ok := m.view(s, g, a.x == 1, a.seen, cur)
	if !ok {
		m.ended(m.fork(s, i, "misses a segment of its view: starts over"), i)
		return
	}
	if m.is(OldView) {
		own := *s
		s = &own
		if a.k == 0 {
			s.view[r.plan] = ps
		} else if s.view[r.plan] != 0 {
			ps = s.view[r.plan]
		}
	}
	if m.cfg.Parents {
		for x := valid; x != 0; x &= x - 1 {
			p := bits.TrailingZeros16(uint16(x))
			t := m.decide(s, i, me, cur, s.root[p], 0, "takes %d as its parent, uploads nothing", p)
			t.act[i].pc = wCommit
		}
	}
	whole, recipe := s.copies(ps)
	for _, root := range m.cfg.Roots {
		m.uploads(root, whole, recipe, func(up uint8) {
			hits := root &^ (up&15 | up>>4)
			var used packs
			for y := ps; y != 0; y &= y - 1 {
				p := bits.TrailingZeros32(uint32(y))
				c := s.content[p]
				if (c&15|c>>4)&hits != 0 || c&15&basesOf(up>>4)&^up != 0 {
					used |= pack(p)
				}
			}
			t := m.decide(s, i, me, cur, root, up, "builds its view, will name chunks %02b, upload %06b", int(root), int(up))
			t.act[i].pc = wPack
			if up == 0 {
				t.act[i].pc = wCommit
			}
			// Whoever was killed may believe anything: it cannot commit.
			if s.abort&sid(me) != 0 || s.dones&gen(g+1) != 0 {
				return
			}
			if used&^s.liveFor(g) != 0 {
				m.fail(I6)
			}
			if used&s.condemned(g) != 0 {
				m.fail(I5)
			}
		})
	}
}

func (m *model) decide(s *State, i, me int, cur sids, root, up uint8, what string, args ...int) *State {
	t := m.fork(s, i, what, args...)
	m.believe(t, i, cur)
	a := &t.act[i]
	a.seen, a.page, a.x = 0, 0, 0
	t.root[me] = root
	if up == 0 {
		return t
	}
	if m.is(ContentNames) {
		for p := range maxSids {
			if t.content[p] == up {
				t.pk[me] = uint8(p)
				return t
			}
		}
	}
	t.content[me] = up
	return t
}

// uploads enumerates what a session may upload of the chunks it needs, given
// what its view holds: each chunk a hit, whole, or a recipe.
func (m *model) uploads(root, whole, recipe uint8, each func(up uint8)) {
	var rec func(c uint8, up uint8)
	rec = func(c uint8, up uint8) {
		if c > 4 {
			// A recipe names only whole copies, in the view or our own.
			if b := basesOf(up >> 4); m.is(RecipeOnRecipe) || b&^(whole|up) == 0 {
				each(up)
			}
			return
		}
		if root&c == 0 {
			rec(c<<1, up)
			return
		}
		hit := (whole|recipe)&c != 0
		if hit {
			rec(c<<1, up)
		}
		if !hit || m.cfg.Again {
			rec(c<<1, up|c)
			if m.cfg.Recipes {
				rec(c<<1, up|c<<4)
			}
		}
	}
	rec(1, 0)
}

// believe notes that the session relies on these fates, and on a local disk flushes them.
func (m *model) believe(t *State, i int, fates sids) {
	if !m.is(WriterTrustsCommits) {
		t.softCommit &^= fates
	}
	if r := &m.roles[i]; fates&t.freed&t.commit != 0 {
		t.tainted |= sid(r.first + int(t.act[i].k))
	}
}

// flushed makes durable the generation that an actor is about to build on.
func (m *model) flushed(t *State, i int) {
	writes := m.roles[i].kind != pruner
	if !(writes && m.is(WriterTrustsPlan) || !writes && m.is(PrunerTrustsPlan)) {
		t.softGen = 0
	}
	if !(writes && m.is(WriterTrustsDone) || !writes && m.is(PrunerTrustsDone)) {
		t.softDone = 0
	}
}
