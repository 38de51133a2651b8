package torture_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/internal/torture"
)

// build returns two torture trees.
func build(t *testing.T) (a, b string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can build a torture tree")
	}
	dir := t.TempDir()
	a, b = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, d := range []string{a, b} {
		t.Cleanup(func() {
			if err := torture.Remove(d); err != nil {
				t.Error(err)
			}
		})
		if err := torture.Build(d, torture.Short); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func compare(t *testing.T, a, b string) []string {
	t.Helper()
	diff, err := torture.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return diff
}

// The oracle is worth nothing if it does not see what was broken.
func TestOracleSeesEachDifference(t *testing.T) {
	a, b := build(t)
	if diff := compare(t, a, b); len(diff) > 0 {
		t.Fatalf("two builds differ:\n%s", strings.Join(diff, "\n"))
	}
	before := 0
	deep := "coffer-torture-deep/" + strings.Repeat("a", 250)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, b string) // and nothing else
	}{
		{"content", rewrite("plain/file03", "LINE 3\n")},
		{"time of a file by 1 ns", shift("plain/file04")},
		{"time of a directory by 1 ns", shift("plain")},
		{"time of a symlink by 1 ns", shift("symlinks/dangling")},
		{"time before 1970 by 1 ns", shift("times/t3")},
		{"mode", func(t *testing.T, b string) { ok(t, unix.Chmod(b+"/modes/f0004", 0o005)) }},
		{"owner", func(t *testing.T, b string) { ok(t, os.Lchown(b+"/symlinks/up", 7, 0)) }},
		{"group", func(t *testing.T, b string) { ok(t, os.Lchown(b+"/nodes/socket", 0, 7)) }},
		{"missing xattr", func(t *testing.T, b string) { ok(t, unix.Removexattr(b+"/xattrs/user", "user.short")) }},
		{"other xattr", func(t *testing.T, b string) { ok(t, unix.Setxattr(b+"/xattrs/long", "user.long", nil, 0)) }},
		{"xattr of a symlink", func(t *testing.T, b string) {
			ok(t, unix.Lsetxattr(b+"/symlinks/loop", "trusted.x", []byte("x"), 0))
		}},
		{"capability", func(t *testing.T, b string) { ok(t, unix.Removexattr(b+"/xattrs/capable", "security.capability")) }},
		{"default ACL", func(t *testing.T, b string) { ok(t, unix.Removexattr(b+"/acls/dir", "system.posix_acl_default")) }},
		{"filled hole", fill("sparse/comb")},
		{"new hole", punch("sparse/zeros")},
		{"merged hard links", merge("links/alike1", "links/alike2")},
		{"split hard link", split("links/one/same-file")},
		{"split fifo", splitFifo("links/one/same-fifo")},
		{"symlink target", func(t *testing.T, b string) { resymlink(t, b+"/symlinks/dot", "..") }},
		{"missing file", func(t *testing.T, b string) {
			keepingTime(t, b+"/plain", func() { ok(t, os.Remove(b+"/plain/file09")) })
		}},
		{"extra file", func(t *testing.T, b string) { keepingTime(t, b, func() { ok(t, os.WriteFile(b+"/more", nil, 0o600)) }) }},
		{"type", func(t *testing.T, b string) { retype(t, b+"/emptydir") }},
		{"device number", func(t *testing.T, b string) { redevice(t, b+"/nodes/null") }},
		{"inode flag", func(t *testing.T, b string) { ok(t, torture.SetFlags(b+"/plain/file05", 0x40)) }},
		{"mode beyond PATH_MAX", func(t *testing.T, b string) { ok(t, unix.Chmod(b+"/"+deep, 0o700)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(t, b)
			after := len(compare(t, a, b))
			if after <= before {
				t.Errorf("the oracle did not see it: %d differences before, %d after", before, after)
			}
			before = after
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lstat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	ok(t, unix.Lstat(path, &st))
	return st
}

func setTime(t *testing.T, path string, mtim unix.Timespec) {
	t.Helper()
	ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{mtim, mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// keepingTime changes things in a path without changing its time.
func keepingTime(t *testing.T, path string, change func()) {
	t.Helper()
	st := lstat(t, path)
	change()
	setTime(t, path, st.Mtim)
}

func shift(name string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		st := lstat(t, b+"/"+name)
		st.Mtim.Nsec ^= 1
		setTime(t, b+"/"+name, st.Mtim)
	}
}

func rewrite(name, start string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		keepingTime(t, b+"/"+name, func() {
			f, err := os.OpenFile(b+"/"+name, os.O_WRONLY, 0)
			ok(t, err)
			_, err = f.WriteString(start)
			ok(t, err)
			ok(t, f.Close())
		})
	}
}

// fill writes zeros to a hole: the bytes stay what they were.
func fill(name string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		keepingTime(t, b+"/"+name, func() {
			f, err := os.OpenFile(b+"/"+name, os.O_WRONLY, 0)
			ok(t, err)
			_, err = f.WriteAt(make([]byte, 64<<10), 64<<10)
			ok(t, err)
			ok(t, f.Close())
		})
	}
}

func punch(name string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		keepingTime(t, b+"/"+name, func() {
			f, err := os.OpenFile(b+"/"+name, os.O_WRONLY, 0)
			ok(t, err)
			ok(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 64<<10))
			ok(t, f.Close())
		})
	}
}

func merge(one, two string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		keepingTime(t, b+"/links", func() {
			ok(t, os.Remove(b+"/"+two))
			ok(t, os.Link(b+"/"+one, b+"/"+two))
		})
	}
}

func split(name string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		st := lstat(t, b+"/"+name)
		keepingTime(t, filepath.Dir(b+"/"+name), func() {
			data, err := os.ReadFile(b + "/" + name)
			ok(t, err)
			ok(t, os.Remove(b+"/"+name))
			ok(t, os.WriteFile(b+"/"+name, data, 0o644))
		})
		setTime(t, b+"/"+name, st.Mtim)
	}
}

func splitFifo(name string) func(*testing.T, string) {
	return func(t *testing.T, b string) {
		st := lstat(t, b+"/"+name)
		keepingTime(t, filepath.Dir(b+"/"+name), func() {
			ok(t, os.Remove(b+"/"+name))
			ok(t, unix.Mkfifo(b+"/"+name, 0o640))
		})
		setTime(t, b+"/"+name, st.Mtim)
	}
}

func resymlink(t *testing.T, path, target string) {
	st := lstat(t, path)
	keepingTime(t, filepath.Dir(path), func() {
		ok(t, os.Remove(path))
		ok(t, os.Symlink(target, path))
	})
	setTime(t, path, st.Mtim)
}

func retype(t *testing.T, path string) {
	st := lstat(t, path)
	keepingTime(t, filepath.Dir(path), func() {
		ok(t, os.Remove(path))
		ok(t, os.WriteFile(path, nil, 0o755))
	})
	setTime(t, path, st.Mtim)
}

func redevice(t *testing.T, path string) {
	st := lstat(t, path)
	keepingTime(t, filepath.Dir(path), func() {
		ok(t, os.Remove(path))
		ok(t, unix.Mknod(path, st.Mode, int(unix.Mkdev(1, 5))))
	})
	setTime(t, path, st.Mtim)
	ok(t, unix.Setxattr(path, "trusted.device", []byte("on a device"), 0))
}
