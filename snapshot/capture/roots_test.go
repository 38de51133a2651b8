package capture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/snapshot"
)

func TestMissingRoot(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.opt.Roots = append(r.opt.Roots, Root{Path: filepath.Join(r.dir, "nowhere"), At: "/other"})
	rep := r.run()
	if rep.Snapshot.State != snapshot.Incomplete || rep.Snapshot.Sources[1].Error == "" {
		t.Errorf("%+v", rep.Snapshot.Sources)
	}
	if r.content(rep.Snapshot.Manifest)["/top/a"] != "alpha" {
		t.Error("the other root was not saved")
	}
}

func TestAllRootsMissing(t *testing.T) {
	r := newRig(t)
	r.opt.Roots = []Root{{Path: filepath.Join(r.dir, "nowhere")}}
	if _, err := Run(context.Background(), r.s, r.opt); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
	if commits, err := r.s.Commits(context.Background()); err != nil || len(commits) != 0 {
		t.Errorf("%d commits, %v", len(commits), err)
	}
}

func TestRootsWithinEachOtherAreRefused(t *testing.T) {
	r := newRig(t)
	r.write("a/b", "x")
	r.opt.Roots = []Root{{Path: r.dir}, {Path: filepath.Join(r.dir, "a")}}
	if _, err := Run(context.Background(), r.s, r.opt); !errors.Is(err, ErrOptions) {
		t.Errorf("%v", err)
	}
}

func TestRootsKeepTheirAncestors(t *testing.T) {
	r := newRig(t)
	r.write("a/b/c", "x")
	if err := os.Chmod(filepath.Join(r.dir, "a"), 0o711); err != nil {
		t.Fatal(err)
	}
	r.opt.Roots = []Root{{Path: filepath.Join(r.dir, "a/b")}}
	rep := r.run()
	if err := r.s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	e, err := snapshot.Resolve(context.Background(), r.s, rep.Snapshot.Root, filepath.Join(r.dir, "a"))
	if err != nil || e.Mode != 0o711 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestSymlinkRoot(t *testing.T) {
	r := newRig(t)
	r.write("real/a", "alpha")
	link := filepath.Join(r.dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	r.opt.Roots = []Root{{Path: link, At: "/l"}}
	rep := r.run()
	if got := r.content(rep.Snapshot.Manifest); got["/l"] != "type 3 real" || rep.Snapshot.Warned != 1 {
		t.Errorf("%v, %d warnings", got, rep.Snapshot.Warned)
	}
	r.opt.Roots[0].Follow = true
	if got := r.content(r.run().Snapshot.Manifest); got["/l/a"] != "alpha" {
		t.Errorf("%v", got)
	}
}
