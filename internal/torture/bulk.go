package torture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (b *builder) sparseFiles() {
	b.mkdir("sparse")
	const block = 64 << 10
	b.sparse("leading", 10*block, 9*block)
	b.sparse("trailing", 10*block, 0)
	b.sparse("middle", 10*block+77, 0, 5*block, 10*block)
	b.sparse("hole", 10*block)
	b.sparse("odd", 5*block+1, 2*block)
	b.sparse("large", b.size.sparse(), 0, b.size.sparse()/2, b.size.sparse()-block)
	var comb []int64
	for i := range int64(200) {
		comb = append(comb, i*2*block)
	}
	b.sparse("comb", 401*block, comb...)
	b.file("sparse/zeros", strings.Repeat("\x00", 4*block)) // written, so no holes
}

// sparse makes a file with 4 KiB of data at each offset, or what is left of it.
func (b *builder) sparse(name string, size int64, at ...int64) {
	b.try("sparse "+name, func() error {
		f, err := os.Create(b.path("sparse/" + name))
		if err != nil {
			return err
		}
		err = f.Truncate(size)
		for i, off := range at {
			data := []byte(strings.Repeat(string(rune('a'+i%26)), 4096))
			_, werr := f.WriteAt(data[:min(4096, size-off)], off)
			err = errors.Join(err, werr)
		}
		return errors.Join(err, f.Close())
	})
}

func (b *builder) manyFiles() {
	b.mkdir("many")
	for i := range b.size.manyFiles() {
		b.file(fmt.Sprintf("many/%06d", i), fmt.Sprintf("%d", i))
	}
}

func (b *builder) largeFile() {
	r := rand.New(rand.NewPCG(1, 2))
	var data strings.Builder
	for data.Len() < 5<<20+123 {
		_ = binary.Write(&data, binary.LittleEndian, r.Uint64())
	}
	b.file("large", data.String())
	b.chown("large", 1000, 1000)
	b.chmod("large", 0o4711)
}

// deep makes a path longer than PATH_MAX, with one of several things at its end.
func (b *builder) deep() {
	b.mkdir(DeepName)
	b.try("deep", func() error {
		fd, err := unix.Open(b.path(DeepName), unix.O_DIRECTORY|unix.O_RDONLY, 0)
		for i := range 18 {
			if err != nil {
				return err
			}
			fd, err = descend(fd, strings.Repeat(string(rune('a'+i)), 250))
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return furnish(fd)
	})
}

// descend makes a directory and closes the one above.
func descend(fd int, name string) (int, error) {
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Mkdirat(fd, name, 0o751); err != nil {
		return -1, err
	}
	return unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
}

func furnish(fd int) error {
	f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o604)
	if err != nil {
		return err
	}
	_, err = unix.Write(f, []byte("deep down"))
	return errors.Join(err,
		unix.Fsetxattr(f, "user.deep", []byte("down"), 0),
		unix.Close(f),
		unix.Symlinkat("file", fd, "symlink"),
		unix.Linkat(fd, "file", fd, "hardlink", 0),
		unix.Mknodat(fd, "fifo", unix.S_IFIFO|0o600, 0),
		unix.Mkdirat(fd, "dir", 0o700))
}
