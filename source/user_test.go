package source_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
	"coffer/source"
)

const asNobody = "COFFER_TEST_AS_NOBODY"

// TestUnreadable looks at root's files with the rights of somebody else, by
// running itself again.
func TestUnreadable(t *testing.T) {
	if root := os.Getenv(asNobody); root != "" {
		readAsNobody(t, root)
		return
	}
	needRoot(t)
	root, err := os.MkdirTemp("", "coffer-source-") // t.TempDir is closed to others
	check(t, err)
	defer os.RemoveAll(root)
	check(t, os.Chmod(root, 0o755))
	write(t, root+"/secret", "x")
	write(t, root+"/open", "x")
	check(t, os.Chmod(root+"/secret", 0))
	check(t, os.Mkdir(root+"/closed", 0o700))
	check(t, os.Mkdir(root+"/list-only", 0o744))
	write(t, root+"/list-only/f", "x")
	check(t, unix.Setxattr(root+"/secret", "user.a", []byte("1"), 0))
	check(t, unix.Setxattr(root+"/open", "user.a", []byte("1"), 0))
	binary := root + "/test.bin"
	text, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	check(t, os.WriteFile(binary, text, 0o755))

	cmd := exec.Command(binary, "-test.run=^TestUnreadable$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asNobody+"="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func readAsNobody(t *testing.T, root string) {
	dir := open(t, root, source.Options{})
	_, err := dir.Open("secret")
	wantItemError(t, err, root+"/secret", fs.ErrPermission)
	_, err = dir.Sub("closed")
	wantItemError(t, err, root+"/closed", fs.ErrPermission)
	sub, err := dir.Sub("list-only")
	check(t, err)
	equalSlices(t, "names", names(t, sub), []string{"f"})
	wantItemError(t, sub.Lstat("f", new(snapshot.Entry)), root+"/list-only/f", fs.ErrPermission)

	secret := lstat(t, dir, "secret")
	wantItemError(t, dir.Details("secret", &secret), root+"/secret", fs.ErrPermission)
	full(t, dir, "closed")
	e := full(t, dir, "open") // not ours, so O_NOATIME is refused
	equal(t, "attributes", fmt.Sprint(len(e.Xattrs), string(e.Xattrs[0].Value)), "11")

	tree, _, err := source.OpenRoot(root+"/secret", source.Options{})
	check(t, err)
	defer tree.Close()
	wantItemError(t, tree.Incomplete(), root+"/secret", fs.ErrPermission)
	_, _, err = source.OpenRoot(root+"/list-only/f", source.Options{})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error is %v", err)
	}
}
