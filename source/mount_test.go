package source_test

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/source"
)

// mount mounts and fails the test if root may not: what crosses mount points
// must be seen at work.
func mount(t *testing.T, what, where, kind string, flags uintptr) {
	t.Helper()
	check(t, os.MkdirAll(where, 0o755))
	check(t, unix.Mount(what, where, kind, flags, ""))
	t.Cleanup(func() { check(t, unix.Unmount(where, unix.MNT_DETACH)) })
}

func mountTmpfs(t *testing.T) string {
	root := t.TempDir() + "/m"
	mount(t, "tmpfs", root, "tmpfs", 0)
	return root
}

func TestMountPoints(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	mount(t, "tmpfs", root+"/disk", "tmpfs", 0)
	mount(t, "proc", root+"/proc", "proc", 0)
	write(t, root+"/disk/deep/file", "x")
	for _, one := range []bool{false, true} {
		dir := open(t, root, source.Options{OneFileSystem: one})
		disk, err := dir.Sub("disk")
		check(t, err)
		proc, err := dir.Sub("proc")
		check(t, err)
		equal(t, "disk is skipped", disk.Skipped() != "", one)
		equal(t, "disk is empty", len(names(t, disk)) == 0, one)
		equal(t, "proc is empty", len(names(t, proc)), 0)
		if proc.Skipped() == "" {
			t.Error("proc is read")
		}
		equal(t, "type of mount point", lstat(t, dir, "disk").Type, snapshot.Dir)
		disk.Close()
		proc.Close()
	}
	if len(names(t, open(t, root+"/proc", source.Options{}))) == 0 {
		t.Error("proc is not read when it is the root itself")
	}
}

// A file of a pseudo file system mounted over a name is reported, not read.
func TestPseudoFile(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/f", "x")
	check(t, unix.Mount("/proc/uptime", root+"/f", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(root+"/f", unix.MNT_DETACH) })
	_, err := open(t, root, source.Options{}).Open("f")
	wantItemError(t, err, root+"/f", source.ErrPseudo)
}

func TestNumbersOfFileSystems(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	for _, name := range []string{"a", "b", "c", "b/inner"} {
		mount(t, "tmpfs", root+"/"+name, "tmpfs", 0)
		write(t, root+"/"+name+"/file", "x")
		check(t, os.Link(root+"/"+name+"/file", root+"/"+name+"/other"))
	}
	mount(t, root+"/a", root+"/b/bound", "", unix.MS_BIND)
	first := numbers(t, root)
	for range 20 {
		again := numbers(t, root)
		for path, n := range first {
			equal(t, path, again[path], n)
		}
	}
	seen := map[uint32]string{}
	for _, path := range []string{"", "/a", "/b", "/c", "/b/inner"} {
		n := first[root+path]
		if seen[n] != "" {
			t.Errorf("%s and %s have number %d", path, seen[n], n)
		}
		seen[n] = path
		equal(t, path+"/file", first[root+path+"/file"], n)
	}
	equal(t, "root", first[root], 0)
}

// numbers walks with a goroutine per directory.
func numbers(t *testing.T, root string) map[string]uint32 {
	found := map[string]uint32{}
	write(t, root+"/file", "x")
	var mu sync.Mutex
	var wg sync.WaitGroup
	var walk func(dir *source.DirHandle)
	walk = func(dir *source.DirHandle) {
		for _, name := range names(t, dir) {
			e := lstat(t, dir, name)
			mu.Lock()
			found[dir.Path()+"/"+name] = e.FS
			mu.Unlock()
			if e.Type == snapshot.Dir {
				sub, err := dir.Sub(name)
				check(t, err)
				wg.Go(func() { walk(sub); sub.Close() })
			}
		}
	}
	found[root] = 0
	walk(open(t, root, source.Options{}))
	wg.Wait()
	return found
}

// Two roots on one file system share its number, two disks do not.
func TestHostIsShared(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	check(t, os.Mkdir(root+"/x", 0o755))
	mount(t, "tmpfs", root+"/y", "tmpfs", 0)
	host := source.NewHost()
	got := []uint32{}
	for _, path := range []string{root + "/x", root + "/y", root} {
		tree, e, err := source.OpenRoot(path, source.Options{Host: host})
		check(t, err)
		tree.Close()
		got = append(got, e.FS)
	}
	equalSlices(t, "numbers", got, []uint32{0, 1, 0})
}
