package golden

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A builder makes the files that are backed up.
type builder struct {
	t   testing.TB
	dir string
}

func (b builder) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b builder) path(name string) string { return b.dir + "/" + name }

func (b builder) file(name string, content []byte) {
	b.t.Helper()
	b.ok(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.ok(os.WriteFile(b.path(name), content, 0o640))
}

// may is ok, but for what only root may do, or not every file system does.
func (b builder) may(err error) {
	b.t.Helper()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return
	}
	b.ok(err)
}

// random returns n bytes that do not compress, the same in every run.
func random(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // never fails
	return b
}

// text returns n bytes that compress well and are not the same everywhere.
func text(n int) []byte {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "page %d\n", i)
		b.WriteString(strings.Repeat("Whoever keeps a copy keeps a clear head. ", 1000))
	}
	return []byte(b.String()[:n])
}

// first makes the tree of the first snapshot.
func (b builder) first() {
	b.file("empty", nil)
	b.file("hello", []byte("hello, world\n"))
	b.file("text", text(5<<20)) // more than one chunk however it is cut
	b.file("zeros", make([]byte, 1280<<10))
	b.file("noise", random(1, 132<<10)) // a block of its own, stored raw
	for i := range 400 {
		b.file(fmt.Sprintf("many/file-%03d", i), []byte(fmt.Sprintf("one of ten: %d\n", i%10)))
	}
	b.names()
	b.nodes()
	b.sparse("sparse", 3<<20, 64<<10, 1<<20)
	b.sparse("comb", 1500*8<<10, 4<<10, 8<<10) // so many holes that its map spills
	b.details()
}

func (b builder) names() {
	for _, name := range []string{"\xff\xfe not utf-8", "ünïcödé", "new\nline", "back\\slash", " ", "-rf", strings.Repeat("n", 255)} {
		b.file("names/"+name, []byte("named so\n"))
	}
	b.ok(os.Mkdir(b.path("names/dir \x80"), 0o711))
	b.ok(os.Mkdir(b.path("names/dir \x80/empty"), 0o700))
}

// nodes makes all that is neither a file nor a directory, and second names.
func (b builder) nodes() {
	b.ok(os.Symlink("../hello", b.path("names/link")))
	b.ok(os.Symlink("\xff/nowhere", b.path("dangling")))
	b.ok(os.Link(b.path("hello"), b.path("many/hello again")))
	b.ok(os.Link(b.path("dangling"), b.path("names/dangling")))
	b.ok(unix.Mkfifo(b.path("fifo"), 0o620))
	b.ok(unix.Mknod(b.path("socket"), unix.S_IFSOCK|0o755, 0))
	b.may(unix.Mknod(b.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	b.may(unix.Mknod(b.path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
}

// sparse makes a file with data of length in every stride and holes between.
func (b builder) sparse(name string, size, length, stride int64) {
	f, err := os.Create(b.path(name))
	b.ok(err)
	for at := stride - length; at < size; at += stride {
		_, err := f.WriteAt([]byte(strings.Repeat("data", int(length)/4)), at)
		b.ok(err)
	}
	b.ok(f.Truncate(size))
	b.ok(f.Close())
}

// details sets owners, modes, attributes and times, the latter last.
func (b builder) details() {
	b.may(os.Chown(b.path("noise"), 1000, 4000000001))
	b.ok(unix.Chmod(b.path("noise"), 0o4751))
	b.ok(unix.Chmod(b.path("many"), 0o3775))
	b.may(unix.Setxattr(b.path("hello"), "user.note", []byte("seen\x00\xff"), 0))
	b.may(unix.Setxattr(b.path("hello"), "user.empty", nil, 0))
	b.may(unix.Setxattr(b.path("many"), "user.dir", []byte(strings.Repeat("x", 1000)), 0))
	b.time("hello", -86400, 1)
	b.time("zeros", 5000000000, 999999999)
	b.time("names", 0, 0)
}

func (b builder) time(name string, sec, nsec int64) {
	ts := unix.Timespec{Sec: sec, Nsec: nsec}
	b.ok(unix.UtimesNanoAt(unix.AT_FDCWD, b.path(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

// second changes the tree for the second snapshot.
func (b builder) second() {
	b.file("hello", []byte("hello again, world\n")) // both names
	b.file("many/file-200", []byte("changed\n"))
	b.file("many/file-2005", []byte("added\n"))
	b.ok(os.Remove(b.path("many/file-300")))
	b.ok(os.Rename(b.path("noise"), b.path("racket")))
	b.ok(os.Remove(b.path("fifo")))
	b.ok(os.Mkdir(b.path("fifo"), 0o750)) // another type
	b.ok(os.Chmod(b.path("names/-rf"), 0))
	b.sparse("sparse", 4<<20, 64<<10, 1<<20)
}

// dump is the stream that is backed up beside the tree.
func dump(n int) []byte {
	return []byte(fmt.Sprintf("CREATE TABLE t (i int);\nINSERT INTO t VALUES (%d);\n", n))
}

// now is the clock of the nth snapshot. It lies behind all changes of the
// files, so that unchanged ones are taken from the parent.
func now(n int) time.Time { return time.Unix(1798761600, 5).Add(time.Duration(n) * time.Hour) }
