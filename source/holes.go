package source

import (
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A packing maps the data of a file, laid end to end, to where it is.
type packing struct {
	parts []part
	total int64
}

// A part is a run of data: at in the packed stream, offset in the file.
type part struct{ at, offset, length int64 }

func (p *packing) whole(size int64) {
	p.parts, p.total = nil, size
}

func (p *packing) size() int64 { return p.total }

// around sets the packing to what the holes leave of size bytes.
func (p *packing) around(holes []snapshot.Extent, size int64) {
	p.parts, p.total = nil, 0
	pos := int64(0)
	for _, hole := range append(slices.Clip(holes), snapshot.Extent{Offset: size}) {
		if n := hole.Offset - pos; n > 0 {
			p.parts = append(p.parts, part{at: p.total, offset: pos, length: n})
			p.total += n
		}
		pos = hole.Offset + hole.Length
	}
}

// locate returns where the byte at off of the packed stream is in the file, and
// how many bytes of data follow there.
func (p *packing) locate(off int64) (at, room int64) {
	if off < 0 || off >= p.total {
		return 0, 0
	}
	if p.parts == nil {
		return off, p.total - off
	}
	i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].at > off }) - 1
	in := off - p.parts[i].at
	return p.parts[i].offset + in, p.parts[i].length - in
}

// Holes finds the holes of the file, sorted, and from then on ReadAt and
// DataSize leave them out. It asks the file system only where fewer blocks are
// allocated than the size needs; one that cannot tell has no holes. Call it
// before anything is read.
func (f *FileHandle) Holes() ([]snapshot.Extent, error) {
	size := f.st.Size
	if f.st.Blocks*512 >= size {
		return nil, nil
	}
	holes, err := findHoles(int(f.fd.Load()), size)
	if err != nil {
		return nil, f.fail("find holes of", err)
	}
	if len(holes) > 0 {
		f.data.around(holes, size)
	}
	return holes, nil
}

func findHoles(fd int, size int64) ([]snapshot.Extent, error) {
	var holes []snapshot.Extent
	for pos := int64(0); pos < size; {
		data, err := seek(fd, pos, unix.SEEK_DATA, size)
		if err == unix.EINVAL || err == unix.EOPNOTSUPP {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if data > pos {
			holes = append(holes, snapshot.Extent{Offset: pos, Length: data - pos})
		}
		if pos, err = seek(fd, data, unix.SEEK_HOLE, size); err != nil {
			return nil, err
		}
	}
	return holes, nil
}

// seek finds the next data or hole, at size at the latest. ENXIO means that
// there is none, or that the file has shrunk; reading will notice the latter.
func seek(fd int, from int64, whence int, size int64) (pos int64, err error) {
	err = retry(func() (err error) { pos, err = unix.Seek(fd, from, whence); return err })
	if err == unix.ENXIO || err == nil && (pos > size || pos < from) {
		return size, nil
	}
	return pos, err
}
