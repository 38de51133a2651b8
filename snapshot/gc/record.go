package gc

import (
	"encoding/binary"
	"fmt"
)

// A record is what the log says of one page. Little endian: prefix of its ID
// (8 bytes), how many trees and how many data chunks it names (4 each), the
// numbers of those trees (4 each), the prefixes of that data (8 each).
type record struct {
	num    uint32
	prefix uint64
	refs   []byte
	ntrees int
}

const recordHead = 16

func (r record) trees() int { return r.ntrees }

func (r record) tree(i int) uint32 { return binary.LittleEndian.Uint32(r.refs[4*i:]) }

func (r record) data() int { return (len(r.refs) - 4*r.ntrees) / 8 }

func (r record) datum(i int) uint64 { return binary.LittleEndian.Uint64(r.refs[4*r.ntrees+8*i:]) }

func appendRecord(b []byte, prefix uint64, trees []uint32, data []uint64) []byte {
	b = binary.LittleEndian.AppendUint64(b, prefix)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(trees)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	for _, num := range trees {
		b = binary.LittleEndian.AppendUint32(b, num)
	}
	for _, p := range data {
		b = binary.LittleEndian.AppendUint64(b, p)
	}
	return b
}

// splitRecords reads the records of one frame, which are numbered from first
// on, into dst. What has been opened is what we once sealed; that it is a log
// of ours is checked all the same.
func splitRecords(dst []record, b []byte, first, count uint32) ([]record, error) {
	for num := first; num < first+count; num++ {
		if len(b) < recordHead {
			return nil, fmt.Errorf("read record %d: it is cut short", num)
		}
		r := record{num: num, prefix: binary.LittleEndian.Uint64(b), ntrees: int(binary.LittleEndian.Uint32(b[8:]))}
		size := 4*r.ntrees + 8*int(binary.LittleEndian.Uint32(b[12:]))
		if b = b[recordHead:]; size > len(b) {
			return nil, fmt.Errorf("read record %d: it is cut short", num)
		}
		r.refs, b = b[:size:size], b[size:]
		for i := range r.trees() {
			if r.tree(i) >= num {
				return nil, fmt.Errorf("read record %d: it stands before what it names", num)
			}
		}
		dst = append(dst, r)
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("read records: %d bytes follow the end", len(b))
	}
	return dst, nil
}
