package capture

import (
	"bytes"
	"context"
	"fmt"
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

// A file that was too young to be trusted is read again; if it is the same, the

// snapshot is.

// What was read of a file that was being read when the run was cut off is not

// stored twice.

// Checkpoints come while several workers are busy; the final snapshot has

// everything, and so does what the checkpoints saved, each as far as it goes.

// A large file with many names is read once.
func TestLargeHardLinksAreReadOnce(t *testing.T) {
	r := newRig(t)
	r.write("a", strings.Repeat("0123456789abcdef", 1<<17))
	for i := range 5 {
		if err := os.Link(filepath.Join(r.dir, "a"), filepath.Join(r.dir, fmt.Sprint("b", i))); err != nil {
			t.Fatal(err)
		}
	}
	var read atomic.Int64
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress {
			read.Add(ev.Bytes)
		}
	}
	got := r.content(r.run().Snapshot.Manifest)
	if read.Load() != 2<<20 {
		t.Errorf("%d bytes were read of a file of 2 MiB", read.Load())
	}
	for i := range 5 {
		if len(got[fmt.Sprint("/top/b", i)]) != 2<<20 {
			t.Errorf("b%d has %d bytes", i, len(got[fmt.Sprint("/top/b", i)]))
		}
	}
}
