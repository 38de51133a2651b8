package local_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
	"coffer/bucket/local/internal/disk"
)

func TestConformance(t *testing.T) {
	t.Run("disk", func(t *testing.T) {
		buckettest.Run(t, func(t *testing.T) bucket.Bucket { return create(t) })
	})
	t.Run("disk without renameat2", func(t *testing.T) {
		buckettest.Run(t, func(t *testing.T) bucket.Bucket {
			fsys := new(disk.OS)
			fsys.LinkOnly()
			return must(local.CreateFS(fsys, filepath.Join(t.TempDir(), "repo")))
		})
	})
	t.Run("crashfs", func(t *testing.T) {
		buckettest.Run(t, func(t *testing.T) bucket.Bucket {
			return must(local.CreateFS(crashfs.New(), "/repo"))
		})
	})
	t.Run("opened empty", func(t *testing.T) {
		buckettest.Run(t, func(t *testing.T) bucket.Bucket { return must(local.Open(t.TempDir())) })
	})
}

func must(b *local.Bucket, err error) *local.Bucket {
	if err != nil {
		panic(err)
	}
	return b
}

func create(t *testing.T) *local.Bucket {
	t.Helper()
	b, err := local.Create(filepath.Join(t.TempDir(), "repo"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, b bucket.Bucket, name, data string) {
	t.Helper()
	if err := b.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

// rootOf opens a bucket in a directory that the test can see.
func rootOf(t *testing.T) (string, *local.Bucket) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	return dir, must(local.Create(dir))
}

func TestOpenNeedsADirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), file, filepath.Join(file, "below")} {
		_, err := local.Open(path)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: %v", path, err)
		}
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("file")
	write("foreign/x")
	write("foreigntmp/tmp/x")
	write("disk/lost+found/x")
	for name, want := range map[string]error{
		"new": nil, "disk": nil,
		"foreign": syscall.ENOTEMPTY, "foreigntmp": syscall.ENOTEMPTY,
		"file": fs.ErrNotExist, "no/parent": fs.ErrNotExist,
	} {
		for range 2 { // the second time it is ours
			if _, err := local.Create(filepath.Join(dir, name)); !errors.Is(err, want) {
				t.Errorf("create %s: %v, want %v", name, err, want)
			}
		}
	}
	b := must(local.Create(filepath.Join(dir, "new")))
	put(t, b, "keys/0", "x")
	if _, err := local.Create(filepath.Join(dir, "new")); err != nil {
		t.Errorf("create after an init that was broken off: %v", err)
	}
}

