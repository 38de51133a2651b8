package torture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Compare returns what differs between two directory trees, one line each.
func Compare(a, b string) (differences []string, err error) {
	var all []string
	for _, way := range [][2]string{{a, b}, {b, a}} {
		lines, err := rsync(way[0], way[1])
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	w := walker{links: make(map[inode]inode), back: make(map[inode]inode)}
	if err := w.roots(a, b); err != nil {
		return nil, fmt.Errorf("compare %s and %s: %w", a, b, err)
	}
	return append(all, w.found...), nil
}

// rsync says what it would do to make b a copy of a. It can not go where paths
// are too long; our own walk looks at everything there.
func rsync(a, b string) ([]string, error) {
	cmd := exec.Command("rsync", "-aHAXn", "--checksum", "--modify-window=-1", "--delete", "--itemize-changes",
		"--exclude="+DeepName+"/*", a+"/", b+"/")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compare with rsync: %w: %s", err, stderr.String())
	}
	var lines []string
	for line := range strings.Lines(stdout.String() + stderr.String()) {
		lines = append(lines, "rsync "+a+" "+b+": "+strings.TrimSuffix(line, "\n"))
	}
	return lines, nil
}

type inode struct{ dev, ino uint64 }

// A walker compares what rsync does not see, and what it does once more.
type walker struct {
	found       []string
	links, back map[inode]inode // of a to b, for inodes with several names
}

func (w *walker) say(path, format string, args ...any) {
	w.found = append(w.found, fmt.Sprintf("walk %q: ", path)+fmt.Sprintf(format, args...))
}

func (w *walker) roots(a, b string) error {
	fa, err := openDir(unix.AT_FDCWD, a)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fa) }()
	fb, err := openDir(unix.AT_FDCWD, b)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fb) }()
	return w.dirs(".", fa, fb, false)
}

// dirs compares two open directories and all below them.
func (w *walker) dirs(path string, a, b int, deep bool) error {
	if err := w.open(path, a, b, unix.S_IFDIR, deep); err != nil {
		return err
	}
	inA, err := readNames(a)
	if err != nil {
		return err
	}
	inB, err := readNames(b)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(inB))
	for _, n := range inB {
		there[n] = true
	}
	for _, n := range inA {
		if !there[n] {
			w.say(path+"/"+n, "only in one")
			continue
		}
		delete(there, n)
		if err := w.entry(path+"/"+n, a, b, n, deep || n == DeepName); err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
	}
	for n := range there {
		w.say(path+"/"+n, "only in the other")
	}
	return nil
}

func (w *walker) entry(path string, a, b int, name string, deep bool) error {
	var sa, sb unix.Stat_t
	if err := errors.Join(unix.Fstatat(a, name, &sa, unix.AT_SYMLINK_NOFOLLOW),
		unix.Fstatat(b, name, &sb, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
		return err
	}
	w.stats(path, &sa, &sb)
	if sa.Mode&unix.S_IFMT != sb.Mode&unix.S_IFMT {
		return nil
	}
	switch sa.Mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFREG:
		return w.opened(path, a, b, name, sa.Mode&unix.S_IFMT, deep)
	case unix.S_IFLNK:
		w.targets(path, a, b, name)
	}
	return w.nodes(path, a, b, name)
}

func (w *walker) opened(path string, a, b int, name string, typ uint32, deep bool) error {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOATIME | unix.O_NONBLOCK
	fa, err := unix.Openat(a, name, flags, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fa) }()
	fb, err := unix.Openat(b, name, flags, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fb) }()
	if typ == unix.S_IFDIR {
		return w.dirs(path, fa, fb, deep)
	}
	return w.open(path, fa, fb, typ, deep)
}

// stats compares what lstat tells, and that the same names share an inode.
func (w *walker) stats(path string, a, b *unix.Stat_t) {
	dir := a.Mode&unix.S_IFMT == unix.S_IFDIR
	for _, c := range []struct {
		what string
		a, b any
	}{
		{"mode", a.Mode, b.Mode}, {"uid", a.Uid, b.Uid}, {"gid", a.Gid, b.Gid}, {"mtime", a.Mtim, b.Mtim},
		{"device", a.Rdev, b.Rdev}, {"size", sizeOf(a), sizeOf(b)},
	} {
		if c.a != c.b {
			w.say(path, "%s %v and %v", c.what, c.a, c.b)
		}
	}
	if !dir && (a.Nlink > 1 || b.Nlink > 1) {
		w.linked(path, inode{a.Dev, a.Ino}, inode{b.Dev, b.Ino})
	}
}

func sizeOf(st *unix.Stat_t) int64 {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return 0
	}
	return st.Size
}

// linked sees to it that names share an inode in one tree if, and only if, they
// do in the other.
func (w *walker) linked(path string, a, b inode) {
	if old, ok := w.links[a]; ok && old != b {
		w.say(path, "hard links split")
	}
	if old, ok := w.back[b]; ok && old != a {
		w.say(path, "hard links merged")
	}
	w.links[a], w.back[b] = b, a
}

func (w *walker) targets(path string, a, b int, name string) {
	ta, tb := make([]byte, 8192), make([]byte, 8192)
	na, erra := unix.Readlinkat(a, name, ta)
	nb, errb := unix.Readlinkat(b, name, tb)
	if erra != nil || errb != nil || !bytes.Equal(ta[:na], tb[:nb]) {
		w.say(path, "symlink targets differ")
	}
}
