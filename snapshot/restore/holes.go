package restore

import (
	"errors"
	"sort"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A segment is a piece of content between two holes.
type segment struct {
	data   int64 // offset in the content, holes not counted
	offset int64 // offset in the file
	length int64
}

// segmentsOf returns what lies between the holes, or nil if there are none. A
// file that is one hole has an empty list.
func segmentsOf(size int64, holes []snapshot.Extent) []segment {
	if len(holes) == 0 {
		return nil
	}
	segs := make([]segment, 0, len(holes)+1)
	at, data := int64(0), int64(0)
	for _, h := range append(holes[:len(holes):len(holes)], snapshot.Extent{Offset: size}) {
		if h.Offset > at {
			segs = append(segs, segment{data: data, offset: at, length: h.Offset - at})
			data += h.Offset - at
		}
		at = h.Offset + h.Length
	}
	return segs
}

// eachPart cuts data, which stands at an offset of the content, where there are
// holes in the file.
func eachPart(segs []segment, off int64, data []byte, fn func(part []byte, at int64) error) error {
	if segs == nil {
		return fn(data, off)
	}
	i := sort.Search(len(segs), func(i int) bool { return segs[i].data+segs[i].length > off })
	for ; len(data) > 0 && i < len(segs); i++ {
		skip := off - segs[i].data
		n := min(segs[i].length-skip, int64(len(data)))
		if err := fn(data[:n], segs[i].offset+skip); err != nil {
			return err
		}
		data, off = data[n:], off+n
	}
	if len(data) > 0 {
		return errTooLong
	}
	return nil
}

var errTooLong = errors.New("there is more content than the holes leave room for")

func writeData(fd int, segs []segment, off int64, data []byte) error {
	return eachPart(segs, off, data, func(part []byte, at int64) error { return pwrite(fd, part, at) })
}

// holesOf lists the holes of a file.
func holesOf(fd int, size int64) ([]snapshot.Extent, error) {
	var holes []snapshot.Extent
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = size
		} else if err != nil {
			return nil, err
		}
		data = min(data, size)
		if data > at {
			holes = append(holes, snapshot.Extent{Offset: at, Length: data - at})
		}
		if data == size {
			break
		}
		if at, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
	}
	return holes, nil
}

// sameHoles reports whether the file that is there has the holes of the entry. A
// file with as many blocks as it is long, that should have none, has none.
func (f *file) sameHoles(dfd int, st *unix.Stat_t) (bool, error) {
	if len(f.holes) == 0 && st.Blocks*512 >= st.Size {
		return true, nil
	}
	fd, err := openat(dfd, f.name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil // it is written anew
	}
	defer func() { _ = unix.Close(fd) }()
	holes, err := holesOf(fd, st.Size)
	if err != nil || len(holes) != len(f.holes) {
		return false, err
	}
	for i := range holes {
		if holes[i] != f.holes[i] {
			return false, nil
		}
	}
	return true, nil
}
