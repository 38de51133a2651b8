package torture

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"golang.org/x/sys/unix"
)

// oddTimes are before 1970, after 2038, and at the borders.
func oddTimes() [][2]int64 {
	return [][2]int64{
		{0, 0}, {0, 1}, {-1, 999999999}, {-1577923200, 123456789}, {-2147483648, 0},
		{2147483647, 999999999}, {2147483648, 1}, {4102444800, 500000000}, {1700000000, 123456789},
	}
}

func (b *builder) timed() {
	b.mkdir("times")
	for i := range oddTimes() {
		name := fmt.Sprintf("times/t%d", i)
		b.file(name, "time")
		b.symlink("x", name+".l")
		b.mkdir(name + ".d")
		b.file(name+".d/child", "c")
		b.mknod(name+".p", unix.S_IFIFO|0o600, 0, 0)
	}
}

// stamp gives everything a time of its own, the same in each tree.
func (b *builder) stamp() {
	b.try("set times", func() error { return stampAt(unix.AT_FDCWD, b.dir, "/") })
	for i, t := range oddTimes() {
		for _, suffix := range []string{"", ".l", ".d", ".p"} {
			b.time(fmt.Sprintf("times/t%d%s", i, suffix), t[0], t[1])
		}
	}
	b.time("names", -1577923200, 123456789)
	b.time("links", 4102444800, 1)
	b.time("links/alike1", 1e9, 1)
	b.time("links/alike2", 1e9, 1)
}

func stampAt(dfd int, name, label string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := stampBelow(dfd, name); err != nil {
			return err
		}
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(label)) // a hash never fails
	ts := unix.Timespec{Sec: int64(1e9 + h.Sum64()%7e8), Nsec: int64(h.Sum64() / 7e8 % 1e9)}
	return unix.UtimesNanoAt(dfd, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

func stampBelow(dfd int, name string) error {
	fd, err := openDir(dfd, name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	slices.Sort(names) // the last name of a hard link decides
	for _, n := range names {
		err = errors.Join(err, stampAt(fd, n, n))
	}
	return err
}

// inodeFlags are from <linux/fs.h>.
func inodeFlags() map[string]uint32 {
	return map[string]uint32{
		"immutable": 0x10, "append": 0x20, "nodump": 0x40, "noatime": 0x80, "sync": 0x08, "nocow": 0x800000,
		"immutable-nodump": 0x50, "compress": 0x04, "nocompress": 0x400,
	}
}

// flagged makes a file with a hard link and a directory for each flag, which
// get them when nothing else is left to do.
func (b *builder) flagged() {
	b.mkdir("flags")
	for name := range inodeFlags() {
		b.file("flags/"+name, "flag")
		b.link("flags/"+name, "flags/"+name+".linked")
		b.mkdir("flags/" + name + ".d")
		b.file("flags/"+name+".d/child", "child")
	}
	b.file("flags/alone", "immutable and without links")
}

func (b *builder) flags() {
	for name, flag := range inodeFlags() {
		b.flag(name, flag)
		b.flag(name+".d", flag)
	}
	b.flag("alone", inodeFlags()["immutable"])
}

// flag sets a flag where the file system has it.
func (b *builder) flag(name string, flag uint32) {
	b.try("flags of "+name, func() error {
		err := SetFlags(b.path("flags/"+name), flag)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return nil
		}
		return err
	})
}

// SetFlags adds inode flags to a file or directory.
func SetFlags(path string, flag uint32) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	has, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(has|flag))
}
