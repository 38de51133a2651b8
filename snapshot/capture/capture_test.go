package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/source"
	"coffer/store"
)

// A rig is a repository in memory and a directory to back up.
type rig struct {
	t   *testing.T
	s   *store.Store
	dir string
	opt Options
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx := context.Background()
	b := mem.New()
	secret := seal.Secret{Kind: seal.KeyFile, Value: []byte("k")}
	env := store.Env{Now: time.Now}
	if _, err := store.Init(ctx, b, env, store.InitOptions{Secret: secret}); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, b, env, secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, s: s, dir: t.TempDir()}
	r.opt = Options{Host: "h", Roots: []Root{{Path: r.dir, At: "/top"}}, Readers: 4}
	return r
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	p := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// settle makes what was written old enough to be believed unchanged.
func (r *rig) settle() { time.Sleep(3 * tickSlack) }

func (r *rig) run() Report {
	r.t.Helper()
	rep, err := Run(context.Background(), r.s, r.opt)
	if err != nil {
		r.t.Fatalf("capture: %v", err)
	}
	return rep
}

// content returns what a snapshot has at each path below /top: the type, and
// for files what is in them.
func (r *rig) content(m snapshot.Manifest) map[string]string {
	r.t.Helper()
	ctx := context.Background()
	if err := r.s.Refresh(ctx); err != nil {
		r.t.Fatal(err)
	}
	got := map[string]string{}
	err := snapshot.Walk(ctx, r.s, m.Root, "/", func(p string, e *snapshot.Entry) error {
		if e.Type != snapshot.File {
			got[p] = fmt.Sprintf("type %d %s", e.Type, e.Target)
			return nil
		}
		var b bytes.Buffer
		for ref, err := range snapshot.Refs(ctx, r.s, e) {
			if err != nil {
				return err
			}
			data, err := r.s.Load(ctx, chunk.Data, ref.ID)
			if err != nil {
				return err
			}
			b.Write(data)
		}
		got[p] = b.String()
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func TestCaptureAndAgain(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.write("d/b", "beta")
	r.write("d/empty", "")
	r.write("big", strings.Repeat("0123456789abcdef", 1<<17))
	r.settle()
	first := r.run()
	if first.New != 4 || first.Snapshot.State != snapshot.Complete || first.Snapshot.Files != 4 || first.Snapshot.Bytes != 9+2<<20 {
		t.Errorf("first: %+v", first)
	}
	got := r.content(first.Snapshot.Manifest)
	for p, want := range map[string]string{"/top/a": "alpha", "/top/d/b": "beta", "/top/d/empty": "", "/top/big": strings.Repeat("0123456789abcdef", 1<<17)} {
		if got[p] != want {
			t.Errorf("%s: %d bytes, want %d", p, len(got[p]), len(want))
		}
	}
	second := r.run()
	m := second.Snapshot.Manifest
	if second.Unmodified != 4 || second.New+second.Changed != 0 || m.NewBytes != 0 || m.Root != first.Snapshot.Root {
		t.Errorf("second: %+v", second)
	}
	if m.Sequence != 2 || m.Parent != first.Snapshot.ID {
		t.Errorf("second has sequence %d and parent %s", m.Sequence, m.Parent)
	}
}

func TestChangesAreSeen(t *testing.T) {
	for name, change := range map[string]func(r *rig, p string) error{
		"content, same size, same mtime": func(r *rig, p string) error {
			st, err := os.Stat(p)
			if err == nil {
				err = os.WriteFile(p, []byte("ALPHA"), 0o644)
			}
			if err != nil {
				return err
			}
			return os.Chtimes(p, time.Time{}, st.ModTime())
		},
		"replaced": func(r *rig, p string) error {
			if err := os.WriteFile(p+".new", []byte("ALPHA"), 0o644); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.write("a", "alpha")
			r.write("b", "beta")
			r.settle()
			r.run()
			if err := change(r, filepath.Join(r.dir, "a")); err != nil {
				t.Fatal(err)
			}
			rep := r.run()
			if rep.Changed != 1 || rep.Unmodified != 1 {
				t.Errorf("%+v", rep)
			}
			if got := r.content(rep.Snapshot.Manifest)["/top/a"]; got != "ALPHA" {
				t.Errorf("a holds %q", got)
			}
		})
	}
}

// A file written while the parent was made may change again within the same
// tick of the clock, and must be read again.
func TestYoungFilesAreNotTrusted(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha") // not settled
	r.run()
	if rep := r.run(); rep.Changed != 1 || rep.Unmodified != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestForceReadsEverything(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.settle()
	r.run()
	r.opt.Force = true
	if rep := r.run(); rep.Changed != 1 || rep.Snapshot.NewBytes > 1000 {
		t.Errorf("%+v", rep)
	}
}

func TestOtherNameIsNoParent(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.settle()
	r.run()
	r.opt.Name = "other"
	if rep := r.run(); rep.New != 1 || rep.Parent != "" || rep.Snapshot.Sequence != 1 {
		t.Errorf("%+v", rep)
	}
}

func TestHardLinksShareTheirContent(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	for i := range 20 {
		if err := os.MkdirAll(filepath.Join(r.dir, fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(r.dir, "a"), filepath.Join(r.dir, fmt.Sprint(i), "b")); err != nil {
			t.Fatal(err)
		}
	}
	rep := r.run()
	groups := map[snapshot.LinkGroup]int{}
	if err := r.s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := snapshot.Walk(context.Background(), r.s, rep.Snapshot.Root, "/top", func(p string, e *snapshot.Entry) error {
		if e.Type == snapshot.File {
			groups[e.LinkGroup]++
			if e.Links != 21 || len(e.Content) != 1 {
				t.Errorf("%s: %+v", p, e)
			}
		}
		return nil
	})
	if err != nil || len(groups) != 1 {
		t.Errorf("%v, groups %v", err, groups)
	}
}

func TestLargeDirectory(t *testing.T) {
	r := newRig(t)
	const n = 5000
	for i := range n {
		r.write(fmt.Sprintf("many/%05d", i), fmt.Sprint(i))
	}
	r.settle()
	rep := r.run()
	got := r.content(rep.Snapshot.Manifest)
	for i := range n {
		if got[fmt.Sprintf("/top/many/%05d", i)] != fmt.Sprint(i) {
			t.Fatalf("file %d holds %q", i, got[fmt.Sprintf("/top/many/%05d", i)])
		}
	}
	again := r.run()
	if again.Unmodified != n || again.Snapshot.Root != rep.Snapshot.Root {
		t.Errorf("%+v", again)
	}
}

// A file that vanishes after its directory was listed is an item that is
// missing, and so is one that keeps changing while it is read.
func TestVanishedItem(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.write("z", "zeta")
	r.opt.Readers = 1
	r.opt.Event = func(ev Event) {
		if strings.HasSuffix(ev.Path, "/a") {
			_ = os.Remove(filepath.Join(r.dir, "z"))
		}
	}
	rep := r.run()
	m := rep.Snapshot.Manifest
	if m.State != snapshot.WithErrors || m.Errors != 1 || !strings.HasSuffix(m.Warnings[0].Path, "/z") {
		t.Errorf("%+v", m)
	}
	if got := r.content(m); got["/top/a"] != "alpha" {
		t.Errorf("%v", got)
	}
}

func TestGrowingFile(t *testing.T) {
	r := newRig(t)
	big := strings.Repeat("0123456789abcdef", 1<<18)
	r.write("log", big)
	r.opt.Readers = 1
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress {
			f, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("more")
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	m := r.run().Snapshot.Manifest
	if m.State != snapshot.WithErrors || !strings.Contains(m.Warnings[0].Text, "changed while it was read") {
		t.Errorf("%+v", m.Warnings)
	}
	if got := r.content(m)["/top/log"]; !strings.HasPrefix(got, big) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestShrinkingFile(t *testing.T) {
	r := newRig(t)
	r.write("log", strings.Repeat("0123456789abcdef", 1<<18))
	r.opt.Readers = 1
	size := int64(4 << 20)
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress {
			size -= 600 << 10
			if err := os.Truncate(filepath.Join(r.dir, "log"), max(size, 0)); err != nil {
				t.Error(err)
			}
		}
	}
	m := r.run().Snapshot.Manifest
	if m.State != snapshot.WithErrors {
		t.Errorf("%+v", m)
	}
	if got := r.content(m)["/top/log"]; !strings.HasPrefix(strings.Repeat("0123456789abcdef", 1<<18), got) {
		t.Errorf("%d bytes that were never in it", len(got))
	}
}

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

// A file that was too young to be trusted is read again; if it is the same, the
// snapshot is.
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

// What was read of a file that was being read when the run was cut off is not
// stored twice.
func TestInterruptedInOneFile(t *testing.T) {
	r := newRig(t)
	data := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	r.write("big", string(data))
	r.settle()
	ctx, cancel := context.WithCancel(context.Background())
	var seen atomic.Int64
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress && seen.Add(ev.Bytes) > 12<<20 {
			cancel()
		}
	}
	if rep, err := Run(ctx, r.s, r.opt); !errors.Is(err, context.Canceled) || rep.Snapshot.ID == "" {
		t.Fatalf("%v, %+v", err, rep)
	}
	r.opt.Event = nil
	if m := r.run().Snapshot.Manifest; m.NewBytes > 14<<20 || m.State != snapshot.Complete {
		t.Errorf("%d bytes were stored again", m.NewBytes)
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

// Checkpoints come while several workers are busy; the final snapshot has
// everything, and so does what the checkpoints saved, each as far as it goes.
func TestCheckpoints(t *testing.T) {
	r := newRig(t)
	want := map[string]string{}
	for i := range 3000 {
		name := fmt.Sprintf("d%d/e%d/f%04d", i%7, i%13, i)
		r.write(name, fmt.Sprint("content ", i))
		want["/top/"+name] = fmt.Sprint("content ", i)
	}
	r.opt.Checkpoint = 8 * time.Millisecond
	r.settle()
	rep := r.run()
	got := r.content(rep.Snapshot.Manifest)
	for p, w := range want {
		if got[p] != w {
			t.Fatalf("%s holds %q", p, got[p])
		}
	}
	commits, err := r.s.Commits(context.Background())
	if err != nil || len(commits) < 2 {
		t.Fatalf("%d commits, %v: no checkpoint was made", len(commits), err)
	}
	all, err := decodeAll(commits)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for p, w := range r.content(s.Manifest) {
			if _, file := want[p]; file && w != want[p] {
				t.Fatalf("checkpoint %s: %s holds %q", s.ID, p, w)
			}
		}
	}
	if again := r.run(); again.Unmodified != 3000 {
		t.Errorf("after checkpoints: %+v", again)
	}
}

func TestInterruptedRunIsResumed(t *testing.T) {
	r := newRig(t)
	for i := range 2000 {
		r.write(fmt.Sprintf("d%d/f%04d", i%7, i), fmt.Sprint("content ", i))
	}
	r.settle()
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan struct{}, 10000)
	r.opt.Event = func(ev Event) {
		seen <- struct{}{}
		if len(seen) == 1000 {
			cancel()
		}
	}
	rep, err := Run(ctx, r.s, r.opt)
	if !errors.Is(err, context.Canceled) || rep.Snapshot.ID == "" || rep.Snapshot.State != snapshot.Incomplete {
		t.Fatalf("%v, %+v", err, rep.Snapshot)
	}
	r.opt.Event = nil
	rep = r.run()
	if rep.Unmodified < 500 || rep.Unmodified+rep.New+rep.Changed != 2000 || rep.Snapshot.State != snapshot.Complete {
		t.Errorf("%+v", rep)
	}
	if got := r.content(rep.Snapshot.Manifest); got["/top/d3/f1067"] != "content 1067" {
		t.Errorf("%q", got["/top/d3/f1067"])
	}
}
