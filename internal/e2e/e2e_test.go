// Package e2e backs up and restores real trees with the real command, and lets
// tools that are not ours judge what comes back.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coffer/internal/torture"
)

// A rig is a built command and a repository for it.
type rig struct {
	t    *testing.T
	bin  string
	work string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make devices, owners and mounts: run them as root")
	}
	r := &rig{t: t, work: t.TempDir()}
	r.bin = filepath.Join(r.work, "coffer")
	if out, err := exec.Command("go", "build", "-o", r.bin, "coffer/cmd/coffer").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	key := filepath.Join(r.work, "key")
	if err := os.WriteFile(key, []byte("a key file for tests, with enough in it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.coffer("init", "--quiet")
	return r
}

// command prepares a call of coffer with the rig's repository.
func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.bin, args...)
	cmd.Env = append(withoutOurs(os.Environ()), "COFFER_REPOSITORY="+filepath.Join(r.work, "repo"),
		"COFFER_KEY_FILE="+filepath.Join(r.work, "key"), "COFFER_CACHE_DIR="+filepath.Join(r.work, "cache"))
	return cmd
}

// withoutOurs leaves out what whoever runs the tests has set for his own use.
func withoutOurs(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "COFFER_") })
}

// maxRSS is what no command may take, in KiB: the promise is 150 MiB, and a
// little is for the kernel's way of counting huge pages.
const maxRSS = 165 << 10

