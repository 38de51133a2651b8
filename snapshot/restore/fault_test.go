package restore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

func resolve(t *testing.T, mem *snapshottest.Mem, root chunk.ID, at string) *snapshot.Entry {
	t.Helper()
	e, err := snapshot.Resolve(context.Background(), mem, root, at)
	must(t, err)
	return e
}

func TestDamagedChunkIsOneProblem(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	big := strings.Repeat("0123456789", 30_000)
	put(t, src, "good 1\nbad "+big+"\nlink/other 3\nold "+big[1:])
	must(t, os.Link(src+"/bad", src+"/link/bad"))
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	put(t, target, "old version")
	for _, path := range []string{"/src/bad", "/src/old"} {
		mem.Delete(chunk.Data, resolve(t, &mem, root, path).Content[2].ID)
	}
	rep, err := Run(context.Background(), &mem, root, "/src", target, Options{InPlace: true})
	must(t, err)
	if rep.ProblemCount != 3 {
		t.Errorf("problems: %v, want those of bad, link/bad and old", rep.Problems)
	}
	sameTree(t, treeOf(t, target), map[string]string{
		"good": "1", "old": "version", "link": "d---------", "link/other": "3",
	})
}

// A storeWithEIO fails as a disk of the repository would.
type storeWithEIO struct{ *snapshottest.Mem }

func (s storeWithEIO) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return s.Mem.Each(ctx, k, ids, func(i int, data []byte, err error) error {
		if i == 0 {
			return fn(i, nil, fmt.Errorf("read pack: %w", unix.EIO))
		}
		return fn(i, data, err)
	})
}

// An I/O error of the repository is not one of the target.
func TestUnreadablePackDoesNotEndTheRun(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "a 1\nb 2\nc 3")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	rep, err := Run(context.Background(), storeWithEIO{&mem}, root, "/src", target, Options{})
	if err != nil || rep.ProblemCount != 1 || rep.Files != 2 {
		t.Errorf("error %v, report %+v", err, rep)
	}
}

// An interrupter ends the context at the nth chunk or event.
type interrupter struct {
	*snapshottest.Mem
	left   atomic.Int64
	cancel func()
}

func (s *interrupter) step() {
	if s.left.Add(-1) == 0 {
		s.cancel()
	}
}

func (s *interrupter) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return s.Mem.Each(ctx, k, ids, func(i int, data []byte, err error) error {
		s.step()
		return fn(i, data, err)
	})
}

func TestResumesAfterInterruption(t *testing.T) {
	src, work := buildTorture(t, tmpfs(t, "size=1g"))
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 3 {
		target := fmt.Sprintf("%s/%d", work, round)
		runs := 0
		for more := true; more; runs++ {
			ctx, cancel := context.WithCancel(context.Background())
			s := &interrupter{Mem: &mem, cancel: cancel}
			s.left.Store(r.Int64N(2000) + 1 + int64(runs)*500)
			rep, err := Run(ctx, s, root, "/src", target, Options{Event: func(Event) { s.step() }})
			cancel()
			if rep.ProblemCount > 0 {
				t.Fatalf("problems: %v", rep.Problems)
			}
			if more = errors.Is(err, context.Canceled); !more {
				must(t, err)
			}
			if rep.Resumed != (runs > 0) {
				t.Errorf("run %d: resumed is %v", runs, rep.Resumed)
			}
		}
		t.Logf("round %d: %d runs", round, runs)
		exact(t, src, target)
		noLeftovers(t, target)
	}
}

