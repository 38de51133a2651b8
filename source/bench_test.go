package source_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"coffer/snapshot"
	"coffer/source"
)

// benchRoot makes a tree of 50,500 entries.
func benchRoot(b *testing.B) string {
	root := b.TempDir()
	for i := range 500 {
		dir := filepath.Join(root, fmt.Sprintf("dir-%03d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for k := range 100 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("some-file-%d.go", k)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return root
}

func scan(b testing.TB, dir *source.DirHandle) (n int) {
	list, err := dir.Names()
	if err != nil {
		b.Fatal(err)
	}
	for name := range list.All() {
		var e snapshot.Entry
		if err := dir.Lstat(name, &e); err != nil {
			b.Fatal(err)
		}
		n++
		if e.Type == snapshot.Dir {
			sub, err := dir.Sub(name)
			if err != nil {
				b.Fatal(err)
			}
			n += scan(b, sub)
			sub.Close()
		}
	}
	return n
}

// BenchmarkScan is a scan that finds nothing changed: all names and their stat.
func BenchmarkScan(b *testing.B) {
	root, n := benchRoot(b), 0
	b.ReportAllocs()
	for b.Loop() {
		tree, _, err := source.OpenRoot(root, source.Options{})
		if err != nil {
			b.Fatal(err)
		}
		dir, err := tree.Dir()
		if err != nil {
			b.Fatal(err)
		}
		n = scan(b, dir)
		dir.Close()
		tree.Close()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkWalkDir is what the standard library takes for the same.
func BenchmarkWalkDir(b *testing.B) {
	root, n := benchRoot(b), 0
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Lstat(path)
			}
			n++
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
