// Package torture makes a directory tree with everything in it that a file
// system can hold and a backup can get wrong, and says whether a copy of a tree
// is exact.
//
// The contract: Build makes the same tree each time, as far as the file system
// supports it (inode flags differ). Compare returns one line for each difference
// that it sees in content, names, types, hard links, owners, modes, times,
// extended attributes, ACLs, holes and inode flags, and nothing if there is
// none. What rsync can see is judged by rsync; what it can not (holes, flags,
// paths beyond PATH_MAX) by a walk of our own. Both need root.
package torture

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Size says how large the numbers in the tree are.
type Size int

const (
	Short Size = iota // 2,000 files in one directory, 64 MiB sparse: under a second
	Full              // 100,000 files in one directory, 2 GiB sparse
)

func (s Size) manyFiles() int {
	if s == Full {
		return 100_000
	}
	return 2000
}

func (s Size) sparse() int64 {
	if s == Full {
		return 2 << 30
	}
	return 64 << 20
}

// DeepName is the directory that holds paths longer than PATH_MAX.
const DeepName = "coffer-torture-deep"

// Build makes the tree in dir, which it creates.
func Build(dir string, size Size) error {
	if os.Geteuid() != 0 {
		return errors.New("build torture tree: only root can make all of it")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build torture tree: %w", err)
	}
	b := &builder{dir: dir, size: size}
	for _, part := range []func(){
		b.plainFiles, b.emptyThings, b.names, b.symlinks, b.modes, b.owners, b.hardLinks, b.nodes,
		b.xattrs, b.acls, b.sparseFiles, b.manyFiles, b.largeFile, b.deep, b.timed, b.flagged, b.stamp, b.flags,
	} {
		part()
	}
	if b.err != nil {
		return fmt.Errorf("build torture tree: %w", b.err)
	}
	return nil
}

// A builder makes things below dir and remembers the first error.
type builder struct {
	dir  string
	size Size
	err  error
}

func (b *builder) path(name string) string { return b.dir + "/" + name }

// try calls fn if all went well so far.
func (b *builder) try(what string, fn func() error) {
	if b.err != nil {
		return
	}
	if err := fn(); err != nil {
		b.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (b *builder) mkdir(name string) {
	b.try("make "+name, func() error { return os.Mkdir(b.path(name), 0o755) })
}

func (b *builder) file(name, content string) {
	b.try("write "+name, func() error { return os.WriteFile(b.path(name), []byte(content), 0o644) })
}

func (b *builder) chmod(name string, mode uint32) {
	b.try("chmod "+name, func() error { return unix.Chmod(b.path(name), mode) })
}

func (b *builder) chown(name string, uid, gid int) {
	b.try("chown "+name, func() error { return os.Lchown(b.path(name), uid, gid) })
}

func (b *builder) symlink(target, name string) {
	b.try("symlink "+name, func() error { return os.Symlink(target, b.path(name)) })
}

func (b *builder) link(old, name string) {
	b.try("link "+name, func() error { return os.Link(b.path(old), b.path(name)) })
}

func (b *builder) mknod(name string, mode uint32, major, minor uint32) {
	b.try("mknod "+name, func() error { return unix.Mknod(b.path(name), mode, int(unix.Mkdev(major, minor))) })
}

func (b *builder) xattr(name, attr string, value []byte) {
	b.try("xattr "+attr+" of "+name, func() error { return unix.Lsetxattr(b.path(name), attr, value, 0) })
}

func (b *builder) time(name string, sec, nsec int64) {
	ts := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
	b.try("time of "+name, func() error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, b.path(name), ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}
