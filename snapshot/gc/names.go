package gc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"coffer/chunk"
)

const (
	keySize  = 16
	nameSize = 16
)

// A name is what a page goes by here: see "Pages that somebody has chosen".
type name [nameSize]byte

// names numbers pages in the order in which they are added, from 0. It takes 16
// bytes for each and 5 to 11 for finding it.
type names struct {
	key   cipher.Block
	slabs [][]name // all full but the last
	slots []uint32 // open addressing: number + 1, 0 where free
	used  uint32
}

const slab = 1 << 14

// maxPages is where the numbers end.
const maxPages = 1<<32 - 2

func newNames(key [keySize]byte) *names {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the size is right
	}
	return &names{key: block, slots: make([]uint32, 1<<10)}
}

// of returns the name of a page: the CBC-MAC of its ID. All IDs are equally
// long, two blocks, which is what makes this a pseudorandom function.
func (t *names) of(id chunk.ID) name {
	var n name
	t.key.Encrypt(n[:], id[:nameSize])
	subtle.XORBytes(n[:], n[:], id[nameSize:])
	t.key.Encrypt(n[:], n[:])
	return n
}

func (t *names) len() uint32 { return t.used }

func (t *names) at(num uint32) *name { return &t.slabs[num/slab][num%slab] }

// find returns a page's number.
func (t *names) find(n name) (uint32, bool) {
	i := t.slot(n)
	return t.slots[i] - 1, t.slots[i] != 0
}

// add numbers a page. One that has a number goes by the new one.
func (t *names) add(n name) uint32 {
	num := t.used
	if num%slab == 0 {
		t.slabs = append(t.slabs, make([]name, 0, slab))
	}
	last := &t.slabs[num/slab]
	*last = append(*last, n)
	t.slots[t.slot(n)] = num + 1
	t.used++
	if int(t.used) > len(t.slots)/5*4 {
		t.grow()
	}
	return num
}

func (t *names) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	for num := range t.used {
		t.slots[t.slot(*t.at(num))] = num + 1
	}
}

// slot returns the slot that has a name's number, or the free one for it.
func (t *names) slot(n name) uint64 {
	mask := uint64(len(t.slots) - 1)
	for i := binary.LittleEndian.Uint64(n[:]) & mask; ; i = (i + 1) & mask {
		if s := t.slots[i]; s == 0 || *t.at(s - 1) == n {
			return i
		}
	}
}
