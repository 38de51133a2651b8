package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"coffer/internal/torture"
)

// mounted makes a file system of a kind in a file and mounts it.
func mounted(t *testing.T, kind string) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{
		{"truncate", "-s", "2G", image}, {"mkfs." + kind, "-q", image}, {"mkdir", at}, {"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return at
}

// Other file systems have other flags, holes and limits than the one that the
// tests run on: btrfs passes no-copy-on-write on to new files, XFS allocates
// behind the end of files.
func TestOtherFileSystems(t *testing.T) {
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			at := mounted(t, kind)
			r := newRig(t)
			tree, back := filepath.Join(at, "tree"), filepath.Join(at, "back")
			t.Cleanup(func() {
				for _, dir := range []string{tree, back} {
					if err := torture.Remove(dir); err != nil {
						t.Error(err)
					}
				}
			})
			if err := torture.Build(tree, torture.Short); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(back, 0o755); err != nil {
				t.Fatal(err)
			}
			r.coffer("backup", "--quiet", "--as", "tree="+tree)
			r.coffer("restore", "latest:/tree", "--target", back, "--quiet")
			r.same(tree, back)
		})
	}
}