// What a killed run leaves is removed by the next, and nothing else.
func TestRemovesWhatAKilledRunLeft(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "dir/file 1\n.coffer-partial-mine-1 2")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	s := state{root: root.String(), at: "/src", id: "abcd"}
	must(t, os.WriteFile(target+"/"+markerName, []byte(s.String()), 0o600))
	put(t, target, "dir/.coffer-partial-abcd-XYZ-1 half\n.coffer-partial-mine-2 3\n.coffer-partial-abcd-XYZ-2 x")
	rep := restoreTo(t, &mem, root, "/src", target, Options{})
	if !rep.Resumed {
		t.Error("it was not resumed")
	}
	want := treeOf(t, src)
	want[".coffer-partial-mine-2"] = "3"
	sameTree(t, treeOf(t, target), want)

	// Another snapshot's unfinished restore is not continued.
	s.root = chunk.ID{1}.String()
	must(t, os.WriteFile(target+"/"+markerName, []byte(s.String()), 0o600))
	if _, err := Run(context.Background(), &mem, root, "/src", target, Options{}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("error %v, want ErrNotEmpty", err)
	}
}

// A full disk ends the run with one error, and the run goes on when there is
// room.
func TestFullDisk(t *testing.T) {
	src := t.TempDir()
	for i := range 100 {
		put(t, src, fmt.Sprintf("d%d/f%d %s", i%7, i, strings.Repeat(fmt.Sprint(i), 20_000)))
	}
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	disk := tmpfs(t, "size=2m")
	target := disk + "/target"
	rep, err := Run(context.Background(), &mem, root, "/src", target, Options{})
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("error %v, want ENOSPC", err)
	}
	if rep.ProblemCount > 0 {
		t.Errorf("problems besides the error: %v", rep.Problems)
	}
	t.Log(err)
	for path, content := range treeOf(t, target) {
		if data, err := os.ReadFile(src + "/" + path); err == nil && string(data) != content {
			t.Errorf("%s is torn", path)
		}
		if strings.Contains(path, partialPrefix) {
			t.Errorf("%s takes room", path)
		}
	}
	must(t, unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT, "size=20m"))
	restoreTo(t, &mem, root, "/src", target, Options{})
	exact(t, src, target)
}

func TestNoInodesLeft(t *testing.T) {
	src := t.TempDir()
	for i := range 100 {
		put(t, src, fmt.Sprintf("f%d x\ne%d/", i, i))
		symlink(t, "x", fmt.Sprintf("%s/s%d", src, i))
	}
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	for n := 10; n < 300; n += 37 {
		disk := tmpfs(t, fmt.Sprintf("nr_inodes=%d", n))
		rep, err := Run(context.Background(), &mem, root, "/src", disk, Options{})
		if !errors.Is(err, unix.ENOSPC) || rep.ProblemCount > 0 {
			t.Errorf("with %d inodes: error %v, problems %v", n, err, rep.Problems)
		}
	}
}

// What is not on disk is not done: the marker stays, and running again finishes.
func TestNothingIsDoneBeforeItIsOnDisk(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "a/b 1")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	g := goal{root: root, at: "/src", e: resolve(t, &mem, root, "/src"), target: target}
	r := newRun(storedTree{&mem}, g, Options{})
	r.syncfs = func(int) error { return unix.EIO }
	if err := r.all(context.Background()); !errors.Is(err, unix.EIO) {
		t.Errorf("error %v, want EIO", err)
	}
	if _, err := os.Lstat(target + "/" + markerName); err != nil {
		t.Error("the marker is gone")
	}
	if rep := restoreTo(t, &mem, root, "/src", target, Options{}); !rep.Resumed || rep.Kept == 0 {
		t.Errorf("it did not go on: %+v", rep)
	}
	exactIfRoot(t, src, target)
}

func TestWhatEndsARun(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {unix.EROFS, true}, {unix.EDQUOT, true}, {unix.EIO, true}, {unix.EACCES, false},
		{fmt.Errorf("x: %w", context.Canceled), true}, {fromSource(unix.EIO), false},
		{fromSource(context.Canceled), true}, {fmt.Errorf("x: %w", fromSource(unix.ENOSPC)), false},
	} {
		if fatal(c.err) != c.want {
			t.Errorf("fatal(%v) is not %v", c.err, c.want)
		}
	}
}
