package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/store"
)

// TestFaultLoop fails the bucket at every call of a small backup in turn, in
// every way that does not lie. Afterwards, on the bucket itself: what was
// acknowledged is there, and what is there is whole.
func TestFaultLoop(t *testing.T) {
	_, base := newRepo(t)
	old := pieces(20, 20)
	mustBackup(t, openRepo(t, base), "old", old)
	list := append(pieces(21, 50), old[:10]...)
	for name, fault := range map[string]buckettest.Fault{
		"before": buckettest.FailBefore, "after": buckettest.FailAfter,
		"crash": buckettest.CrashBefore, // after one call is before the next
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lost := 0
			for call := 0; ; call++ {
				b := copyOf(t, base)
				f := buckettest.NewFaults(buckettest.Rule{Call: call, Fault: fault})
				acked, err := tryBackup(t.Context(), f.Wrap(b), list)
				if f.Fired() == 0 {
					if err != nil {
						t.Errorf("without a fault: %v", err)
					}
					break
				}
				if err != nil {
					lost++
				}
				afterFault(t, b, acked, old, list)
				if t.Failed() {
					t.Fatalf("at call %d; the backup said %v", call, err)
				}
			}
			if lost < 5 {
				t.Errorf("only %d backups failed", lost)
			}
		})
	}
}

// tryBackup opens and backs up as a process does that comes upon a fault.
func tryBackup(ctx context.Context, b bucket.Bucket, list []piece) (acked string, err error) {
	s, err := store.Open(ctx, b, new(logbook).env(), secret)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c, err := backup(ctx, s, "new", list)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// afterFault checks what a backup left that may have failed.
func afterFault(t testing.TB, b bucket.Bucket, acked string, old, list []piece) {
	t.Helper()
	s := openRepo(t, b)
	got := payloads(t, s)
	if acked != "" && got[acked] != "new" {
		t.Errorf("%s was acknowledged and is gone: %v", acked, got)
	}
	if len(got) == 2 {
		checkLoads(t, s, list)
	}
	c := mustBackup(t, s, "next", list)
	fresh := openRepo(t, b)
	if payloads(t, fresh)[c.ID] != "next" || len(payloads(t, fresh)) != len(got)+1 {
		t.Errorf("the next backup: %v", payloads(t, fresh))
	}
	checkLoads(t, fresh, slices.Concat(list, old))
	checkClean(t, fresh)
}

// TestStorageLies: Put says yes and stores nothing, or half, or one bit wrong. A
// backup may believe it; who checks finds out.
func TestStorageLies(t *testing.T) {
	for name, fault := range map[string]buckettest.Fault{
		"absent": buckettest.Absent, "short": buckettest.Short, "flipped": buckettest.Flip,
	} {
		for _, prefix := range []string{"packs/", "index/", "fates/"} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				_, b := newRepo(t)
				f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Prefix: prefix, Fault: fault})
				list := pieces(22, 30)
				acked, err := tryBackup(t.Context(), f.Wrap(b), list)
				if err != nil {
					return
				}
				if noticed(t, b, acked, list) == "" {
					t.Error("nobody notices")
				}
			})
		}
	}
}

// noticed opens and reads everything, and returns how damage showed. Wrong
// bytes are an error of the test.
func noticed(t testing.TB, b bucket.Bucket, commit string, list []piece) string {
	t.Helper()
	s, err := store.Open(t.Context(), b, new(logbook).env(), secret)
	if err != nil {
		return "open: " + err.Error()
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	commits, err := s.Commits(t.Context())
	if err != nil {
		return "commits: " + err.Error()
	}
	found := ""
	if len(commits) != 1 || commits[0].ID != commit {
		found = "the commit is gone"
	}
	for _, p := range list {
		got, err := s.Load(t.Context(), p.kind, p.id())
		if err != nil {
			found = "load: " + err.Error()
		} else if string(got) != string(p.data) {
			t.Fatal("wrong bytes")
		}
	}
	_, err = s.Check(t.Context(), store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { found = d.Error() }})
	if err != nil {
		return "check: " + err.Error()
	}
	return found
}

