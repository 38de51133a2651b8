package explorer

import "math/bits"

// The world is small on purpose: everything below is an index into a fixed
// array or a bit in a set, so that a state is one flat value that can be
// compared, copied and hashed.
const (
	maxSids   = 8 // sessions that ever exist, snapshots of the start among them
	maxCycles = 8 // cycles of pruners: four explored, four of the one that comes after all died
	maxGens   = maxCycles + 1
	maxPacks  = maxSids + 2*maxCycles
	maxActors = 7
	maxPlans  = 3
)

// sids is a set of sessions, packs a set of packs or of segments. Pack and
// segment i < maxSids belong to session i; the two after them to the copies
// and to the rescue of prune cycle 0, and so on.
type (
	sids  uint16
	packs uint32
	gens  uint16
)

func sid(i int) sids       { return 1 << i }
func pack(i int) packs     { return 1 << i }
func gen(n int) gens       { return 1 << n }
func copyPack(c int) int   { return maxSids + 2*c }
func rescuePack(c int) int { return maxSids + 2*c + 1 }

// generation is the record generations/<n>.
type generation struct {
	segs    packs // index segments that make up the base
	dead    packs // the masks of these segments: packs in them that are dead
	c       packs // condemned by this generation
	d       sids  // dropped by it
	covered sids  // commits with base n-1 that the first mark had seen
}

// closing is the record generations/<n>.done.
type closing struct {
	rescue    packs // rescue segments
	delPacks  packs
	delSegs   packs
	uncovered sids
	cat       sids // the catalogue
	delRegs   sids
	delFates  sids
}

// store is what is in the bucket, and what was promised about it.
type store struct {
	packs, segs packs
	gens, dones gens

	reg, commit, abort, asks sids

	base [maxSids]uint8 // g in sessions/<g>/<sid>
	root [maxSids]uint8 // chunks that the snapshot needs
	pk   [maxSids]uint8 // the pack that the session's segment describes: its own, unless names come from content

	content [maxPacks]uint8  // low nibble: whole chunks; high nibble: recipes
	merged  [maxCycles]packs // packs that the plan segment of a cycle describes
	planned [maxCycles]uint8 // the generation that a cycle is about
	rec     [maxGens]generation
	done    [maxGens]closing

	// What has been promised: not in the bucket, nobody decides by it.
	acked, asked sids
	freed        sids // fates that have been deleted

	// Local disks: visible, but gone after a power cut.
	softCommit sids
	softGen    gens
	softDone   gens

	// Calls on their way: put or deleted later, or never.
	late [2]call
}

type call struct {
	what uint32
	set  packs
}

// actor is where a writer, a reader or a pruner stands.
type actor struct {
	st, pc uint8
	k      uint8  // sessions or cycles begun before this one
	g      uint8  // writer, reader: base; pruner: the generation it works on
	x      uint16 // writer: g.done was there; reader: its snapshot; pruner: deletes still to make
	seen   sids   // fates listed
	page   sids   // first page of a listing
	w      sids
}

type plan struct {
	gen  generation
	done closing
}

const (
	idle = iota
	running
	inFlight // dead, its last call still on its way
	over
)

// State is one state of the world. It has no gaps and no pointers: it is hashed as plain memory.
type State struct {
	store
	act  [maxActors]actor
	plan [maxPlans]plan
	view [2]packs // what a writer's index holds; kept only for the mutant that goes on with an old one

	asksLeft, crashLeft, dupLeft, lateLeft, lieLeft, cutLeft uint8
	tainted                                                  sids // relied on a fate that lay on a freed name
}

func newest(g gens) int { return bits.Len16(uint16(g)) - 1 }

// of returns those with base g.
func (s *store) of(set sids, g int) sids {
	var r sids
	for x := set; x != 0; x &= x - 1 {
		if i := bits.TrailingZeros16(uint16(x)); int(s.base[i]) == g {
			r |= sid(i)
		}
	}
	return r
}

// from returns those with base g or above.
func (s *store) from(set sids, g int) sids {
	var r sids
	for x := set; x != 0; x &= x - 1 {
		if i := bits.TrailingZeros16(uint16(x)); int(s.base[i]) >= g {
			r |= sid(i)
		}
	}
	return r
}

// segments returns the segments that the sessions have written: those with a pack.
func (s *store) segments(set sids) packs {
	var r packs
	for x := set; x != 0; x &= x - 1 {
		if i := bits.TrailingZeros16(uint16(x)); s.content[s.pk[i]] != 0 {
			r |= pack(i)
		}
	}
	return r
}

// under returns the packs that the segments describe.
func (s *store) under(segs packs) packs {
	var r packs
	for x := segs; x != 0; x &= x - 1 {
		i := bits.TrailingZeros32(uint32(x))
		switch {
		case i < maxSids:
			r |= pack(int(s.pk[i]))
		case (i-maxSids)%2 == 0:
			r |= s.merged[(i-maxSids)/2]
		default:
			r |= pack(i)
		}
	}
	return r
}

// named returns the generation in a pack's or segment's name.
func (s *store) named(i int) int {
	if i < maxSids {
		return int(s.base[i])
	}
	c := (i - maxSids) / 2
	if (i-maxSids)%2 == 0 {
		return int(s.planned[c]) - 1
	}
	return int(s.planned[c])
}

// upTo returns the packs or segments named with generation g or below.
func (s *store) upTo(set packs, g int) packs {
	var r packs
	for x := set; x != 0; x &= x - 1 {
		if i := bits.TrailingZeros32(uint32(x)); s.named(i) <= g {
			r |= pack(i)
		}
	}
	return r
}

// needs returns the chunks that the snapshots name.
func (s *store) needs(set sids) uint8 {
	var r uint8
	for x := set; x != 0; x &= x - 1 {
		r |= s.root[bits.TrailingZeros16(uint16(x))]
	}
	return r
}

// live returns the packs of a generation's base.
func (s *store) live(n int) packs {
	return s.under(s.rec[n].segs) &^ s.rec[n].dead
}

// valid returns the snapshots that the repository holds: the last catalogue,
// and what was committed since.
func (s *store) valid() sids {
	n := newest(s.dones)
	return s.done[n].cat | s.from(s.commit, n)
}

// dropped returns what finished generations dropped.
func (s *store) dropped() sids {
	var r sids
	for n := range maxGens {
		if s.dones&gen(n) != 0 {
			r |= s.rec[n].d
		}
	}
	return r
}
