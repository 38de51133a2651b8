package snapshot

import (
	"cmp"
	"encoding/binary"
)

// CBOR major types that the format uses.
const (
	majorUint  = 0
	majorInt   = 1
	majorBytes = 2
	majorArray = 4
	majorMap   = 5
)

// canonical checks that data is exactly one item in the only form that the
// format knows for it: shortest heads, definite lengths, maps with ascending
// integer keys and without empty values, nothing but integers, byte strings,
// arrays and maps. The library does not look at any of this when it decodes;
// decoding and encoding again would, at four times the cost.
func canonical(data []byte) error {
	rest, _, err := scan(data, 0)
	if err == nil && len(rest) > 0 {
		return damaged("%d bytes follow the end", len(rest))
	}
	return err
}

// scan checks the item that b begins with, and says whether it is empty: zero,
// no bytes or no elements.
func scan(b []byte, depth int) (rest []byte, empty bool, err error) {
	major, arg, rest, err := scanHead(b)
	if err != nil {
		return nil, false, err
	}
	switch major {
	case majorUint, majorInt:
		return rest, arg == 0 && major == majorUint, nil
	case majorBytes:
		if arg > uint64(len(rest)) {
			return nil, false, damaged("cut short")
		}
		return rest[arg:], arg == 0, nil
	case majorArray, majorMap:
		rest, err = scanNested(rest, major, arg, depth+1)
		return rest, arg == 0, err
	}
	return nil, false, damaged("items of major type %d have no place here", major)
}

func scanNested(b []byte, major byte, n uint64, depth int) ([]byte, error) {
	if depth > maxNesting {
		return nil, damaged("nested deeper than %d", maxNesting)
	}
	if major == majorMap {
		return scanMap(b, n, depth)
	}
	var err error
	for ; n > 0; n-- {
		if b, _, err = scan(b, depth); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func scanMap(b []byte, n uint64, depth int) ([]byte, error) {
	return scanFields(b, n, depth, func(uint64, []byte) {})
}

// scanFields checks the n fields of a map and hands the bytes of each one's value
// to fn.
func scanFields(b []byte, n uint64, depth int, fn func(key uint64, value []byte)) ([]byte, error) {
	next := uint64(0)
	for ; n > 0; n-- {
		major, key, rest, err := scanHead(b)
		if err != nil {
			return nil, err
		}
		if major != majorUint || key < next {
			return nil, damaged("map keys are not ascending integers")
		}
		var empty bool
		if b, empty, err = scan(rest, depth); err != nil {
			return nil, err
		}
		if empty {
			return nil, damaged("field %d is empty and should be left out", key)
		}
		fn(key, rest[:len(rest)-len(b)])
		if next = key + 1; next == 0 {
			return nil, damaged("map key out of range")
		}
	}
	return b, nil
}

// entryNames is what of an entry names other chunks: joined IDs.
type entryNames struct{ tree, content, spill []byte }

// scanRefs checks the form of the entry that b begins with.
func scanRefs(b []byte) (names entryNames, rest []byte, err error) {
	major, n, rest, err := scanHead(b)
	if err == nil && major != majorMap {
		err = damaged("an entry that is no map")
	}
	if err != nil {
		return names, nil, err
	}
	var wrong error
	rest, err = scanFields(rest, n, 2, func(key uint64, value []byte) {
		to := names.field(key)
		if to == nil {
			return
		}
		major, size, joined, err := scanHead(value)
		if err != nil || major != majorBytes || size != uint64(len(joined)) {
			wrong = damaged("field %d is no string of bytes", key)
		}
		*to = joined
	})
	return names, rest, cmp.Or(err, wrong)
}

// field returns where the value of a key of an entry belongs (wireEntry).
func (n *entryNames) field(key uint64) *[]byte {
	switch key {
	case 19:
		return &n.tree
	case 21:
		return &n.content
	case 25:
		return &n.spill
	}
	return nil
}

// scanHead reads a head and refuses one that could be shorter.
func scanHead(b []byte) (major byte, arg uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, damaged("cut short")
	}
	major, low := b[0]>>5, b[0]&31
	b = b[1:]
	if low < 24 {
		return major, uint64(low), b, nil
	}
	if low > 27 {
		return 0, 0, nil, damaged("indefinite or reserved length")
	}
	width := 1 << (low - 24)
	if len(b) < width {
		return 0, 0, nil, damaged("cut short")
	}
	arg = wideArg(b, width)
	if arg < leastArg(width) {
		return 0, 0, nil, damaged("a number is not in its shortest form")
	}
	return major, arg, b[width:], nil
}

func wideArg(b []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// leastArg is the smallest number that needs width bytes.
func leastArg(width int) uint64 {
	switch width {
	case 1:
		return 24
	case 2:
		return 1 << 8
	case 4:
		return 1 << 16
	}
	return 1 << 32
}

// appendHead appends the head of an item.
func appendHead(b []byte, major byte, arg uint64) []byte {
	m := major << 5
	switch {
	case arg < 24:
		return append(b, m|byte(arg))
	case arg < 1<<8:
		return append(b, m|24, byte(arg))
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, m|25), uint16(arg))
	case arg < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, m|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, m|27), arg)
}
