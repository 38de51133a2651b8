package store_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
	"coffer/bucket/mem"
	"coffer/seal"
	"coffer/store"
)

// crashRepo is a repository on a disk that forgets, with one commit in it.
func crashRepo(t testing.TB, old []piece) (fsys *crashfs.FS, id string) {
	t.Helper()
	fsys = crashfs.New()
	b, err := local.CreateFS(fsys, "/repo")
	if err != nil {
		t.Fatal(err)
	}
	initRepo(t, b)
	return fsys, mustBackup(t, openRepo(t, b), "old", old).ID
}

func openLocal(t testing.TB, fsys *crashfs.FS) bucket.Bucket {
	t.Helper()
	b, err := local.OpenFS(fsys, "/repo")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPowerCut cuts the power at every call to the file system that a backup
// makes, and looks at what may be found afterwards.
func TestPowerCut(t *testing.T) {
	eachCall(t, func(int) error { return crashfs.ErrPowerOff }, crashfs.Nothing, crashfs.Some(1))
}

// TestDiskFaults fails every call once: errors of the disk, a full one, one that
// became read-only.
func TestDiskFaults(t *testing.T) {
	faults := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS}
	eachCall(t, func(call int) error { return faults[call%len(faults)] }, crashfs.Some(2))
}

func eachCall(t *testing.T, fault func(call int) error, cuts ...crashfs.Keep) {
	t.Parallel()
	old, list := pieces(30, 3), pieces(31, 8)
	base, _ := crashRepo(t, old)
	step := 1
	if testing.Short() {
		step = 4
	}
	for call := 0; ; call += step {
		fsys := base.Cut(crashfs.Everything)
		fired := false
		fsys.Hook(func(c crashfs.Call) error {
			if c.N != call {
				return nil
			}
			fired = true
			return fault(call)
		})
		acked, err := tryBackup(t.Context(), openLocalOrNil(fsys), list)
		fsys.Hook(nil)
		if !fired {
			if err != nil || call < 50 {
				t.Errorf("after %d calls without a fault: %v", call, err)
			}
			return
		}
		for _, keep := range cuts {
			afterFault(t, openLocal(t, fsys.Cut(keep)), acked, old, list)
		}
		if t.Failed() {
			t.Fatalf("at call %d; the backup said %v", call, err)
		}
	}
}

// openLocalOrNil opens the bucket where that works, and one that always fails
// otherwise.
func openLocalOrNil(fsys *crashfs.FS) bucket.Bucket {
	b, err := local.OpenFS(fsys, "/repo")
	if err != nil {
		return buckettest.NewFaults(buckettest.Rule{Times: -1, Err: err}).Wrap(mem.New())
	}
	return b
}

// TestOthersRecordsAreSettled: another process dies after it gave its commit a
// name and before the name is on the disk. Who has built on the commit must
// keep it.
func TestOthersRecordsAreSettled(t *testing.T) {
	fsys, _ := crashRepo(t, pieces(32, 3))
	list := pieces(33, 5)
	fsys.Hook(func(c crashfs.Call) error {
		if c.Op == crashfs.SyncDir && strings.HasSuffix(c.Path, "fates/0000000000") {
			return syscall.EIO
		}
		return nil
	})
	if _, err := tryBackup(t.Context(), openLocal(t, fsys), list); err == nil {
		t.Log("the commit was acknowledged after all")
	}
	fsys.Hook(nil)
	s := openRepo(t, openLocal(t, fsys))
	c := mustBackup(t, s, "built on it", list) // nothing new: all chunks are the other's
	fresh := openRepo(t, openLocal(t, fsys.Cut(crashfs.Nothing)))
	if payloads(t, fresh)[c.ID] != "built on it" {
		t.Errorf("%v", payloads(t, fresh))
	}
	checkLoads(t, fresh, list)
}

// TestInitFaults fails Init at every call. It leaves a repository or none, and
// can be run again.
func TestInitFaults(t *testing.T) {
	opt := store.InitOptions{Secret: secret, Pack: smallPack}
	for name, fault := range map[string]buckettest.Fault{
		"before": buckettest.FailBefore, "after": buckettest.FailAfter,
		"crash before": buckettest.CrashBefore, "crash after": buckettest.CrashAfter,
	} {
		t.Run(name, func(t *testing.T) {
			for call := 0; ; call++ {
				b := mem.New()
				f := buckettest.NewFaults(buckettest.Rule{Call: call, Fault: fault})
				_, err := store.Init(t.Context(), f.Wrap(b), store.Env{}, opt)
				if f.Fired() == 0 {
					if err != nil || call < 6 {
						t.Errorf("%d calls, %v", call, err)
					}
					return
				}
				afterInit(t, b, err, opt)
				if t.Failed() {
					t.Fatalf("at call %d", call)
				}
			}
		})
	}
}

