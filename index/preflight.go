package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/fb"
)

// Badger ends the process, in a goroutine of its own, when it opens or compacts
// a table file (SST) that has rotted. A cache may not do that, so these files
// are checked first: always their index and last block, which is what opening
// reads, and all blocks after a run that did not end well.
//
//	SST:   blocks | index (flatbuffer fb.TableIndex) | its length u32 | checksum | its length u32
//	block: data | entry offsets | their number u32 | checksum | its length u32
//
// Lengths are big-endian; a checksum is a CRC32C in a small protobuf.
func preflight(dir string, all bool) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := checkSST(name, all); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func checkSST(name string, all bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	index, err := readIndex(f, info.Size())
	if err != nil {
		return err
	}
	return checkBlocks(f, fb.GetRootAsTableIndex(index, 0), all)
}

// readIndex reads the index from the end of the file.
func readIndex(f *os.File, size int64) ([]byte, error) {
	sum, at, err := readBack(f, size)
	if err != nil {
		return nil, err
	}
	index, _, err := readBack(f, at)
	if err != nil {
		return nil, err
	}
	return index, checkSum(index, sum)
}

// readBack reads the bytes whose length stands in the four bytes before end.
func readBack(f *os.File, end int64) (b []byte, start int64, err error) {
	var length [4]byte
	if end < 4 {
		return nil, 0, ErrDamaged
	}
	if _, err := f.ReadAt(length[:], end-4); err != nil {
		return nil, 0, err
	}
	start = end - 4 - int64(binary.BigEndian.Uint32(length[:]))
	if start < 0 {
		return nil, 0, ErrDamaged
	}
	b = make([]byte, end-4-start)
	_, err = f.ReadAt(b, start)
	return b, start, err
}

// checkSum compares data with an encoded checksum: field 1 is the algorithm and
// absent for CRC32C, field 2 the sum.
func checkSum(data, encoded []byte) error {
	const sumField = 2 << 3
	sum, n := uint64(0), 0
	if len(encoded) > 0 {
		if encoded[0] != sumField {
			return ErrDamaged
		}
		sum, n = binary.Uvarint(encoded[1:])
	}
	if n != max(0, len(encoded)-1) || sum != uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))) {
		return ErrDamaged
	}
	return nil
}

func checkBlocks(f *os.File, index *fb.TableIndex, all bool) error {
	n := index.OffsetsLength()
	if n == 0 {
		return errors.New("no blocks")
	}
	first := n - 1
	if all {
		first = 0
	}
	var buf []byte
	for i := first; i < n; i++ {
		var o fb.BlockOffset
		if !index.Offsets(&o, i) {
			return ErrDamaged
		}
		if cap(buf) < int(o.Len()) {
			buf = make([]byte, o.Len())
		}
		buf = buf[:o.Len()]
		if _, err := f.ReadAt(buf, int64(o.Offset())); err != nil {
			return err
		}
		if err := checkBlock(buf); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func checkBlock(b []byte) error {
	if len(b) < 8 {
		return ErrDamaged
	}
	end := len(b) - 4
	n := int(binary.BigEndian.Uint32(b[end:]))
	if n > end-4 {
		return ErrDamaged
	}
	return checkSum(b[:end-n], b[end-n:end])
}
