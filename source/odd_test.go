package source_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/source"
)

func wantItemError(t *testing.T, err error, path string, target error) {
	t.Helper()
	var item *source.ItemError
	if !errors.As(err, &item) || item.Path != path || !errors.Is(err, target) {
		t.Errorf("error is %v, want one of %s that is %v", err, path, target)
	}
}

func TestOddNames(t *testing.T) {
	root := t.TempDir()
	want := []string{"\x01\xff\xfe", "a\nb", "-rf", " ", "é", strings.Repeat("n", 255), "a", "A", "..."}
	for _, name := range want {
		write(t, root+"/"+name, name)
	}
	slices.Sort(want)
	dir := open(t, root, source.Options{})
	equalSlices(t, "names", names(t, dir), want)
	for _, name := range want {
		e := full(t, dir, name)
		f, err := dir.Open(name)
		check(t, err)
		text, err := io.ReadAll(io.NewSectionReader(f, 0, f.DataSize()))
		check(t, err)
		equal(t, "content", string(text), name)
		equal(t, "size", e.Size, int64(len(name)))
		check(t, f.Close())
	}
}

const levels = 1500 // of directories with names of 10 bytes: four times PATH_MAX

// makeDeep makes a chain of directories, which no path can name.
func makeDeep(t *testing.T, root string) {
	fd, err := unix.Open(root, unix.O_DIRECTORY, 0)
	check(t, err)
	for i := range levels {
		name := fmt.Sprintf("level-%04d", i)
		check(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
	}
	check(t, unix.Symlinkat("target", fd, "link"))
	unix.Close(fd)
}

func TestDeeperThanPathMax(t *testing.T) {
	root := t.TempDir()
	makeDeep(t, root)
	before := descriptors(t)
	dir := open(t, root, source.Options{})
	chain := []*source.DirHandle{dir}
	for {
		list := names(t, dir)
		if list[0] == "link" {
			break
		}
		sub, err := dir.Sub(list[0])
		check(t, err)
		chain, dir = append(chain, sub), sub
	}
	equal(t, "levels", len(chain), levels+1)
	equal(t, "target", full(t, dir, "link").Target, "target")
	equal(t, "length of path", len(dir.Path()), len(root)+levels*11)
	if n := descriptors(t) - before; n > 64+levels/64+5 {
		t.Errorf("%d descriptors are open", n)
	}
	for i := len(chain) - 1; i > 0; i-- { // parked ones come back
		equal(t, "names", len(names(t, chain[i])), 1)
		full(t, chain[i-1], fmt.Sprintf("level-%04d", i-1))
		check(t, chain[i].Close())
	}
	equal(t, "descriptors left", descriptors(t)-before, 2) // the root and the tree's own
}

// A parked directory whose ancestors are closed still comes back, and one that
// was replaced meanwhile does not.
func TestParkedDirectory(t *testing.T) {
	root := t.TempDir()
	makeDeep(t, root)
	before := descriptors(t)
	top := open(t, root, source.Options{})
	chain := []*source.DirHandle{top}
	for i := range 100 {
		sub, err := chain[i].Sub(fmt.Sprintf("level-%04d", i))
		check(t, err)
		chain = append(chain, sub)
	}
	for _, dir := range chain[1:20] {
		dir.Close()
	}
	check(t, os.Rename(root+"/level-0000", root+"/aside"))
	check(t, os.MkdirAll(root+"/level-0000/level-0001", 0o755))
	if _, err := chain[24].Names(); !errors.Is(err, source.ErrReplaced) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	check(t, os.RemoveAll(root+"/level-0000"))
	check(t, os.Rename(root+"/aside", root+"/level-0000"))
	equal(t, "names", len(names(t, chain[24])), 1)
	_, err := chain[5].Names()
	wantItemError(t, err, chain[5].Path(), os.ErrClosed)
	for _, dir := range chain[20:] {
		dir.Close()
	}
	equal(t, "descriptors left", descriptors(t)-before, 2)
}

func TestLargeDirectory(t *testing.T) {
	const n = 100_000
	root := mountTmpfsOr(t)
	fd, err := unix.Open(root, unix.O_DIRECTORY, 0)
	check(t, err)
	defer unix.Close(fd)
	for i := range n {
		check(t, unix.Symlinkat("x", fd, "some-name-"+strconv.Itoa(i)))
	}
	dir := open(t, root, source.Options{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	list, err := dir.Names()
	check(t, err)
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	equal(t, "number of names", list.Len(), n)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%v, %d bytes a name", took, held/n)
	if held/n > 40 {
		t.Errorf("a name takes %d bytes", held/n)
	}
	for i := 1; i < n; i++ {
		if list.Name(i-1) >= list.Name(i) {
			t.Fatalf("%q before %q", list.Name(i-1), list.Name(i))
		}
	}
	if !list.Has("some-name-99999") || list.Has("some-name-100000") {
		t.Error("Has is wrong")
	}
}

// mountTmpfsOr makes many files cheap where that is possible.
func mountTmpfsOr(t *testing.T) string {
	if os.Geteuid() != 0 {
		return t.TempDir()
	}
	return mountTmpfs(t)
}

func TestVanishedAndReplaced(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/file", "x")
	write(t, root+"/dir/f", "x")
	dir := open(t, root, source.Options{})
	file, sub := lstat(t, dir, "file"), lstat(t, dir, "dir")
	check(t, os.RemoveAll(root+"/file"))
	check(t, os.RemoveAll(root+"/dir"))

	_, err := dir.Open("file")
	wantItemError(t, err, root+"/file", fs.ErrNotExist)
	_, err = dir.Sub("dir")
	wantItemError(t, err, root+"/dir", fs.ErrNotExist)
	wantItemError(t, dir.Lstat("file", new(snapshot.Entry)), root+"/file", fs.ErrNotExist)
	wantItemError(t, dir.Details("file", &file), root+"/file", fs.ErrNotExist)

	check(t, unix.Mkfifo(root+"/file", 0o600))
	_, err = dir.Open("file")
	wantItemError(t, err, root+"/file", source.ErrReplaced)
	wantItemError(t, dir.Details("file", &file), root+"/file", source.ErrReplaced)
	check(t, os.Symlink("/etc", root+"/dir"))
	_, err = dir.Sub("dir")
	wantItemError(t, err, root+"/dir", source.ErrReplaced)
	wantItemError(t, dir.Details("dir", &sub), root+"/dir", source.ErrReplaced)
	_, err = dir.Open("dir")
	wantItemError(t, err, root+"/dir", source.ErrReplaced)
	link := snapshot.Entry{Type: snapshot.Symlink}
	wantItemError(t, dir.Details("file", &link), root+"/file", source.ErrReplaced)
}

// A directory being written to while it is listed gives each name once.
func TestListWhileChanging(t *testing.T) {
	root := t.TempDir()
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				os.WriteFile(fmt.Sprintf("%s/f%d", root, i%3000), nil, 0o600)
				os.Remove(fmt.Sprintf("%s/f%d", root, (i*7)%3000))
			}
		}
	}()
	dir := open(t, root, source.Options{})
	for range 50 {
		list := names(t, dir)
		if n := len(list); n != len(slices.Compact(list)) {
			t.Error("a name is listed twice")
		}
	}
	close(stop)
	<-done
}