func afterInit(t *testing.T, b bucket.Bucket, failed error, opt store.InitOptions) {
	t.Helper()
	_, err := store.Open(t.Context(), b, store.Env{}, secret)
	if err != nil && !errors.Is(err, store.ErrNoRepository) {
		t.Errorf("a repository in part: %v", err)
	}
	if failed == nil && err != nil {
		t.Errorf("init said yes: %v", err)
	}
	recovery, again := store.Init(t.Context(), b, store.Env{}, opt)
	if (err == nil) != errors.Is(again, store.ErrExists) || err != nil && again != nil {
		t.Errorf("open: %v; init again: %v", err, again)
	}
	mustBackup(t, openRepo(t, b), "", pieces(34, 3))
	if again == nil {
		if _, err := store.Open(t.Context(), b, store.Env{}, recovery); err != nil {
			t.Errorf("the recovery key: %v", err)
		}
	}
}

// TestInitPowerCut is the same for a disk.
func TestInitPowerCut(t *testing.T) {
	opt := store.InitOptions{Secret: secret, Pack: smallPack}
	for call := 0; ; call++ {
		fsys := crashfs.New()
		fsys.Hook(crashfs.FailAt(call, crashfs.ErrPowerOff))
		err := initLocal(t.Context(), fsys, opt)
		fsys.Hook(nil)
		if err == nil {
			if call < 20 {
				t.Errorf("%d calls", call)
			}
			return
		}
		for _, keep := range []crashfs.Keep{crashfs.Nothing, crashfs.Everything, crashfs.Some(uint64(call))} {
			after := fsys.Cut(keep)
			if err := initLocal(t.Context(), after, opt); err != nil && !errors.Is(err, store.ErrExists) {
				t.Fatalf("at call %d: init again: %v", call, err)
			}
			mustBackup(t, openRepo(t, openLocal(t, after)), "", pieces(35, 2))
		}
	}
}

func initLocal(ctx context.Context, fsys *crashfs.FS, opt store.InitOptions) error {
	b, err := local.CreateFS(fsys, "/repo")
	if err != nil {
		return err
	}
	_, err = store.Init(ctx, b, store.Env{}, opt)
	return err
}

// TestInitRefuses what it does not know: a repository that has lost its config
// keeps its keys.
func TestInitRefuses(t *testing.T) {
	s, b := newRepo(t)
	if _, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: secret}); !errors.Is(err, store.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	mustBackup(t, s, "", pieces(36, 2))
	if err := b.Delete(t.Context(), "config"); err != nil {
		t.Fatal(err)
	}
	before := len(objects(t, b))
	_, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: secret})
	if !errors.Is(err, store.ErrNotEmpty) || len(objects(t, b)) != before {
		t.Errorf("without its config: %v", err)
	}
	other := mem.New()
	put(t, other, "somebody/elses", []byte("x"))
	if _, err := store.Init(t.Context(), other, store.Env{}, store.InitOptions{Secret: secret}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("in a place with something in it: %v", err)
	}
}

// TestKeyFaults fails the adding and the removing of a key at every call: the
// old key opens, the new one as long as it was added and not removed.
func TestKeyFaults(t *testing.T) {
	_, base := newRepo(t)
	count := buckettest.NewFaults()
	openRepo(t, count.Wrap(base))
	added := seal.Secret{Kind: seal.KeyFile, Value: []byte("another")}
	for call := count.Calls(); ; call++ {
		b := copyOf(t, base)
		f := buckettest.NewFaults(buckettest.Rule{Call: call, Fault: buckettest.Fault(call % 2)})
		s := openRepo(t, f.Wrap(b))
		id, addErr := s.AddKey(t.Context(), added, "second")
		if _, err := store.Open(t.Context(), b, store.Env{}, added); addErr == nil && err != nil {
			t.Errorf("call %d: a key that was added: %v", call, err)
		}
		if addErr == nil {
			_, removeErr := s.RemoveKey(t.Context(), id)
			if _, err := store.Open(t.Context(), b, store.Env{}, added); removeErr == nil && !errors.Is(err, seal.ErrWrongSecret) {
				t.Errorf("call %d: a key that was removed: %v", call, err)
			}
		}
		if _, err := store.Open(t.Context(), b, store.Env{}, secret); err != nil {
			t.Fatalf("call %d: the old key: %v", call, err)
		}
		if f.Fired() == 0 {
			return
		}
	}
}