func TestModes(t *testing.T) {
	dir, b := rootOf(t)
	if err := os.Mkdir(filepath.Join(dir, "shared"), 0o750); err != nil {
		t.Fatal(err)
	}
	put(t, b, "packs/0/a", "x")
	put(t, b, "shared/a", "x")
	for name, want := range map[string]fs.FileMode{
		"": 0o700, "tmp": 0o700, "packs": 0o700, "packs/0": 0o700, "packs/0/a": 0o600, "shared": 0o750,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestForeignFiles(t *testing.T) {
	dir, b := rootOf(t)
	put(t, b, "packs/0/a", "x")
	for _, name := range []string{"README", "packs/A", "packs/0/a.TMP", "tmp/x", "reserve", "packs/a b", ".DS_Store"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "Trash"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "packs/0/link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "packs/0/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := buckettest.Names(t.Context(), b, "", "")
	if err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	for _, name := range []string{"packs/0/link", "packs/0/pipe", "packs/0"} {
		if _, err := b.Get(t.Context(), name, 0, -1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("get %s: %v", name, err)
		}
	}
	for _, name := range []string{"tmp", "tmp/x", "reserve", "reserve/x"} {
		if err := b.Put(t.Context(), name, strings.NewReader(""), 0); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("put %s: %v", name, err)
		}
		if err := b.Delete(t.Context(), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("delete %s: %v", name, err)
		}
	}
}

// TestUnmounted: a directory that is gone, or empty where it was not, is never
// taken for a repository without objects.
func TestUnmounted(t *testing.T) {
	for _, after := range []string{"gone", "empty", "file"} {
		dir, b := rootOf(t)
		put(t, b, "packs/0/a", "x")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		switch after {
		case "empty":
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		case "file":
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, list := buckettest.Names(t.Context(), b, "", "")
		_, listNone := buckettest.Names(t.Context(), b, "nothing/", "")
		_, get := b.Get(t.Context(), "packs/0/a", 0, -1)
		_, held := b.Held(t.Context(), "packs/0/a")
		for what, err := range map[string]error{
			"list": list, "list of nothing": listNone, "get": get, "held": held,
			"delete": b.Delete(t.Context(), "packs/0/a"),
			"settle": b.Settle(t.Context(), "packs/0/a"),
		} {
			if !errors.Is(err, local.ErrGone) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: %v", after, what, err)
			}
		}
		for _, name := range []string{"packs/0/b", "other/b"} {
			if err := b.Put(t.Context(), name, strings.NewReader(""), 0); err == nil {
				t.Errorf("%s: put %s succeeded", after, name)
			}
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: a repository was begun on the mount point: %v", after, left)
		}
	}
}

func TestTidiedDirectory(t *testing.T) {
	dir, b := rootOf(t)
	put(t, b, "packs/0/a", "x")
	if err := b.Delete(t.Context(), "packs/0/a"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "packs")); err != nil {
		t.Fatal(err)
	}
	put(t, b, "packs/0/b", "x")
}

// TestOpenChangesNothing opens a bucket that has lost its empty tmp/, as a copy of it
// made by a tool that drops empty directories.
func TestOpenChangesNothing(t *testing.T) {
	dir, b := rootOf(t)
	put(t, b, "config", "x")
	if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	b = must(local.Open(dir))
	if names, err := buckettest.Names(t.Context(), b, "", ""); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	if n, err := b.CleanTemp(t.Context()); n != 0 || err != nil {
		t.Errorf("CleanTemp = %d, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made tmp/: %v", err)
	}
	put(t, b, "packs/0/a", "x")
}

// TestPutFile has bodies of each kind: one that writes itself, a file, and one
// that only reads.
func TestPutFile(t *testing.T) {
	b := create(t)
	data := strings.Repeat("0123456789abcdef", 150_000)
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.Put(t.Context(), "d/file", f, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	got, err := buckettest.Read(t.Context(), b, "d/file", 0, -1)
	if err != nil || string(got) != data {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	err = b.Put(t.Context(), "d/long", f, int64(len(data)-1))
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a body that is too long: %v", err)
	}
	if left, err := b.CleanTemp(t.Context()); left != 0 || err != nil {
		t.Errorf("%d temporary files left, %v", left, err)
	}
}

// TestObjectShrinks: a disk that loses the end of an open object gives an error
// and not a short object.
func TestObjectShrinks(t *testing.T) {
	dir, b := rootOf(t)
	put(t, b, "packs/0/a", "0123456789")
	for _, n := range []int64{-1, 8} {
		r, err := b.Get(t.Context(), "packs/0/a", 1, n)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := os.Truncate(filepath.Join(dir, "packs/0/a"), 5); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "1234" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Get(1, %d): %q, %v", n, got, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "packs/0/a"), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReserve(t *testing.T) {
	dir, b := rootOf(t)
	reserve := filepath.Join(dir, "reserve")
	for _, size := range []int64{1 << 20, 1 << 16, 1 << 21} {
		if err := b.Reserve(size); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(reserve)
		if err != nil || info.Size() < size || info.Sys().(*syscall.Stat_t).Blocks*512 < size {
			t.Errorf("%+v, %v", info, err)
		}
	}
	for range 2 {
		if err := b.ReleaseReserve(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(reserve); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkPut32MiB(b *testing.B) {
	bkt := must(local.Create(filepath.Join(b.TempDir(), "repo")))
	data := strings.Repeat("0123456789abcdef", 2<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := bkt.Put(b.Context(), "packs/0/a", strings.NewReader(data), int64(len(data))); err != nil {
			b.Fatal(err)
		}
		if err := bkt.Delete(b.Context(), "packs/0/a"); err != nil {
			b.Fatal(err)
		}
	}
}
