package source_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coffer/snapshot"
	"coffer/source"
)

// open opens a directory root and closes it when the test ends.
func open(t *testing.T, path string, opt source.Options) *source.DirHandle {
	t.Helper()
	tree, _, err := source.OpenRoot(path, opt)
	check(t, err)
	dir, err := tree.Dir()
	check(t, err)
	t.Cleanup(func() { dir.Close(); tree.Close() })
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

func lstat(t *testing.T, dir *source.DirHandle, name string) snapshot.Entry {
	t.Helper()
	var e snapshot.Entry
	check(t, dir.Lstat(name, &e))
	return e
}

// full is lstat with details.
func full(t *testing.T, dir *source.DirHandle, name string) snapshot.Entry {
	t.Helper()
	e := lstat(t, dir, name)
	check(t, dir.Details(name, &e))
	return e
}

func names(t *testing.T, dir *source.DirHandle) []string {
	t.Helper()
	list, err := dir.Names()
	check(t, err)
	var all []string
	for name := range list.All() {
		all = append(all, name)
	}
	return all
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// descriptors counts what this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(list)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make what this looks at")
	}
}
