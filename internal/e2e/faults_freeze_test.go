package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Fault 15: a restore stands still in the middle while its snapshot is forgotten
// and pruned, time and again. It finishes, and what it wrote is right; then the
// snapshot is gone.
func TestFaultsRestoreOfWhatIsPruned(t *testing.T) {
	r := newRig(t)
	tree, back := filepath.Join(r.work, "tree"), filepath.Join(r.work, "back")
	files := 3000
	if testing.Short() {
		files = 800
	}
	for i := range files {
		dir := filepath.Join(tree, fmt.Sprint("d", i%30))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		random(t, filepath.Join(dir, fmt.Sprint("f", i)), 2000+i*7)
	}
	id, err := snapshotID(r.coffer("backup", "--json", tree))
	if err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", filepath.Join(tree, "d7"), filepath.Join(r.work, "other"))
	r.coffer("backup", "--quiet", filepath.Join(r.work, "other"))
	cmd := r.command("restore", "--quiet", "--target", back, id+":"+tree)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it is over
	r.until("some files are restored", func() bool {
		list, _ := filepath.Glob(filepath.Join(back, "*/f*"))
		return len(list) > 20
	})
	stop(t, cmd)
	some := countFiles(t, back)
	r.coffer("forget", "--quiet", id)
	for range 3 {
		if out := r.coffer("prune", "--wait", "100ms"); !strings.Contains(out, "a reader on ") {
			t.Errorf("the prune does not say for whom it waits: %s", out)
		}
	}
	resume(t, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("restore: %v: %s", err, &said)
	}
	if n := countFiles(t, back); n != files || some > files-100 {
		t.Errorf("%d files, %d before the prune", n, some)
	}
	r.same(tree, back)
	r.coffer("prune", "--quiet")
	r.fails("no snapshot", "ls", id)
	r.coffer("verify", "--quiet", "--read-data")
	if out := r.coffer("prune"); !strings.Contains(out, "nothing to remove") {
		t.Errorf("%s", out)
	}
}

func countFiles(t *testing.T, dir string) int {
	t.Helper()
	got, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(got)
}

// stop stops a process as a debugger or a machine that goes to sleep does.
func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		return rest[:1]
	}
	for end := time.Now().Add(10 * time.Second); state() != "T"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the process does not stop: %s", state())
		}
	}
}

func resume(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// Faults 10, 12, 30: a backup stands still while all that it may build on is
// forgotten and prunes run, and goes on. On one machine the prunes know that it
// lives: it succeeds, whole. One that is killed while it stands still is taken
// for dead, and leaves nothing.
func TestFaultsFrozenBackup(t *testing.T) {
	r := newRig(t)
	dump := strings.Repeat("the same dump, again and again\n", 20_000)
	before := r.begin("slow")
	before.write(t, dump)
	if err := before.end(); err != nil {
		t.Fatalf("%v: %s", err, &before.text)
	}
	for _, kill := range []bool{false, true} {
		s := r.begin("slow")
		s.write(t, dump[:len(dump)/2])
		stop(t, s.cmd)
		r.coffer("forget", "--quiet", "--yes", "--all", "--host", "slow")
		for range 3 {
			if out := r.coffer("prune", "--wait", "50ms"); !strings.Contains(out, "a backup or other writer on ") {
				t.Errorf("the prune does not say for whom it waits: %s", out)
			}
		}
		if kill {
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = s.cmd.Wait() // killed
			r.coffer("prune", "--quiet")
			break
		}
		resume(t, s.cmd)
		s.write(t, dump[len(dump)/2:])
		if err := s.end(); err != nil {
			t.Fatalf("%v: %s", err, &s.text)
		}
		if got := r.coffer("cat", "latest:/dump"); got != dump {
			t.Errorf("the dump has %d bytes of %d", len(got), len(dump))
		}
		r.coffer("prune", "--quiet")
		if got := r.coffer("cat", "latest:/dump"); got != dump {
			t.Errorf("after the prune the dump has %d bytes of %d", len(got), len(dump))
		}
	}
	r.coffer("prune", "--quiet")
	r.coffer("verify", "--quiet", "--read-data")
	if list, err := filepath.Glob(filepath.Join(r.work, "repo/packs/*/*")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	again := r.begin("slow")
	again.write(t, dump)
	if err := again.end(); err != nil || r.coffer("cat", "latest:/dump") != dump {
		t.Errorf("the next backup: %v: %s", err, &again.text)
	}
}

// Faults 9, 12: a backup ends while a prune still waits for another one, and what
// it relies on is condemned. From then on its snapshot can be read and checked, and
// the next backup builds on it: nobody has to wait for the other one.
func TestFaultsSnapshotWhilePruneWaits(t *testing.T) {
	r := newRig(t)
	dump := strings.Repeat("the same dump, again and again\n", 20_000)
	first := r.begin("slow")
	first.write(t, dump)
	if err := first.end(); err != nil {
		t.Fatalf("%v: %s", err, &first.text)
	}
	long, s := r.begin("long"), r.begin("slow")
	r.coffer("forget", "--quiet", "--yes", "--all", "--host", "slow")
	r.coffer("prune", "--wait", "50ms")
	s.write(t, dump)
	if err := s.end(); err != nil {
		t.Fatalf("%v: %s", err, &s.text)
	}
	reads := func(when string) {
		t.Helper()
		if got, err := r.command("cat", "--host", "slow", "latest:/dump").CombinedOutput(); string(got) != dump {
			t.Errorf("%s: cat: %v: %.300s", when, err, got)
		}
		if got, err := r.command("verify", "--read-data").CombinedOutput(); err != nil {
			t.Errorf("%s: verify: %v: %.900s", when, err, got)
		}
	}
	reads("while the prune waits")
	next := r.begin("slow")
	next.write(t, dump)
	if err := next.end(); err != nil {
		t.Errorf("the next backup: %v: %s", err, &next.text)
	}
	reads("after the next backup")
	if err := long.end(); err != nil {
		t.Fatalf("%v: %s", err, &long.text)
	}
	r.coffer("prune", "--quiet")
	reads("after the prune")
}
