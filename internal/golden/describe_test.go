package golden

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/store"
)

// An item is one path and all that is compared of it.
type item struct {
	path           string
	kind           snapshot.Type
	mode, uid, gid uint32
	size           int64
	mtime          snapshot.Time
	target         string
	major, minor   uint32
	links          uint32
	group          string // "" where it is alone
	items, files   uint64
	holes          []snapshot.Extent
	xattrs         []snapshot.Xattr
	sum            [sha256.Size]byte
}

// describe writes items as the Python reader does: one line each.
func describe(items []item) string {
	var b strings.Builder
	groups := map[string]string{}
	for _, it := range items {
		fmt.Fprintf(&b, "%c %04o %d %d %d %d.%09d %s", "?fdlbcps"[it.kind], it.mode, it.uid, it.gid, it.size,
			it.mtime.Sec, it.mtime.Nsec, show(it.path))
		switch it.kind {
		case snapshot.Symlink:
			fmt.Fprintf(&b, " -> %s", show(it.target))
		case snapshot.Block, snapshot.Char:
			fmt.Fprintf(&b, " dev=%d:%d", it.major, it.minor)
		}
		if it.group != "" {
			if groups[it.group] == "" {
				groups[it.group] = it.path
			}
			fmt.Fprintf(&b, " links=%d same=%s", it.links, show(groups[it.group]))
		}
		if it.kind == snapshot.Dir {
			fmt.Fprintf(&b, " items=%d files=%d", it.items, it.files)
		}
		describeBulk(&b, it)
		b.WriteByte('\n')
	}
	return b.String()
}

func describeBulk(b *strings.Builder, it item) {
	if len(it.holes) > 0 {
		var places []string
		for _, h := range it.holes {
			places = append(places, fmt.Sprintf("%d+%d", h.Offset, h.Length))
		}
		sum := sha256.Sum256([]byte(strings.Join(places, ",")))
		fmt.Fprintf(b, " holes=%d:%x", len(places), sum[:8])
	}
	for _, x := range it.xattrs {
		fmt.Fprintf(b, " %s=%x", show(string(x.Name)), x.Value)
	}
	if it.kind == snapshot.File {
		fmt.Fprintf(b, " sha256=%x", it.sum)
	}
}

