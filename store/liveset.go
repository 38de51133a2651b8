package store

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"coffer/chunk"
)

// A LiveSet is the set of chunks that a mark found needed. It knows the first
// eight bytes of IDs only, 8 to 16 bytes of memory for each: two chunks that
// share them count as one, which can only keep too much.
type LiveSet struct {
	slots []uint64 // open addressing; zero is free
	used  int
	zero  bool   // the prefix 0 is in the set
	seed  uint64 // odd; nobody can choose IDs that all want one slot
}

// NewLiveSet returns an empty set.
func NewLiveSet() *LiveSet {
	return &LiveSet{slots: make([]uint64, 1<<10), seed: rand.Uint64() | 1}
}

// Prefix is what a LiveSet knows of an ID.
func Prefix(id []byte) uint64 { return binary.LittleEndian.Uint64(id) }

// Add adds a chunk and reports whether it was not there.
func (l *LiveSet) Add(id chunk.ID) bool { return l.AddPrefix(Prefix(id[:])) }

// AddPrefix is Add for a chunk of which only the prefix is known.
func (l *LiveSet) AddPrefix(p uint64) bool {
	if p == 0 {
		isNew := !l.zero
		l.zero = true
		return isNew
	}
	i := l.find(p)
	if l.slots[i] == p {
		return false
	}
	l.slots[i] = p
	l.used++
	if l.used > len(l.slots)/8*7 {
		l.grow()
	}
	return true
}

// Has reports whether a chunk is in the set.
func (l *LiveSet) Has(id chunk.ID) bool { return l.HasPrefix(Prefix(id[:])) }

// HasPrefix is Has for a prefix.
func (l *LiveSet) HasPrefix(p uint64) bool {
	if p == 0 {
		return l.zero
	}
	return l.slots[l.find(p)] == p
}

// Len returns how many chunks are in the set.
func (l *LiveSet) Len() int {
	if l.zero {
		return l.used + 1
	}
	return l.used
}

// find returns the slot that has p, or the free one where it belongs.
func (l *LiveSet) find(p uint64) int {
	mask := len(l.slots) - 1
	for i := int(bits.RotateLeft64(p*l.seed, 32)) & mask; ; i = (i + 1) & mask {
		if l.slots[i] == p || l.slots[i] == 0 {
			return i
		}
	}
}

func (l *LiveSet) grow() {
	old := l.slots
	l.slots = make([]uint64, 2*len(old))
	for _, p := range old {
		if p != 0 {
			l.slots[l.find(p)] = p
		}
	}
}
