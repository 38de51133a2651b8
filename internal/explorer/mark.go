package explorer

import "math/bits"

// Recipes of chunks 0 and 1 name each other; that of chunk 2 names chunk 0.
func basesOf(recipes uint8) uint8 { return recipes&1<<1 | recipes>>1&1 | recipes>>2&1 }

// copies returns the chunks in the packs: stored whole, and as recipes.
func (s *store) copies(ps packs) (whole, recipe uint8) {
	var c uint8
	for x := ps; x != 0; x &= x - 1 {
		c |= s.content[bits.TrailingZeros32(uint32(x))]
	}
	return c & 15, c >> 4
}

// closure returns what of the packs' chunks the roots need: a whole copy
// wins over a recipe, a recipe needs its base whole. lost is what is not there.
func (s *store) closure(root uint8, ps packs) (whole, recipe, lost uint8) {
	w, r := s.copies(ps)
	whole, recipe = root&w, root&^w&r
	b := basesOf(recipe)
	return whole | b&w, recipe, root&^(w|r) | b&^w
}

// mark is closure as a pruner sees it: a mutant may forget something.
func (m *model) mark(s *store, root uint8, ps packs, first bool) (whole, recipe, lost uint8) {
	w, r := s.copies(ps)
	noBases := first && m.is(NoBasesInFirstMark) || !first && m.is(NoBasesInSecondMark)
	if m.is(RecipeInstead) {
		// Whatever has a recipe is taken to be kept by it.
		recipe = root & r
		b := basesOf(recipe)
		return root&^r&w | b&^r&w, recipe | b&r, root &^ (w | r)
	}
	if noBases {
		return root & w, root &^ w & r, root &^ (w | r)
	}
	return s.closure(root, ps)
}

// missing returns the content of a pack that would bring into keep what lives.
func (s *store) missing(whole, recipe uint8, keep packs) uint8 {
	w, r := s.copies(keep)
	return whole&^w | recipe&^r<<4
}

// Policy is how a pruner chooses what to condemn.
type Policy uint8

const (
	DeadOnly   Policy = iota // packs in which nothing lives
	KeepOldest               // packs that hold the only, or oldest, copy of nothing
	KeepNewest               // packs that hold the only, or newest, copy of nothing
	Everything               // all packs: what lives is copied
	Early                    // none, and nothing is dropped: a generation published to keep views cheap
)

// condemn returns the packs of idx that the policy gives up.
func (s *store) condemn(p Policy, idx packs, whole, recipe uint8) packs {
	var keep packs
	switch p {
	case Early:
		return 0
	case Everything:
		return idx
	case DeadOnly:
		for x := idx; x != 0; x &= x - 1 {
			i := bits.TrailingZeros32(uint32(x))
			if c := s.content[i]; c&15&whole != 0 || c>>4&recipe != 0 {
				keep |= pack(i)
			}
		}
		return idx &^ keep
	}
	want := whole | recipe<<4
	for b := uint8(1); b != 0; b <<= 1 {
		if want&b == 0 {
			continue
		}
		var holders packs
		for x := idx; x != 0; x &= x - 1 {
			if i := bits.TrailingZeros32(uint32(x)); s.content[i]&b != 0 {
				holders |= pack(i)
			}
		}
		if p == KeepOldest {
			keep |= holders & -holders
		} else if holders != 0 {
			keep |= pack(bits.Len32(uint32(holders)) - 1)
		}
	}
	return idx &^ keep
}
