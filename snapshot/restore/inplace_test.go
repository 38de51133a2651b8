package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/internal/torture"
	"coffer/snapshot/snapshottest"
)

func TestInPlaceWritesOnlyWhatDiffers(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "same 1\nlonger 2\nolder 3\nmode 4\nmissing 5\ndir/same 6\ntype/in 7\nfile 8")
	symlink(t, "same", src+"/link")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", target, Options{})

	put(t, target, "longer 22\nextra 9")
	touch(t, target+"/older", 1)
	must(t, os.Chmod(target+"/mode", 0o600))
	must(t, os.Remove(target+"/missing"))
	must(t, os.RemoveAll(target+"/type"))
	must(t, os.WriteFile(target+"/type", nil, 0o644))
	must(t, os.Remove(target+"/file"))
	put(t, target, "file/in/it x")
	before := map[string]unix.Stat_t{}
	for _, name := range []string{"same", "dir", "dir/same", "link", "mode"} {
		before[name] = lstatOf(t, filepath.Join(target, name))
	}

	did := make(map[string]string)
	opt := Options{InPlace: true, Event: func(ev Event) { did[ev.Path] = ev.Action.String() }}
	restoreTo(t, &mem, root, "/src", target, opt)
	sameTree(t, did, map[string]string{
		"/src": "change", "/src/same": "keep", "/src/longer": "replace", "/src/older": "replace",
		"/src/mode": "change", "/src/missing": "make", "/src/dir": "keep", "/src/dir/same": "keep",
		"/src/type": "make", "/src/type/in": "make", "/src/file": "replace", "/src/link": "keep",
	})
	for name, st := range before {
		now := lstatOf(t, filepath.Join(target, name))
		if now.Ino != st.Ino || now.Ctim != st.Ctim && name != "mode" {
			t.Errorf("%q was the same and was written", name)
		}
	}
	want := treeOf(t, src)
	want["extra"] = "9"
	sameTree(t, treeOf(t, target), want)

	rep := restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Delete: true})
	if rep.Deleted != 1 {
		t.Errorf("%d deleted, want 1", rep.Deleted)
	}
	exactIfRoot(t, src, target)
}

func exactIfRoot(t *testing.T, a, b string) {
	t.Helper()
	if os.Geteuid() == 0 {
		exact(t, a, b)
		return
	}
	sameTree(t, treeOf(t, b), treeOf(t, a))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	must(t, os.Symlink(target, path))
}

func touch(t testing.TB, path string, sec int64) {
	t.Helper()
	ts := []unix.Timespec{{Sec: sec}, {Sec: sec}}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
}

func TestChecksumComparesContent(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "rotten "+strings.Repeat("x", 200_000)+"\ntouched 2\nsame 3")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", target, Options{})
	st := lstatOf(t, target+"/rotten")
	must(t, os.WriteFile(target+"/rotten", []byte(strings.Repeat("x", 199_999)+"y"), 0))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, target+"/rotten", []unix.Timespec{st.Mtim, st.Mtim}, 0))
	touch(t, target+"/touched", 1)

	did := make(map[string]string)
	note := func(ev Event) { did[ev.Path] = ev.Action.String() }
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Checksum: true, DryRun: true, Event: note})
	want := map[string]string{"/src/rotten": "replace", "/src/touched": "change", "/src/same": "keep", "/src": "keep"}
	sameTree(t, did, want)
	clear(did)
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Checksum: true, Event: note})
	delete(did, "")
	sameTree(t, did, want)
	exactIfRoot(t, src, target)
}

// An inode that is shared with a name outside of the target must stay as it is.
func TestInPlaceLeavesInodesThatAreSharedWithOthers(t *testing.T) {
	src, dir := t.TempDir(), t.TempDir()
	put(t, src, "file content")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	target := dir + "/target"
	restoreTo(t, &mem, root, "/src", target, Options{})
	must(t, os.Link(target+"/file", dir+"/outside"))
	must(t, os.Chmod(dir+"/outside", 0o600))
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true})
	if st := lstatOf(t, dir+"/outside"); st.Mode&0o777 != 0o600 || st.Nlink != 1 {
		t.Errorf("the file outside has mode %o and %d links", st.Mode, st.Nlink)
	}
	exactIfRoot(t, src, target)
}

