package capture

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
	"coffer/bucket/mem"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/store"
)

var faultSecret = seal.Secret{Kind: seal.KeyFile, Value: []byte("k")}

// faultTree writes a tree whose backup makes every kind of call: several packs,
// a file of several chunks, directories.
func faultTree(r *rig) map[string]string {
	want := map[string]string{}
	for i := range 12 {
		name := fmt.Sprintf("d%d/f%d", i%3, i)
		want["/top/"+name] = strings.Repeat(fmt.Sprint("content ", i, " "), 200)
		r.write(name, want["/top/"+name])
	}
	want["/top/big"] = strings.Repeat("0123456789abcdef", 1<<17)
	r.write("big", want["/top/big"])
	r.settle()
	return want
}

// holds checks that every complete snapshot in b has exactly what want says,
// and returns their number.
func holds(t *testing.T, r *rig, b bucket.Bucket, want map[string]string) int {
	t.Helper()
	s, err := store.Open(context.Background(), b, store.Env{}, faultSecret)
	if err != nil {
		t.Fatalf("open afterwards: %v", err)
	}
	r.s = s
	commits, err := s.Commits(context.Background())
	if err != nil {
		t.Fatalf("list afterwards: %v", err)
	}
	all, err := decoded(commits)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, snap := range all {
		if snap.State == snapshot.Incomplete {
			continue
		}
		n++
		got := r.content(snap.Manifest)
		for p, w := range want {
			if got[p] != w {
				t.Fatalf("snapshot %s: %s has %d bytes of %d", snap.ID, p, len(got[p]), len(w))
			}
		}
	}
	return n
}

func emptyRepository(t *testing.T, b bucket.Bucket) {
	t.Helper()
	if _, err := store.Init(context.Background(), b, store.Env{}, store.InitOptions{Secret: faultSecret}); err != nil {
		t.Fatal(err)
	}
}

// Every call of a backup fails once, before it had an effect, after it, or for
// ever. An acknowledged backup is there whole; one that failed is there whole
// or not at all; the next one works.
func TestBackupFaultLoop(t *testing.T) {
	for _, fault := range []buckettest.Fault{buckettest.FailBefore, buckettest.FailAfter, buckettest.CrashBefore, buckettest.CrashAfter} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			r := newRig(t)
			want := faultTree(r)
			for call := 0; ; call++ {
				if !backupWithFault(t, r, want, buckettest.Rule{Call: call, Fault: fault, Err: buckettest.ErrInjected}) {
					if call < 10 {
						t.Fatalf("only %d calls were made", call)
					}
					return
				}
			}
		})
	}
}

// backupWithFault reports whether the fault happened.
func backupWithFault(t *testing.T, r *rig, want map[string]string, rule buckettest.Rule) bool {
	t.Helper()
	b := mem.New()
	emptyRepository(t, b)
	faults := buckettest.NewFaults(rule)
	acknowledged := false
	s, err := store.Open(context.Background(), faults.Wrap(b), store.Env{}, faultSecret)
	if err == nil {
		_, err = Run(context.Background(), s, r.opt)
		acknowledged = err == nil
	}
	n := holds(t, r, b, want)
	if acknowledged && n != 1 {
		t.Fatalf("%+v: success was reported and %d snapshots are there", rule, n)
	}
	if n > 1 {
		t.Fatalf("%+v: %d snapshots of one run", rule, n)
	}
	if _, err := Run(context.Background(), r.s, r.opt); err != nil {
		t.Fatalf("%+v: the next backup: %v", rule, err)
	}
	if again := holds(t, r, b, want); again != n+1 {
		t.Fatalf("%+v: %d snapshots after the next backup, %d before", rule, again, n)
	}
	return faults.Fired() > 0
}

// The power goes at every call to the file system of the repository's disk. What
// was acknowledged before is there afterwards.
func TestBackupPowerCut(t *testing.T) {
	r := newRig(t)
	want := faultTree(r)
	for n := 0; ; n++ {
		disk := crashfs.New()
		b, err := local.CreateFS(disk, "/repo")
		if err != nil {
			t.Fatal(err)
		}
		emptyRepository(t, b)
		acknowledged := 0
		disk.Hook(crashfs.FailAt(disk.Calls()+n, crashfs.ErrPowerOff))
		s, err := store.Open(context.Background(), b, store.Env{}, faultSecret)
		if err == nil {
			if _, err = Run(context.Background(), s, r.opt); err == nil {
				acknowledged = 1
			}
		}
		for _, keep := range []crashfs.Keep{crashfs.Nothing, crashfs.Everything, crashfs.Some(uint64(n))} {
			after, err := local.OpenFS(disk.Cut(keep), "/repo")
			if err != nil {
				t.Fatalf("call %d: open after the cut: %v", n, err)
			}
			if got := holds(t, r, after, want); got < acknowledged || got > 1 {
				t.Fatalf("call %d: %d snapshots after the cut, %d acknowledged", n, got, acknowledged)
			}
			if _, err := Run(context.Background(), r.s, r.opt); err != nil {
				t.Fatalf("call %d: the next backup: %v", n, err)
			}
		}
		if acknowledged == 1 {
			if n < 30 {
				t.Fatalf("only %d calls were made", n)
			}
			return
		}
	}
}
