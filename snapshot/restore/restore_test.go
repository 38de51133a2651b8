package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/internal/torture"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

func writeFile(t testing.TB, path, content string, dir bool) {
	t.Helper()
	parent := filepath.Dir(path)
	if dir {
		parent = path
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir {
		return
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func restoreTo(t *testing.T, src snapshot.Streamer, root chunk.ID, at, target string, opt Options) Report {
	t.Helper()
	rep, err := Run(context.Background(), src, root, at, target, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		t.Errorf("problem: %v", p)
	}
	return rep
}

// tree returns what is below dir: paths with the content of files, targets of
// symlinks, and types of the rest.
func treeOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			found[rel] = string(data)
			return err
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[rel] = "-> " + target
			return err
		}
		found[rel] = d.Type().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path, w := range want {
		if g, ok := got[path]; !ok || g != w {
			t.Errorf("%q is %.40q (%v), want %.40q", path, g, ok, w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q is there and should not be", path)
		}
	}
}

func exact(t *testing.T, a, b string) {
	t.Helper()
	diff, err := torture.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(diff) > 40 {
		diff = append(diff[:40], "...")
	}
	if len(diff) > 0 {
		t.Errorf("differences:\n%s", strings.Join(diff, "\n"))
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// buildTorture returns a torture tree and a directory beside it for copies.
func buildTorture(t *testing.T, dir string) (src, work string) {
	t.Helper()
	needRoot(t)
	src, work = filepath.Join(dir, "torture"), filepath.Join(dir, "work")
	t.Cleanup(func() {
		if err := errors.Join(torture.Remove(src), torture.Remove(work)); err != nil {
			t.Error(err)
		}
	})
	size := torture.Short
	if os.Getenv("COFFER_TORTURE") == "full" {
		size = torture.Full
	}
	if err := errors.Join(torture.Build(src, size), os.Mkdir(work, 0o755)); err != nil {
		t.Fatal(err)
	}
	return src, work
}

// tmpfs mounts a file system in memory for the test.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestExactCopy(t *testing.T) {
	for name, place := range map[string]func() string{
		"default": t.TempDir,
		"tmpfs":   func() string { return tmpfs(t, "size=2g") },
	} {
		t.Run(name, func(t *testing.T) {
			src, work := buildTorture(t, place())
			var mem snapshottest.Mem
			root := take(t, &mem, src)

			whole := filepath.Join(work, "not", "there", "yet")
			rep := restoreTo(t, &mem, root, "/", whole, Options{Verify: true})
			exact(t, src, filepath.Join(whole, "src"))
			t.Logf("%+v", rep)

			part := filepath.Join(work, "part")
			restoreTo(t, &mem, root, "/src", part, Options{})
			exact(t, src, part)
			noLeftovers(t, part)
			unchangedBySecondRun(t, &mem, root, src, part)
		})
	}
}

// unchangedBySecondRun restores in place what is there: nothing may be written.
func unchangedBySecondRun(t *testing.T, mem *snapshottest.Mem, root chunk.ID, src, target string) {
	t.Helper()
	for name, opt := range map[string]Options{
		"by time":    {InPlace: true, Delete: true},
		"by content": {InPlace: true, Delete: true, Checksum: true},
	} {
		opt.Event = func(ev Event) {
			if ev.Action != Keep && ev.Action != Progress {
				t.Errorf("%s: %s %q, where all is the same", name, ev.Action, ev.Path)
			}
		}
		rep := restoreTo(t, mem, root, "/src", target, opt)
		if rep.Files+rep.Dirs+rep.Symlinks+rep.Specials+rep.Links+rep.Changed+rep.Deleted > 0 || rep.Bytes > 0 {
			t.Errorf("%s: %+v, where all is the same", name, rep)
		}
		exact(t, src, target)
	}
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.Name() == torture.DeepName {
			return filepath.SkipDir
		}
		if d != nil && (d.Name() == markerName || strings.HasPrefix(d.Name(), partialPrefix) &&
			!strings.HasPrefix(d.Name(), partialPrefix+"user")) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What the target gives to all that is made in it, the copy must not have.
func TestTargetThatPassesThingsOn(t *testing.T) {
	src, work := buildTorture(t, tmpfs(t, "size=1g"))
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	for name, inherit := range map[string]func(string) error{
		"group": func(dir string) error { return errors.Join(os.Chown(dir, 0, 4321), unix.Chmod(dir, 0o2755)) },
		"ACL": func(dir string) error {
			acl := make([]byte, 4096)
			n, err := unix.Getxattr(src+"/acls/dir", "system.posix_acl_default", acl)
			return errors.Join(err, unix.Setxattr(dir, "system.posix_acl_default", acl[:max(n, 0)], 0))
		},
		"open ACL": func(dir string) error { // with it, the umask is nothing
			const acl = "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x07\x00\xff\xff\xff\xff\x20\x00\x07\x00\xff\xff\xff\xff"
			return unix.Setxattr(dir, "system.posix_acl_default", []byte(acl), 0)
		},
		"flags": func(dir string) error { return torture.SetFlags(dir, flagNoDump|flagNoAtime) },
	} {
		t.Run(name, func(t *testing.T) {
			target := work + "/" + name
			must(t, os.Mkdir(target, 0o755))
			must(t, inherit(target))
			restoreTo(t, &mem, root, "/", target, Options{Verify: true})
			exact(t, src, target+"/src")
		})
	}
}

func TestSingleFile(t *testing.T) {
	src, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
	put(t, src, "a/b/file content\na/b/other x")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src/a/b/file", target, Options{})
	sameTree(t, treeOf(t, target), map[string]string{"file": "content"})
}

func TestUnknownPath(t *testing.T) {
	src, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
	var mem snapshottest.Mem
	_, err := Run(context.Background(), &mem, take(t, &mem, src), "/src/none", target, Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that is ErrNotExist", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("the target was made")
	}
}

func TestRefusesTargetWithAnythingInIt(t *testing.T) {
	src := t.TempDir()
	put(t, src, "file content")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	for _, name := range []string{
		"file", ".hidden", "dir/", markerName + " ours?", markerName + "\nother x",
		".coffer-partial-x-1",
	} {
		target := t.TempDir()
		put(t, target, name)
		before := lstatOf(t, target)
		_, err := Run(context.Background(), &mem, root, "/src", target, Options{})
		if !errors.Is(err, ErrNotEmpty) {
			t.Errorf("with %q: error %v, want ErrNotEmpty", name, err)
		}
		if after := lstatOf(t, target); after.Ctim != before.Ctim || after.Mtim != before.Mtim {
			t.Errorf("with %q: the target was touched", name)
		}
	}
}

func lstatOf(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	st, err := lstat(unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(path, err)
	}
	return st
}

func TestFilters(t *testing.T) {
	src := t.TempDir()
	put(t, src, "a/one.txt 1\na/two.jpg 2\nb/c/three.txt 3\nb/c/skip/four.txt 4\nempty/")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	target := t.TempDir()
	rep := restoreTo(t, &mem, root, "/src", target, Options{
		Include: func(path string, dir bool) bool { return !dir && strings.HasSuffix(path, ".txt") },
		Exclude: func(path string, dir bool) bool { return dir && path == "/src/b/c/skip" },
	})
	sameTree(t, treeOf(t, target), map[string]string{
		"a": "d---------", "a/one.txt": "1", "b": "d---------", "b/c": "d---------", "b/c/three.txt": "3",
	})
	if rep.Skipped != 2 {
		t.Errorf("%d skipped, want 2", rep.Skipped)
	}
	target = t.TempDir()
	restoreTo(t, &mem, root, "/", target, Options{
		Include: func(path string, dir bool) bool { return path == "/src/b" },
	})
	sameTree(t, treeOf(t, filepath.Join(target, "src", "b")), treeOf(t, filepath.Join(src, "b")))
	if _, err := os.Lstat(filepath.Join(target, "src", "a")); err == nil {
		t.Error("what was not included is there")
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	src := t.TempDir()
	put(t, src, "same 1\nother 2\ndir/new 3")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	target := t.TempDir()
	restoreTo(t, &mem, root, "/src", target, Options{})
	put(t, target, "other changed\nextra x")
	if err := os.RemoveAll(target + "/dir"); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, target)
	did := make(map[string]string)
	opt := Options{InPlace: true, Delete: true, DryRun: true}
	opt.Event = func(ev Event) { did[ev.Path] = ev.Action.String() }
	restoreTo(t, &mem, root, "/src", target, opt)
	sameTree(t, treeOf(t, target), before)
	sameTree(t, did, map[string]string{
		"/src": "change", "/src/same": "keep", "/src/other": "replace", "/src/dir": "make", "/src/dir/new": "make",
		"/src/extra": "delete",
	})
	none := filepath.Join(target, "none")
	restoreTo(t, &mem, root, "/", none, Options{DryRun: true})
	if _, err := os.Lstat(none); err == nil {
		t.Error("a dry run made the target")
	}
}