// TestPackPutFails: whichever pack cannot be written, there is no commit.
func TestPackPutFails(t *testing.T) {
	_, base := newRepo(t)
	list := pieces(23, 60)
	for call := 0; ; call++ {
		b := copyOf(t, base)
		f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Prefix: "packs/", Call: call})
		s := openRepo(t, f.Wrap(b))
		w, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		saved := save(t.Context(), w, list)
		_, err = w.Commit(t.Context(), nil)
		if f.Fired() == 0 {
			if call < 5 || saved != nil || err != nil {
				t.Errorf("only %d packs, or %v, %v", call, saved, err)
			}
			return
		}
		if !errors.Is(err, buckettest.ErrInjected) {
			t.Fatalf("pack %d: commit says %v", call, err)
		}
		if _, err := w.Save(t.Context(), 1, []byte("after")); err == nil {
			t.Fatal("an ended session saves")
		}
		if got := payloads(t, openRepo(t, b)); len(got) != 0 {
			t.Fatalf("pack %d: %v", call, got)
		}
	}
}

// TestLostReply: the commit was written and its reply lost.
func TestLostReply(t *testing.T) {
	_, b := newRepo(t)
	f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Prefix: "fates/", Fault: buckettest.FailAfter})
	list := pieces(24, 5)
	c := mustBackup(t, openRepo(t, f.Wrap(b)), "once", list)
	s := openRepo(t, b)
	if got := payloads(t, s); f.Fired() != 1 || len(got) != 1 || got[c.ID] != "once" {
		t.Errorf("%v", got)
	}
	checkLoads(t, s, list)
}

// TestCommitUnknown: written or not, nobody can say; then it is no success.
func TestCommitUnknown(t *testing.T) {
	_, b := newRepo(t)
	f := buckettest.NewFaults(
		buckettest.Rule{Kind: buckettest.Put, Prefix: "fates/", Fault: buckettest.FailAfter},
		buckettest.Rule{Kind: buckettest.Get, Prefix: "fates/", Times: -1})
	s := openRepo(t, f.Wrap(b))
	if _, err := backup(t.Context(), s, "", pieces(25, 5)); !errors.Is(err, buckettest.ErrInjected) || errors.Is(err, store.ErrFenced) {
		t.Errorf("%v", err)
	}
}

// TestFenced: a prune took the session for dead and wrote its fate.
func TestFenced(t *testing.T) {
	s, b := newRepo(t)
	for _, end := range []func(w *store.Session) error{
		func(w *store.Session) error { _, err := w.Commit(t.Context(), []byte("too late")); return err },
	} {
		w, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := save(t.Context(), w, pieces(26, 5)); err != nil {
			t.Fatal(err)
		}
		if err := store.WriteAbort(t.Context(), openRepo(t, b), w.ID()); err != nil {
			t.Fatal(err)
		}
		if err := end(w); !errors.Is(err, store.ErrFenced) {
			t.Errorf("%v", err)
		}
		if err := w.Abort(t.Context()); err != nil {
			t.Errorf("abort after it was fenced: %v", err)
		}
	}
	if got := payloads(t, openRepo(t, b)); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestRegistrationIsHeld: while a session runs others can see that it is alive.
func TestRegistrationIsHeld(t *testing.T) {
	s, b := newRepo(t)
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names, _ := buckettest.Names(t.Context(), b, "sessions/", "")
	if len(names) != 1 || !strings.HasSuffix(names[0], w.ID()) {
		t.Fatalf("%q", names)
	}
	if held, err := b.Held(t.Context(), names[0]); !held || err != nil {
		t.Errorf("while it runs: %v, %v", held, err)
	}
	if _, err := w.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if held, err := b.Held(t.Context(), names[0]); held || err != nil {
		t.Errorf("afterwards: %v, %v", held, err)
	}
}

// TestPackMemory: however much is saved while the bucket hangs, only a few packs
// are held.
func TestPackMemory(t *testing.T) {
	_, b := newRepo(t)
	hang := &hangingBucket{Bucket: b, entered: make(chan struct{}, 100), open: make(chan struct{})}
	s := openRepo(t, hang)
	var saved int
	done := make(chan error)
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var err error
		for i := 0; i < 60 && err == nil; i++ {
			err = save(t.Context(), w, pieces(uint64(100+i), 7)[6:])
			saved++
		}
		done <- err
	}()
	<-hang.entered
	for range 1000 { // whoever can go on does so
		select {
		case <-done:
			t.Fatal("nobody waited for the bucket")
		default:
		}
	}
	close(hang.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := hang.most.Load(); n > 2 {
		t.Errorf("%d packs were written at once", n)
	}
	if _, err := w.Commit(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if saved != 60 {
		t.Error(fmt.Sprint(saved, " saved"))
	}
}
