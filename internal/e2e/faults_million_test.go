package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Fault 32: a directory with a million files is saved, saved again and restored
// within the bound on memory, which every command of these tests has to keep. It
// takes minutes: COFFER_MILLION=1 runs it.
func TestFaultsMillionFiles(t *testing.T) {
	files := 1_000_000
	switch {
	case os.Getenv("COFFER_MILLION") != "":
	case testing.Short():
		t.Skip("the torture tree is enough")
	default:
		files = 20_000
	}
	r := newRig(t)
	d := newDisk(t, "tmpfs", 8000)
	run(t, "mount", "-o", "remount,nr_inodes=3000000", d.at)
	tree, back := filepath.Join(d.at, "tree"), filepath.Join(d.at, "back")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(tree, fmt.Sprintf("file-%07d", i)), fmt.Append(nil, i%5000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.coffer("backup", "--quiet", tree)
	r.coffer("backup", "--quiet", tree)
	r.coffer("restore", "--quiet", "--target", back, "latest:"+tree)
	list, err := os.ReadDir(back)
	if err != nil || len(list) != files {
		t.Fatalf("%d files are back, %v", len(list), err)
	}
	for i := 0; i < files; i += 997 {
		if got, err := os.ReadFile(filepath.Join(back, fmt.Sprintf("file-%07d", i))); err != nil || string(got) != fmt.Sprint(i%5000) {
			t.Fatalf("file %d: %q, %v", i, got, err)
		}
	}
	r.coffer("forget", "--quiet", "--keep-last", "1")
	r.coffer("prune", "--quiet")
	r.coffer("verify", "--quiet")
}