// show writes every byte but visible ASCII as \xNN.
func show(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c < 0x21 || c > 0x7e || c == '\\' {
			fmt.Fprintf(&b, "\\x%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func describeSnapshot(s snapshot.Snapshot) string {
	return fmt.Sprintf("%s %d.%09d %s %s state=%d seq=%d items=%d files=%d bytes=%d tags=%s\n", s.ID, s.Effective.Sec, s.Effective.Nsec,
		show(s.Host), show(s.Name), s.State, s.Sequence, s.Items, s.Files, s.Bytes, show(strings.Join(s.Tags, ",")))
}

// fromStore reads all that a snapshot holds.
func fromStore(ctx context.Context, s *store.Store, snap snapshot.Snapshot) ([]item, error) {
	var items []item
	err := snapshot.Walk(ctx, s, snap.Root, "/", func(at string, e *snapshot.Entry) error {
		if at == "/" {
			return nil
		}
		full := *e
		if err := snapshot.Fill(ctx, s, &full); err != nil {
			return err
		}
		it := item{path: at, kind: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID, size: e.Size, mtime: e.MTime, target: e.Target,
			major: e.Major, minor: e.Minor, links: e.Links, group: string(e.LinkGroup), items: e.Items, files: e.Files,
			holes: full.Holes, xattrs: full.Xattrs}
		if e.Type == snapshot.File {
			h := sha256.New()
			r := snapshot.NewReader(ctx, s, e)
			if n, err := io.Copy(h, r); err != nil || n != e.Size {
				return fmt.Errorf("read %s: %d of %d bytes: %w", show(at), n, e.Size, err)
			}
			it.sum = [sha256.Size]byte(h.Sum(nil))
		}
		items = append(items, it)
		return nil
	})
	return items, err
}

// A disk describes real files, by other means than package source.
type disk struct {
	t     testing.TB
	items []item
}

// dir describes what stands in a directory on disk, under another name.
func (d *disk) dir(real, at string) (items, files uint64, size int64) {
	list, err := os.ReadDir(real)
	d.ok(err)
	sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
	for _, e := range list {
		i, f, s := d.entry(real+"/"+e.Name(), at+"/"+e.Name())
		items, files, size = items+i, files+f, size+s
	}
	return items, files, size
}

func (d *disk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) entry(real, at string) (items, files uint64, size int64) {
	var st unix.Stat_t
	d.ok(unix.Lstat(real, &st))
	kinds := map[uint32]snapshot.Type{unix.S_IFREG: snapshot.File, unix.S_IFDIR: snapshot.Dir, unix.S_IFLNK: snapshot.Symlink,
		unix.S_IFBLK: snapshot.Block, unix.S_IFCHR: snapshot.Char, unix.S_IFIFO: snapshot.Fifo, unix.S_IFSOCK: snapshot.Socket}
	it := item{path: at, kind: kinds[st.Mode&unix.S_IFMT], mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid, links: uint32(st.Nlink),
		mtime: snapshot.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}}
	if it.kind != snapshot.Dir && st.Nlink > 1 {
		it.group = fmt.Sprint(st.Ino)
	}
	it.xattrs = d.xattrs(real)
	place := len(d.items)
	d.items = append(d.items, it)
	items = 1
	switch it.kind {
	case snapshot.File:
		data, err := os.ReadFile(real)
		d.ok(err)
		it.size, it.sum, it.holes, files = st.Size, sha256.Sum256(data), d.holes(real, st.Size), 1
	case snapshot.Symlink:
		target, err := os.Readlink(real)
		d.ok(err)
		it.size, it.target = int64(len(target)), target
	case snapshot.Block, snapshot.Char:
		it.major, it.minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case snapshot.Dir:
		it.items, it.files, it.size = d.dir(real, at)
		items, files = items+it.items, it.files
	}
	d.items[place] = it
	if it.kind == snapshot.File || it.kind == snapshot.Dir {
		size = it.size
	}
	return items, files, size
}

func (d *disk) xattrs(real string) []snapshot.Xattr {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(real, buf)
	if err != nil || n == 0 {
		return nil // not every file system has them
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	var xs []snapshot.Xattr
	for _, name := range names {
		n, err := unix.Lgetxattr(real, name, buf)
		d.ok(err)
		xs = append(xs, snapshot.Xattr{Name: []byte(name), Value: bytes.Clone(buf[:n])})
	}
	return xs
}

func (d *disk) holes(real string, size int64) (holes []snapshot.Extent) {
	f, err := os.Open(real)
	d.ok(err)
	defer func() { _ = f.Close() }() // it was only read
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		d.ok(err)
		if from >= size {
			break
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_DATA)
		if err == unix.ENXIO {
			to, err = size, nil
		}
		d.ok(err)
		holes = append(holes, snapshot.Extent{Offset: from, Length: to - from})
		at = to
	}
	return holes
}

// above puts the directories that the snapshot makes around sources: names only.
func above(at string, below []item, size int64) []item {
	dir := item{path: at, kind: snapshot.Dir, mode: 0o755, size: size}
	for _, it := range below {
		dir.items++
		if it.kind == snapshot.File {
			dir.files++
		}
	}
	return append([]item{dir}, below...)
}

// expected describes what the nth snapshot of the tree in dir must hold.
func expected(t testing.TB, dir string, n int) []item {
	t.Helper()
	d := disk{t: t}
	_, _, size := d.entry(dir, treeAt)
	stream := item{path: streamAt, kind: snapshot.File, mode: 0o600, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		size: int64(len(dump(n))), mtime: snapshot.TimeOf(now(n)), sum: sha256.Sum256(dump(n))}
	all := above(path.Dir(streamAt), []item{stream}, stream.size)
	return append(all, above(path.Dir(treeAt), d.items, size)...)
}