// Hard links that should be and are not, or are and should not be, are mended.
func TestInPlaceMendsHardLinks(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "a/one x\nseparate1 y\nseparate2 y\nz/dir/")
	must(t, os.Link(src+"/a/one", src+"/z/two"))
	must(t, os.Link(src+"/a/one", src+"/z/three"))
	touch(t, src+"/separate1", 7)
	touch(t, src+"/separate2", 7)
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", target, Options{})
	exactIfRoot(t, src, target)

	must(t, os.Remove(target+"/z/two"))
	must(t, os.WriteFile(target+"/z/two", []byte("x"), 0o644))
	touch(t, target+"/z/two", lstatOf(t, src+"/a/one").Mtim.Sec)
	must(t, os.Remove(target+"/separate2"))
	must(t, os.Link(target+"/separate1", target+"/separate2"))
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true})
	if a, b := lstatOf(t, target+"/a/one"), lstatOf(t, target+"/z/two"); a.Ino != b.Ino {
		t.Error("the link was not made")
	}
	if a, b := lstatOf(t, target+"/separate1"), lstatOf(t, target+"/separate2"); a.Ino == b.Ino {
		t.Error("two files share an inode")
	}
	exactIfRoot(t, src, target)
}

// Whatever is wrong with a torture tree, restoring in place makes it exact.
func TestInPlaceMendsTortureTree(t *testing.T) {
	src, work := buildTorture(t, tmpfs(t, "size=1g"))
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	target := work + "/target"
	restoreTo(t, &mem, root, "/src", target, Options{})
	must(t, os.RemoveAll(target+"/plain"))
	must(t, os.Rename(target+"/sparse", target+"/plain"))
	must(t, os.Rename(target+"/"+torture.DeepName, target+"/nodes/deep"))
	must(t, os.Rename(target+"/names/-rf", target+"/names/--delete"))
	must(t, torture.SetFlags(target+"/acls", 0x10))
	must(t, torture.SetFlags(target+"/acls/dir/after", 0x10))
	must(t, torture.SetFlags(target+"/owners", 0x20))
	must(t, os.WriteFile(target+"/large", []byte("short"), 0))
	must(t, unix.Setxattr(target+"/xattrs/readonly", "user.more", []byte("x"), 0))
	must(t, unix.Setxattr(target+"/modes/f0001", "user.more", []byte("x"), 0))
	must(t, unix.Removexattr(target+"/xattrs/capable", "security.capability"))
	must(t, os.Lchown(target+"/xattrs/trusted", 1, 1))
	must(t, os.Lchown(target+"/owners/f2", 1, 1))
	must(t, unix.Chmod(target+"/owners/f2", 0o6755)) // the next change of owner clears this
	must(t, os.Remove(target+"/symlinks/dot"))
	must(t, os.Symlink("/", target+"/symlinks/dot"))
	must(t, os.Remove(target+"/links/two/fifo"))
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Delete: true, Verify: true})
	exact(t, src, target)
	noLeftovers(t, target)
}

func TestDeleteSpareExcluded(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "dir/keep 1\nskip/in 2")
	put(t, target, "dir/extra x\nskip/other y\nspare z\ngone/a/b/c d")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	opt := Options{InPlace: true, Delete: true, Exclude: func(path string, dir bool) bool {
		return path == "/src/skip" || path == "/src/spare"
	}}
	rep := restoreTo(t, &mem, root, "/src", target, opt)
	sameTree(t, treeOf(t, target), map[string]string{
		"dir": "d---------", "dir/keep": "1", "skip": "d---------", "skip/other": "y", "spare": "z",
	})
	if rep.Deleted != 2 {
		t.Errorf("%d deleted, want 2", rep.Deleted)
	}
}

// A listing that could not be read says nothing about what is extra.
func TestDeletesNothingInUnreadableDirectory(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "dir/file 1\nother 2")
	put(t, target, "dir/precious x")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	e := resolve(t, &mem, root, "/src/dir")
	mem.Delete(2, e.Tree)
	rep, err := Run(context.Background(), &mem, root, "/src", target, Options{InPlace: true, Delete: true})
	if err != nil || rep.ProblemCount != 1 || rep.Problems[0].Path != "/src/dir" {
		t.Fatalf("error %v, problems %v", err, rep.Problems)
	}
	sameTree(t, treeOf(t, target), map[string]string{"dir": "d---------", "dir/precious": "x", "other": "2"})
}

