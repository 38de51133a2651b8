package restore

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

// A taker makes a snapshot of a real directory, as plainly as can be: it stands
// in for capture, which these tests must not depend on.
type taker struct {
	t     testing.TB
	mem   *snapshottest.Mem
	chunk int
}

// take returns the root listing of a snapshot in which dir stands at /src.
func take(t testing.TB, mem *snapshottest.Mem, dir string) chunk.ID {
	t.Helper()
	k := taker{t: t, mem: mem, chunk: 64 << 10}
	fd, err := unix.Open(filepath.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	k.ok(err)
	defer func() { _ = unix.Close(fd) }()
	e := k.entry(fd, filepath.Base(dir))
	e.Name = "src"
	return k.listing([]*snapshot.Entry{e})
}

func (k *taker) ok(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *taker) listing(entries []*snapshot.Entry) chunk.ID {
	l := snapshot.NewListing(k.mem)
	for _, e := range entries {
		k.ok(l.Add(context.Background(), e))
	}
	id, _, err := l.Close(context.Background())
	k.ok(err)
	return id
}

func (k *taker) entry(dfd int, name string) *snapshot.Entry {
	st, err := lstat(dfd, name)
	k.ok(err)
	e := &snapshot.Entry{
		Name: name, Type: snapshot.TypeOf(st.Mode), Mode: st.Mode & 07777, UID: st.Uid, GID: st.Gid, MTime: timeOf(&st),
		Links: uint32(st.Nlink),
	}
	if e.Type != snapshot.Dir && st.Nlink > 1 {
		e.LinkGroup = snapshot.LinkGroup(fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	}
	n, err := openInode(dfd, name)
	k.ok(err)
	defer n.close()
	e.Xattrs = k.xattrs(n)
	switch e.Type {
	case snapshot.Dir:
		e.Flags = k.flags(n)
		k.dir(dfd, e)
	case snapshot.File:
		e.Flags = k.flags(n)
		e.Size = st.Size
		k.content(dfd, e)
	case snapshot.Symlink:
		e.Target, err = readlink(dfd, name)
		k.ok(err)
	case snapshot.Block, snapshot.Char:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return e
}

func (k *taker) flags(n inode) uint32 {
	flags, err := n.flags()
	k.ok(err)
	return flags
}

func (k *taker) xattrs(n inode) []snapshot.Xattr {
	names, err := n.listXattrs()
	k.ok(err)
	sort.Strings(names)
	var xs []snapshot.Xattr
	for _, name := range names {
		value, err := n.getXattr(name)
		k.ok(err)
		xs = append(xs, snapshot.Xattr{Name: []byte(name), Value: value})
	}
	return xs
}

func (k *taker) dir(dfd int, e *snapshot.Entry) {
	fd, err := openat(dfd, e.Name, openDir, 0)
	k.ok(err)
	defer func() { _ = unix.Close(fd) }()
	names, err := readNames(fd, -1)
	k.ok(err)
	slices.Sort(names)
	var entries []*snapshot.Entry
	for _, name := range names {
		entries = append(entries, k.entry(fd, name))
	}
	e.Tree = k.listing(entries)
}

func (k *taker) content(dfd int, e *snapshot.Entry) {
	fd, err := openat(dfd, e.Name, unix.O_RDONLY, 0)
	k.ok(err)
	defer func() { _ = unix.Close(fd) }()
	e.Holes, err = holesOf(fd, e.Size)
	k.ok(err)
	var data []byte
	at := int64(0)
	for _, h := range append(slices.Clone(e.Holes), snapshot.Extent{Offset: e.Size}) {
		part := make([]byte, h.Offset-at)
		_, err := pread(fd, part, at)
		k.ok(err)
		data = append(data, part...)
		at = h.Offset + h.Length
	}
	for part := range slices.Chunk(data, k.chunk) {
		id, err := k.mem.Save(context.Background(), chunk.Data, part)
		k.ok(err)
		e.Content = append(e.Content, snapshot.Ref{ID: id, Length: uint32(len(part))})
	}
}

// put makes the files that text names: "path content", one a line, and
// directories where the path ends in a slash.
func put(t testing.TB, dir, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		path, content, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path != "" {
			writeFile(t, filepath.Join(dir, path), content, strings.HasSuffix(path, "/"))
		}
	}
}
