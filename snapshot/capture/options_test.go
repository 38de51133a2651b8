package capture

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"coffer/snapshot"
	"coffer/source"
)

func TestExcludes(t *testing.T) {
	r := newRig(t)
	r.write("keep", "k")
	r.write("skip.o", "s")
	r.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
	r.write("cache/x", "x")
	r.write("large", strings.Repeat("x", 2000))
	r.opt.Patterns = []source.Pattern{{Text: "*.o"}}
	r.opt.SkipTags = []source.Tag{source.CacheTag()}
	r.opt.LargerThan = 1000
	got := r.content(r.run().Snapshot.Manifest)
	for p, want := range map[string]bool{"/top/keep": true, "/top/skip.o": false, "/top/cache/x": false,
		"/top/cache/CACHEDIR.TAG": true, "/top/large": false} {
		if _, ok := got[p]; ok != want {
			t.Errorf("%s in the snapshot: %v", p, ok)
		}
	}
}

func stream(content string, failure error) Stream {
	return Stream{Kind: "command", Spec: "dump", At: "/dump.sql", Open: func(context.Context) (io.Reader, func() error, error) {
		return strings.NewReader(content), func() error { return failure }, nil
	}}
}

func TestStreams(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.opt.Streams = []Stream{stream(strings.Repeat("row\n", 1<<19), nil)}
	rep := r.run()
	if got := r.content(rep.Snapshot.Manifest)["/dump.sql"]; got != strings.Repeat("row\n", 1<<19) || rep.Snapshot.State != snapshot.Complete {
		t.Errorf("%d bytes, state %d", len(got), rep.Snapshot.State)
	}
	r.opt.Streams = []Stream{stream("half", errors.New("exit status 1"))}
	if rep := r.run(); rep.Snapshot.State != snapshot.Incomplete || !strings.Contains(rep.Snapshot.Sources[1].Error, "exit status 1") {
		t.Errorf("%+v", rep.Snapshot)
	}
	r.opt.Roots = nil
	if _, err := Run(context.Background(), r.s, r.opt); !errors.Is(err, ErrNothing) {
		t.Errorf("only a failed command: %v", err)
	}
}

func TestSkipIfUnchanged(t *testing.T) {
	r := newRig(t)
	r.write("d/a", "alpha")
	r.settle()
	first := r.run()
	r.opt.SkipIfUnchanged = true
	if rep := r.run(); !rep.Unchanged || rep.Snapshot.ID != first.Snapshot.ID {
		t.Errorf("%+v", rep)
	}
	r.write("d/a", "omega")
	if rep := r.run(); rep.Unchanged {
		t.Errorf("%+v", rep)
	}
}

func TestSkipIfUnchangedAfterReadingAgain(t *testing.T) {
	r := newRig(t)
	r.write("d/a", "alpha") // not settled
	r.run()
	r.opt.SkipIfUnchanged = true
	if rep := r.run(); !rep.Unchanged || rep.Changed != 1 {
		t.Errorf("%+v", rep)
	}
}

func TestAvoid(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.write("repo/pack", "x")
	r.opt.Avoid = map[string]string{filepath.Join(r.dir, "repo"): "it is the repository"}
	rep := r.run()
	got := r.content(rep.Snapshot.Manifest)
	if _, ok := got["/top/repo"]; !ok || got["/top/repo/pack"] != "" || rep.Snapshot.Warned != 1 || rep.Snapshot.State != snapshot.Complete {
		t.Errorf("%v, %+v", got, rep.Snapshot.Warnings)
	}
}

func TestDryRun(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.opt.DryRun = true
	rep := r.run()
	if rep.New != 1 || rep.Snapshot.ID != "" || rep.Snapshot.NewBytes < 5 {
		t.Errorf("%+v", rep)
	}
	if err := r.s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if commits, err := r.s.Commits(context.Background()); err != nil || len(commits) != 0 {
		t.Errorf("%d commits, %v", len(commits), err)
	}
}