// coffer runs the command, which must succeed.
func (r *rig) coffer(args ...string) string {
	r.t.Helper()
	cmd := r.command(args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("coffer %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && used.Maxrss > maxRSS {
		r.t.Errorf("coffer %s took %d MiB of memory", strings.Join(args, " "), used.Maxrss>>10)
	}
	return string(out)
}

// same fails the test if the trees differ in anything.
func (r *rig) same(a, b string) {
	r.t.Helper()
	differences, err := torture.Compare(a, b)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, d := range differences {
		if i == 20 {
			r.t.Fatalf("and %d more", len(differences)-i)
		}
		r.t.Error(d)
	}
}

// restored restores all of the latest snapshot and returns where.
func (r *rig) restored() string {
	r.t.Helper()
	target := filepath.Join(r.work, "restored")
	r.coffer("restore", "latest", "--target", target, "--quiet")
	return target
}

func size() torture.Size {
	if testing.Short() {
		return torture.Short
	}
	return torture.Full
}

func TestTortureTreeComesBackExactly(t *testing.T) {
	r := newRig(t)
	tree := filepath.Join(r.work, "tree")
	t.Cleanup(func() {
		for _, dir := range []string{tree, filepath.Join(r.work, "restored")} {
			if err := torture.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	if err := torture.Build(tree, size()); err != nil {
		t.Fatal(err)
	}
	r.coffer("backup", "--quiet", tree)
	r.same(tree, filepath.Join(r.restored(), tree))
	// Once more from a snapshot that was taken almost entirely from its parent.
	r.coffer("backup", "--quiet", tree)
	if err := torture.Remove(filepath.Join(r.work, "restored")); err != nil {
		t.Fatal(err)
	}
	r.same(tree, filepath.Join(r.restored(), tree))
	r.coffer("verify", "--read-data", "--quiet")
}

// Hard links between two roots of one snapshot are hard links again.
func TestLinksBetweenRoots(t *testing.T) {
	r := newRig(t)
	src := filepath.Join(r.work, "src")
	for _, d := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(src, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(src, "one/file")
	if err := os.WriteFile(file, []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, filepath.Join(src, "two/link")); err != nil {
		t.Fatal(err)
	}
	r.coffer("backup", "--quiet", filepath.Join(src, "one"), filepath.Join(src, "two"))
	r.same(src, filepath.Join(r.restored(), src))
}

// The machine's own directories: what real systems have that nobody thought of.
func TestMachineComesBackExactly(t *testing.T) {
	roots := []string{"/etc", "/usr/sbin", "/usr/share", "/usr/lib/x86_64-linux-gnu"}
	if testing.Short() {
		roots = []string{"/etc", "/usr/sbin"}
	}
	r := newRig(t)
	var present []string
	for _, root := range roots {
		if st, err := os.Lstat(root); err == nil && st.IsDir() {
			present = append(present, root)
		}
	}
	if len(present) < 2 {
		t.Fatalf("of %v only %v are here", roots, present)
	}
	r.coffer(append([]string{"backup", "--quiet"}, present...)...)
	target := r.restored()
	for _, root := range present {
		r.same(root, target+root)
	}
}

// git has an opinion of its own on whether a repository is whole.
func TestGitFsck(t *testing.T) {
	r := newRig(t)
	repo := filepath.Join(r.work, "project")
	run := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.Mkdir(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	run(repo, "init", "-q")
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(repo, fmt.Sprint("f", i%7)), bytes.Repeat([]byte(fmt.Sprintln("line", i)), 2000), 0o644); err != nil {
			t.Fatal(err)
		}
		run(repo, "add", ".")
		run(repo, "commit", "-q", "-m", fmt.Sprint(i))
	}
	run(repo, "gc", "-q")
	r.coffer("backup", "--quiet", repo)
	back := filepath.Join(r.restored(), repo)
	run(back, "fsck", "--full", "--strict")
	run(back, "diff", "--exit-code", "HEAD")
}

// tar reads the restored tree as it reads the source: byte for byte the same
// archive.
func TestTarAgrees(t *testing.T) {
	r := newRig(t)
	src := filepath.Join(r.work, "src")
	if out, err := exec.Command("cp", "-a", "/etc", src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.coffer("backup", "--quiet", "--as", "etc="+src)
	tar := func(dir string) []byte {
		t.Helper()
		out, err := exec.Command("tar", "--sort=name", "--xattrs", "--format=pax", "--pax-option=delete=atime,delete=ctime",
			"-C", dir, "-cf", "-", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !bytes.Equal(tar(src), tar(filepath.Join(r.restored(), "etc"))) {
		t.Error("the archives differ")
	}
}

// A backup of "/" has an entry for "/" itself, which no listing can hold. The
// tree is a small root of its own that the command is moved into.
func TestRootDirectoryComesBackExactly(t *testing.T) {
	r := newRig(t)
	root := filepath.Join(r.work, "root")
	for _, d := range []string{"etc", "home/a"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("jail\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", r.bin, filepath.Join(r.work, "key"), root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Chown(root, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o710); err != nil {
		t.Fatal(err)
	}
	static := exec.Command("go", "build", "-o", filepath.Join(root, "coffer"), "coffer/cmd/coffer")
	static.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := static.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	jailed := func(args ...string) {
		t.Helper()
		cmd := exec.Command("/coffer", args...)
		cmd.Env = []string{"COFFER_REPOSITORY=/repo", "COFFER_KEY_FILE=/key", "COFFER_CACHE_DIR=/repo-cache"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("coffer %v: %v\n%s", args, err, out)
		}
	}
	jailed("init", "--quiet")
	jailed("backup", "--quiet", "--host", "jail", "--exclude", "/repo", "--exclude", "/repo-cache", "--exclude", "/coffer", "/")
	if err := os.Rename(filepath.Join(root, "repo"), filepath.Join(r.work, "moved")); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(r.work, "back")
	r.coffer("restore", "latest", "--target", target, "--quiet", "--repo", filepath.Join(r.work, "moved"))
	var a, b syscall.Stat_t
	if err := errors.Join(syscall.Lstat(root, &a), syscall.Lstat(target, &b)); err != nil {
		t.Fatal(err)
	}
	if b.Uid != 4711 || b.Gid != 4712 || b.Mode != a.Mode {
		t.Errorf("the restored root is %d:%d %o", b.Uid, b.Gid, b.Mode)
	}
	r.same(filepath.Join(root, "etc"), filepath.Join(target, "etc"))
}
