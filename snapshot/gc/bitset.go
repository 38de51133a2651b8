package gc

import "math/bits"

// A bitset is a set of page numbers.
type bitset []uint64

func (b bitset) has(num uint32) bool {
	return int(num/64) < len(b) && b[num/64]>>(num%64)&1 != 0
}

func (b *bitset) set(num uint32) {
	if n := int(num/64) + 1; n > len(*b) {
		*b = append(*b, make([]uint64, n-len(*b))...)
	}
	(*b)[num/64] |= 1 << (num % 64)
}

// any reports whether one of count numbers from first on is in the set.
func (b bitset) any(first, count uint32) bool {
	for num := first; num < first+count; num++ {
		if b.has(num) {
			return true
		}
	}
	return false
}

// count returns how many numbers are in the set.
func (b bitset) count() int {
	n := 0
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// ranks returns a function that says how many numbers of the set lie below one.
func (b bitset) ranks() func(num uint32) uint32 {
	before := make([]uint32, len(b)+1)
	for i, word := range b {
		before[i+1] = before[i] + uint32(bits.OnesCount64(word))
	}
	return func(num uint32) uint32 {
		return before[num/64] + uint32(bits.OnesCount64(b[num/64]&(1<<(num%64)-1)))
	}
}