// A name that the marker has is restored like any other, at the end.
func TestSnapshotWithMarkersName(t *testing.T) {
	for name, content := range map[string]string{markerName: "file", markerName + "/in/it": "deep"} {
		src, target := t.TempDir(), t.TempDir()
		put(t, src, "before 1\n"+name+" "+content)
		var mem snapshottest.Mem
		root := take(t, &mem, src)
		restoreTo(t, &mem, root, "/src", target, Options{})
		exactIfRoot(t, src, target)
		restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Delete: true, Verify: true})
		exactIfRoot(t, src, target)
	}
}

func TestOnlyOneRunAtATime(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "file 1")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	var second error
	opt := Options{Event: func(Event) {
		_, second = Run(context.Background(), &mem, root, "/src", target, Options{InPlace: true})
	}}
	restoreTo(t, &mem, root, "/src", target, opt)
	if !errors.Is(second, ErrBusy) {
		t.Errorf("the second run says %v, want ErrBusy", second)
	}
}

func TestInPlaceMendsHoles(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "file x\nfull "+strings.Repeat("\x00", 1<<16))
	must(t, os.Truncate(src+"/file", 1<<20))
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", target, Options{})
	for name, mode := range map[string]uint32{"file": 0, "full": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE} {
		st := lstatOf(t, target+"/"+name)
		f, err := os.OpenFile(target+"/"+name, os.O_WRONLY, 0)
		must(t, err)
		if mode == 0 {
			_, err = f.WriteAt(make([]byte, 1<<16), 1<<18)
		} else {
			err = unix.Fallocate(int(f.Fd()), mode, 0, 1<<15)
		}
		must(t, errors.Join(err, f.Close()))
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, target+"/"+name, []unix.Timespec{st.Mtim, st.Mtim}, 0))
	}
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true})
	exactIfRoot(t, src, target)
}

func TestInPlaceBelowDirectoryThatPassesItsGroupOn(t *testing.T) {
	needRoot(t)
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "dir/file x\ndir/sub/file y")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	must(t, os.Mkdir(target+"/dir", 0o755))
	must(t, os.Chown(target+"/dir", 0, 4321))
	must(t, unix.Chmod(target+"/dir", 0o2755))
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true})
	exact(t, src, target)
}

// Where only some items are wanted, the others are no extras.
func TestDeleteSparesWhatIsNotIncluded(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "want/file 1\nother/file 2")
	put(t, target, "want/extra x\nother/extra y\nextra z")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Delete: true, Include: func(path string, _ bool) bool {
		return path == "/src/want"
	}})
	sameTree(t, treeOf(t, target), map[string]string{
		"want": "d---------", "want/file": "1", "other": "d---------", "other/extra": "y", "extra": "z",
	})
}

func TestInPlaceBelowDirectoryWithDefaultACL(t *testing.T) {
	needRoot(t)
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "dir/file x\ndir/sub/file y")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	must(t, os.Mkdir(target+"/dir", 0o755))
	const acl = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff" + // nobody but the owner
		"\x04\x00\x00\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	must(t, unix.Setxattr(target+"/dir", "system.posix_acl_default", []byte(acl), 0))
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true})
	exact(t, src, target)
}

func TestDeleteStopsAtOtherFileSystem(t *testing.T) {
	src, target := t.TempDir(), tmpfs(t, "size=1m")
	put(t, src, "file 1")
	put(t, target, "extra/mnt/\nextra/x 2")
	must(t, unix.Mount("none", target+"/extra/mnt", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(target+"/extra/mnt", 0)) })
	put(t, target, "extra/mnt/precious 3")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	rep, err := Run(context.Background(), &mem, root, "/src", target, Options{InPlace: true, Delete: true})
	must(t, err)
	if len(rep.Problems) != 1 || rep.Problems[0].Path != "/src/extra" {
		t.Errorf("problems: %v", rep.Problems)
	}
	if got := treeOf(t, target)["extra/mnt/precious"]; got != "3" {
		t.Error("what was mounted there was deleted from")
	}
}
