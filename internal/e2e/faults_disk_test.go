package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// on returns a rig like this one whose repository and cache are in dir.
func (r *rig) on(dir string) *rig {
	r.t.Helper()
	key, err := os.ReadFile(filepath.Join(r.work, "key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "key"), key, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	other := &rig{t: r.t, bin: r.bin, work: dir}
	other.coffer("init", "--quiet")
	run(r.t, "sync", "-f", dir)
	return other
}

// fails runs the command, which must fail and say what is wanted.
func (r *rig) fails(want string, args ...string) {
	r.t.Helper()
	out, err := r.command(args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "panic") {
		r.t.Errorf("coffer %s: %v; want %q in:\n%s", strings.Join(args, " "), err, want, out)
	}
}

// A disk is a small file system of its own.
type disk struct{ image, at, options string }

func newDisk(t *testing.T, kind string, mib int) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{filepath.Join(dir, "image"), filepath.Join(dir, "mnt"), "loop"}
	if err := os.Mkdir(d.at, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(d.at, syscall.MNT_DETACH) }) // it may not be mounted
	if kind == "tmpfs" {
		run(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", d.at)
		return d
	}
	run(t, "truncate", "-s", fmt.Sprint(mib, "M"), d.image)
	run(t, "mkfs."+kind, "-q", "-m", "0", "-F", d.image)
	d.options += ",errors=remount-ro"
	run(t, "mount", "-o", d.options, d.image, d.at)
	return d
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// random writes n bytes that nothing compresses.
func random(t *testing.T, path string, n int) {
	t.Helper()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	f, err := os.Create(path)
	if err == nil {
		_, err = io.CopyN(f, rand.NewChaCha8(seed), int64(n))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Fault 23: the disk of the repository and of the cache is full, to the last byte
// or nearly. A backup fails and leaves nothing half; forget and prune work, out
// of the reserve, and make room in which the next backup fits.
func TestFaultsFullDisk(t *testing.T) {
	kinds, leaves := []string{"tmpfs", "ext4"}, []int{0, 20_000, 300_000}
	if testing.Short() {
		kinds, leaves = kinds[:1], leaves[:1]
	}
	base := newRig(t)
	for _, kind := range kinds {
		for _, leave := range leaves {
			t.Run(fmt.Sprint(kind, " ", leave), func(t *testing.T) {
				d := newDisk(t, kind, 32)
				r := (&rig{t: t, bin: base.bin, work: base.work}).on(d.at)
				tree, back := t.TempDir(), filepath.Join(t.TempDir(), "back")
				var ids []string
				for i := range 5 {
					random(t, filepath.Join(tree, fmt.Sprint("f", i%2)), 2_500_000)
					random(t, filepath.Join(tree, fmt.Sprint("small", i)), 100_000)
					id, err := snapshotID(r.coffer("backup", "--json", tree))
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, id)
				}
				r.coffer("prune", "--quiet") // makes the reserve
				last := t.TempDir()
				run(t, "cp", "-a", tree+"/.", last)
				run(t, "sh", "-c", "cd "+d.at+" && head -c "+fmt.Sprint(leave)+" /dev/zero > spare; cat /dev/zero > filler; rm -f spare; [ -s filler ]")
				random(t, filepath.Join(tree, "f1"), 2_500_000)
				r.fails("is full; no snapshot was made", "backup", "--quiet", tree)
				r.coffer("verify", "--quiet", "--read-data")
				r.coffer("forget", "--quiet", ids[0], ids[1], ids[2])
				r.coffer("prune", "--quiet")
				r.coffer("backup", "--quiet", tree)
				r.coffer("restore", "--quiet", "--target", back, ids[4]+":"+tree)
				r.same(last, back)
				if out := r.coffer("snapshots", "--json"); strings.Count(out, `"id"`) < 3 || strings.Contains(out, ids[0]) {
					t.Errorf("%s", out)
				}
				r.coffer("forget", "--quiet", "--keep-last", "1")
				r.coffer("prune", "--quiet")
				r.coffer("backup", "--quiet", tree)
				r.coffer("verify", "--quiet", "--read-data")
			})
		}
	}
}

// A slow backup reads standard input until it is told to end.
type slow struct {
	cmd  *exec.Cmd
	feed io.WriteCloser
	text strings.Builder
}

// begin starts a backup of a host and returns when its session is registered.
func (r *rig) begin(host string) *slow {
	r.t.Helper()
	s := &slow{cmd: r.command("backup", "--quiet", "--stdin", "dump", "--host", host)}
	s.cmd.Stdout, s.cmd.Stderr = &s.text, &s.text
	var err error
	if s.feed, err = s.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	before := r.sessions()
	if err := s.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be over
		_ = s.cmd.Wait()
	})
	r.until("the backup has begun", func() bool { return r.sessions() > before })
	return s
}

func (r *rig) sessions() int {
	list, err := filepath.Glob(filepath.Join(r.work, "repo/sessions/*/*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(list)
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not in 20 seconds: %s", what)
		}
	}
}

// write feeds the backup.
func (s *slow) write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(s.feed, text); err != nil {
		t.Fatal(err)
	}
}

