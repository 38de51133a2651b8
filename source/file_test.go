package source_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/source"
)

func openFile(t *testing.T, path string) *source.FileHandle {
	t.Helper()
	tree, _, err := source.OpenRoot(path, source.Options{})
	check(t, err)
	f, err := tree.File()
	check(t, err)
	t.Cleanup(func() { f.Close(); tree.Close() })
	return f
}

func data(t *testing.T, f *source.FileHandle) []byte {
	t.Helper()
	all, err := io.ReadAll(io.NewSectionReader(f, 0, f.DataSize()))
	check(t, err)
	return all
}

// sparse writes blocks of 64 KiB at the given offsets.
func sparse(t *testing.T, path string, size int64, at ...int64) {
	f, err := os.Create(path)
	check(t, err)
	defer f.Close()
	check(t, f.Truncate(size))
	for i, off := range at {
		_, err := f.WriteAt(bytes.Repeat([]byte{byte('A' + i)}, 65536), off)
		check(t, err)
	}
	check(t, f.Sync())
}

func TestHoles(t *testing.T) {
	const k = 65536
	path := t.TempDir() + "/sparse"
	for _, c := range []struct {
		size  int64
		at    []int64
		holes []snapshot.Extent
	}{
		{10 * k, []int64{k, 4 * k, 5 * k}, []snapshot.Extent{{Length: k}, {Offset: 2 * k, Length: 2 * k}, {Offset: 6 * k, Length: 4 * k}}},
		{5 * k, []int64{0, 4 * k}, []snapshot.Extent{{Offset: k, Length: 3 * k}}},
		{3 * k, nil, []snapshot.Extent{{Length: 3 * k}}},
		{1 << 40, []int64{1 << 39}, []snapshot.Extent{{Length: 1 << 39}, {Offset: 1<<39 + k, Length: 1<<39 - k}}},
		{k, []int64{0}, nil},
		{0, nil, nil},
	} {
		sparse(t, path, c.size, c.at...)
		f := openFile(t, path)
		holes, err := f.Holes()
		check(t, err)
		equalSlices(t, "holes", holes, c.holes)
		var want []byte
		for i := range c.at {
			want = append(want, bytes.Repeat([]byte{byte('A' + i)}, k)...)
		}
		equal(t, "data size", f.DataSize(), int64(len(want)))
		equal(t, "size", f.Size(), c.size)
		if !bytes.Equal(data(t, f), want) {
			t.Errorf("data of %v is wrong", c.at)
		}
	}
}

func TestReadAt(t *testing.T) {
	const k = 65536
	path := t.TempDir() + "/f"
	sparse(t, path, 4*k, 0, 2*k)
	f := openFile(t, path)
	_, err := f.Holes()
	check(t, err)
	p := make([]byte, 4)
	n, err := f.ReadAt(p, k-2) // across the hole
	check(t, err)
	equal(t, "bytes", string(p[:n]), "AABB")
	n, err = f.ReadAt(p, 2*k-1)
	if n != 1 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	for _, off := range []int64{-1, 2 * k, 1 << 50} {
		if n, err := f.ReadAt(p, off); n != 0 || err != io.EOF {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
}

func TestChangedWhileRead(t *testing.T) {
	path := t.TempDir() + "/f"
	for name, change := range map[string]func() error{
		"size went from 10 to 11": func() error { return os.WriteFile(path, []byte("hello world"), 0o644) },
		"size went from 10 to 3":  func() error { return os.Truncate(path, 3) },
		"modified":                func() error { return os.WriteFile(path, []byte("0123456788"), 0o644) },
		"its inode changed":       func() error { return os.Chmod(path, 0o600) },
	} {
		write(t, path, "0123456789")
		f := openFile(t, path)
		if ok, why := f.Unchanged(); !ok {
			t.Errorf("changed without reason: %s", why)
		}
		tick()
		check(t, change())
		ok, why := f.Unchanged()
		equal(t, "unchanged", ok, false)
		equal(t, "why", why, name)
	}
}

// tick lets the clock of the file system move on.
func tick() {
	ts := unix.NsecToTimespec(20e6)
	unix.Nanosleep(&ts, nil)
}

func TestShrinksWhileRead(t *testing.T) {
	path := t.TempDir() + "/f"
	write(t, path, strings.Repeat("x", 100))
	f := openFile(t, path)
	check(t, os.Truncate(path, 40))
	n, err := f.ReadAt(make([]byte, 100), 0)
	equal(t, "bytes", n, 40)
	wantItemError(t, err, path, source.ErrShrunk)
}

func TestGrowsWhileRead(t *testing.T) {
	path := t.TempDir() + "/f"
	write(t, path, "1234")
	f := openFile(t, path)
	write(t, path, "1234567")
	equal(t, "data", string(data(t, f)), "1234")
}

func TestFstatSeesReplacement(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/f", "old")
	dir := open(t, root, source.Options{})
	e := lstat(t, dir, "f")
	write(t, root+"/new", "newer")
	check(t, os.Rename(root+"/new", root+"/f"))
	f, err := dir.Open("f")
	check(t, err)
	defer f.Close()
	wantItemError(t, f.Fstat(&e), root+"/f", source.ErrReplaced)
	equal(t, "size", e.Size, 3)
	check(t, f.Fstat(new(snapshot.Entry)))
}

// Reading leaves the access time alone.
func TestAccessTime(t *testing.T) {
	root := mountTmpfsOr(t)
	path := root + "/f"
	write(t, path, "x")
	old := unix.Timespec{Sec: 1000}
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, old}, 0))
	dir := open(t, root, source.Options{})
	full(t, dir, "f")
	f, err := dir.Open("f")
	check(t, err)
	data(t, f)
	check(t, f.Close())
	if f.Close() == nil {
		t.Error("closed twice")
	}
	var st unix.Stat_t
	check(t, unix.Stat(path, &st))
	equal(t, "access time", st.Atim, old)
}
