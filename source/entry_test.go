package source_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/source"
)

func TestEveryType(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/file", "12345")
	check(t, os.Mkdir(root+"/dir", 0o750))
	check(t, os.Symlink("nowhere", root+"/link"))
	check(t, unix.Mknod(root+"/block", unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	check(t, unix.Mknod(root+"/char", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	check(t, unix.Mkfifo(root+"/fifo", 0o600))
	l, err := net.Listen("unix", root+"/socket")
	check(t, err)
	defer l.Close()

	dir := open(t, root, source.Options{})
	list, err := dir.Names()
	check(t, err)
	want := map[string]snapshot.Type{
		"file": snapshot.File, "dir": snapshot.Dir, "link": snapshot.Symlink, "block": snapshot.Block,
		"char": snapshot.Char, "fifo": snapshot.Fifo, "socket": snapshot.Socket,
	}
	equal(t, "number of names", list.Len(), len(want))
	for name, typ := range list.All() {
		e := full(t, dir, name)
		equal(t, "name", e.Name, name)
		equal(t, name+": type", e.Type, want[name])
		equal(t, name+": listed type", typ, want[name])
	}
	equal(t, "size of file", full(t, dir, "file").Size, 5)
	equal(t, "size of link", full(t, dir, "link").Size, 7)
	equal(t, "target", full(t, dir, "link").Target, "nowhere")
	block := full(t, dir, "block")
	equal(t, "device", fmt.Sprint(block.Major, block.Minor), "259 70000")
}

func TestModeOwnerTimes(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	path := root + "/f"
	write(t, path, "x")
	check(t, os.Chown(path, 0, 54321))
	check(t, unix.Chmod(path, 0o6751))
	dir := open(t, root, source.Options{})
	for _, ts := range []unix.Timespec{
		{Sec: 1700000000, Nsec: 123456789},
		{Sec: -1, Nsec: 999999999},    // 1969
		{Sec: -2000000000, Nsec: 1},   // 1906
		{Sec: 5000000000, Nsec: 7},    // 2128
		{Sec: 1<<33 + 5, Nsec: 70000}, // 2242
	} {
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, 0))
		e := lstat(t, dir, "f")
		equal(t, "mtime", e.MTime, snapshot.Time{Sec: ts.Sec, Nsec: uint32(ts.Nsec)})
	}
	e := lstat(t, dir, "f")
	equal(t, "mode", e.Mode, 0o6751)
	equal(t, "owner", fmt.Sprint(e.UID, e.User, e.GID, e.Group), "0root54321")
	if e.CTime.Sec < 1700000000 || e.Inode == 0 || e.Links != 1 || e.LinkGroup != "" {
		t.Errorf("entry is %+v", e)
	}
}

// A POSIX ACL as the kernel encodes it: user::rw- user:12345:r-- group::r--
// mask::r-- other::---.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" +
	"\x02\x00\x04\x00\x39\x30\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" +
	"\x20\x00\x00\x00\xff\xff\xff\xff"

// CAP_NET_BIND_SERVICE, permitted and effective, revision 2.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestXattrs(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/f", "")
	check(t, os.Mkdir(root+"/d", 0o755))
	check(t, os.Symlink("f", root+"/l"))
	check(t, unix.Mkfifo(root+"/p", 0o600))
	set := func(name, attr, value string) {
		t.Helper()
		check(t, unix.Lsetxattr(root+"/"+name, attr, []byte(value), 0))
	}
	set("f", "user.z", "last")
	set("f", "user.empty", "")
	set("f", "user.bin\xff", "\x00\xfe")
	set("f", "user.big", strings.Repeat("x", 3000))
	set("f", "system.posix_acl_access", acl)
	set("f", "security.capability", capability)
	set("d", "system.posix_acl_default", acl)
	set("l", "trusted.of-the-link", "1")
	set("p", "trusted.of-the-fifo", "2")

	dir := open(t, root, source.Options{})
	f := full(t, dir, "f")
	var got []string
	for _, x := range f.Xattrs {
		got = append(got, string(x.Name))
		if x.Value == nil {
			t.Errorf("value of %s is nil", x.Name)
		}
	}
	equalSlices(t, "attributes", got, []string{"security.capability", "system.posix_acl_access",
		"user.big", "user.bin\xff", "user.empty", "user.z"})
	equal(t, "capability", string(f.Xattrs[0].Value), capability)
	equal(t, "ACL", string(f.Xattrs[1].Value), acl)
	equal(t, "default ACL", string(full(t, dir, "d").Xattrs[0].Value), acl)
	equal(t, "link", string(full(t, dir, "l").Xattrs[0].Name), "trusted.of-the-link")
	equal(t, "fifo", string(full(t, dir, "p").Xattrs[0].Name), "trusted.of-the-fifo")

	file, err := dir.Open("f")
	check(t, err)
	defer file.Close()
	var again snapshot.Entry
	check(t, file.Fstat(&again))
	check(t, file.Details(&again))
	equal(t, "entry of the open file", fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", f))
}

// The largest attribute there is, where the file system allows it.
func TestXattrLimit(t *testing.T) {
	needRoot(t)
	root := mountTmpfs(t)
	write(t, root+"/f", "")
	big := bytes.Repeat([]byte{7}, 65536)
	if err := unix.Setxattr(root+"/f", "trusted.big", big, 0); err != nil {
		t.Logf("no attribute of 64 KiB on this tmpfs: %v", err)
		return
	}
	e := full(t, open(t, root, source.Options{}), "f")
	if len(e.Xattrs) != 1 || !bytes.Equal(e.Xattrs[0].Value, big) {
		t.Errorf("got %d attributes", len(e.Xattrs))
	}
}

func TestInodeFlags(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/f", "")
	check(t, os.Mkdir(root+"/d", 0o755))
	const nodump, immutable = 0x40, 0x10
	setFlags(t, root+"/f", nodump|immutable)
	defer setFlags(t, root+"/f", 0)
	setFlags(t, root+"/d", nodump)
	dir := open(t, root, source.Options{})
	equal(t, "flags of file", full(t, dir, "f").Flags, nodump|immutable)
	equal(t, "flags of directory", full(t, dir, "d").Flags, nodump)
}

func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	check(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
}

func TestHardLinks(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/file", "x")
	check(t, os.Symlink("x", root+"/link"))
	check(t, unix.Mkfifo(root+"/fifo", 0o600))
	check(t, unix.Mknod(root+"/char", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	check(t, os.MkdirAll(root+"/dir/sub", 0o755))
	dir := open(t, root, source.Options{})
	groups := map[snapshot.LinkGroup]bool{}
	for _, name := range []string{"file", "link", "fifo", "char"} {
		check(t, os.Link(root+"/"+name, root+"/dir/"+name))
		sub, err := dir.Sub("dir")
		check(t, err)
		a, b := lstat(t, dir, name), lstat(t, sub, name)
		sub.Close()
		if a.LinkGroup == "" || a.LinkGroup != b.LinkGroup || a.Links != 2 {
			t.Errorf("%s: %q %q, %d links", name, a.LinkGroup, b.LinkGroup, a.Links)
		}
		groups[a.LinkGroup] = true
	}
	equal(t, "number of groups", len(groups), 4)
	equal(t, "group of directory", lstat(t, dir, "dir").LinkGroup, "")
}

func TestLongTarget(t *testing.T) {
	root := t.TempDir()
	target := strings.Repeat("t/", 2047)
	check(t, os.Symlink(target, root+"/l"))
	equal(t, "target", full(t, open(t, root, source.Options{}), "l").Target, target)
}

func TestRoots(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/f", "text")
	check(t, os.Symlink("f", root+"/l"))
	for name, typ := range map[string]snapshot.Type{"f": snapshot.File, "l": snapshot.Symlink, "": snapshot.Dir} {
		tree, e, err := source.OpenRoot(root+"/"+name, source.Options{})
		check(t, err)
		equal(t, name+": type", e.Type, typ)
		equal(t, name+": name", e.Name, filepath.Base(filepath.Join(root, name)))
		equal(t, name+": file system", e.FS, 0)
		tree.Close()
	}
	tree, e, err := source.OpenRoot("/", source.Options{})
	check(t, err)
	defer tree.Close()
	dir, err := tree.Dir()
	check(t, err)
	defer dir.Close()
	equal(t, "name of /", e.Name, "")
	equal(t, "path of /", dir.Path(), "/")
	_, err = dir.Sub("no such")
	equal(t, "error", err.Error(), "open /no such: no such file or directory")
	check(t, dir.Self(e))
	equal(t, "name of / itself", e.Name, "")
}

func TestParents(t *testing.T) {
	root := t.TempDir()
	check(t, os.MkdirAll(root+"/a/b", 0o711))
	tree, _, err := source.OpenRoot(root+"/a/b", source.Options{})
	check(t, err)
	defer tree.Close()
	parents, err := tree.Parents()
	check(t, err)
	path := ""
	for i, e := range parents {
		if i > 0 {
			path += "/" + e.Name
		}
		equal(t, "type", e.Type, snapshot.Dir)
	}
	equal(t, "path of parents", path, root+"/a")
	equal(t, "first", parents[0].Name, "")
}

// A reading of the same tree by tar is the judge of everything at once.
func TestAgainstStat(t *testing.T) {
	dir := open(t, "/etc", source.Options{})
	for _, name := range names(t, dir) {
		e := lstat(t, dir, name)
		out, err := exec.Command("stat", "-c", "%i %h %a %u %g %Y", "/etc/"+name).Output()
		check(t, err)
		got := fmt.Sprintf("%d %d %o %d %d %d\n", e.Inode, e.Links, e.Mode, e.UID, e.GID, e.MTime.Sec)
		equal(t, name, got, string(out))
	}
}