// end lets the backup come to its end.
func (s *slow) end() error {
	return errors.Join(s.feed.Close(), s.cmd.Wait())
}

// Fault 26: the disk of the repository becomes read-only, as ext4 does after an
// error, in the middle of a backup and of a prune that waits for it. Both say so;
// when the disk is back, all is well.
func TestFaultsReadOnlyDisk(t *testing.T) {
	d := newDisk(t, "ext4", 64)
	r := newRig(t).on(d.at)
	tree, back := t.TempDir(), filepath.Join(t.TempDir(), "back")
	random(t, filepath.Join(tree, "a"), 2_000_000)
	gone, err := snapshotID(r.coffer("backup", "--json", tree))
	if err != nil {
		t.Fatal(err)
	}
	random(t, filepath.Join(tree, "a"), 2_000_000)
	r.coffer("backup", "--quiet", tree)
	s := r.begin("slow")
	s.write(t, strings.Repeat("some of the dump\n", 100_000))
	r.coffer("forget", "--quiet", gone)
	p := r.command("prune", "--wait", "1m")
	var said strings.Builder
	p.Stdout, p.Stderr = &said, &said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	r.until("the prune waits", func() bool {
		list, _ := filepath.Glob(filepath.Join(d.at, "repo/generations/0000000001"))
		return len(list) > 0
	})
	run(t, "mount", "-o", "remount,abort", d.at)
	if err := s.end(); err == nil || !strings.Contains(s.text.String(), "mounted for reading only") {
		t.Errorf("the backup ends with %v: %s", err, &s.text)
	}
	if err := p.Wait(); err == nil || !strings.Contains(said.String(), "mounted for reading only") {
		t.Errorf("the prune ends with %v: %s", err, &said)
	}
	r.fails("mounted for reading only", "backup", "--quiet", tree)
	run(t, "umount", d.at)
	run(t, "sh", "-c", "e2fsck -fp "+d.image+" >/dev/null; [ $? -lt 4 ]")
	run(t, "mount", "-o", d.options, d.image, d.at)
	r.coffer("verify", "--quiet", "--read-data")
	r.coffer("backup", "--quiet", tree)
	r.coffer("prune", "--quiet")
	r.coffer("verify", "--quiet", "--read-data")
	r.coffer("restore", "--quiet", "--target", back, "latest:"+tree)
	r.same(tree, back)
	if out := r.coffer("prune"); !strings.Contains(out, "nothing to remove") {
		t.Errorf("%s", out)
	}
	r.fails("no snapshot", "ls", gone)
}

// Fault 23: the disk is full, and no pack is dead: about half of each is needed.
// The reserve has room for what lives in one of them, and that is a beginning.
func TestFaultsFullDiskHalfAlive(t *testing.T) {
	d := newDisk(t, "tmpfs", 140)
	r := newRig(t).on(d.at)
	tree, back := t.TempDir(), filepath.Join(t.TempDir(), "back")
	for i := range 100 {
		random(t, filepath.Join(tree, fmt.Sprintf("f%03d", i)), 1_000_000)
	}
	r.coffer("backup", "--quiet", tree)
	for i := range 50 {
		if err := os.Remove(filepath.Join(tree, fmt.Sprintf("f%03d", 2*i))); err != nil {
			t.Fatal(err)
		}
	}
	r.coffer("backup", "--quiet", tree)
	run(t, "sh", "-c", "cat /dev/zero > "+d.at+"/filler; [ -s "+d.at+"/filler ]")
	r.coffer("forget", "--quiet", "--keep-last", "1")
	r.coffer("prune", "--quiet")
	random(t, filepath.Join(tree, "new"), 20_000_000)
	r.coffer("backup", "--quiet", tree)
	r.coffer("restore", "--quiet", "--target", back, "latest:"+tree)
	r.same(tree, back)
	r.coffer("verify", "--quiet", "--read-data")
}
