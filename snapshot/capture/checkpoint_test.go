package capture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"coffer/snapshot"
)

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
	all, err := decoded(commits)
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
