package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
)

// body is what an object of this name has in these tests: several blocks, none
// of them zeros, different for every name.
func body(name string) string {
	return strings.Repeat(name+"|", 1+9000/(len(name)+1))
}

// A job is a sequence of calls to a bucket and what it was told of them.
type job struct {
	fs      *crashfs.FS
	failed  []error
	created bool
	stored  map[string]bool // Put said so, or that somebody else did
	gone    map[string]bool // Delete said so
	tried   map[string]bool // a Delete was begun
}

func newJob(fsys *crashfs.FS) *job {
	return &job{fs: fsys, stored: map[string]bool{}, gone: map[string]bool{}, tried: map[string]bool{}}
}

// run goes on after an error, as several sessions of one process would.
func (j *job) run(ctx context.Context) {
	b := j.create()
	if b == nil {
		return
	}
	for _, name := range []string{"keys/0", "config", "packs/0/a", "packs/0/b", "index/0/a", "packs/1/c"} {
		j.put(ctx, b, name)
	}
	_, err := b.PutHeld(ctx, "sessions/1/s", []byte(body("sessions/1/s")))
	j.note(j.stored, "sessions/1/s", err)
	j.put(ctx, b, "config") // taken, unless the first one failed
	j.tried["packs/0/a"] = true
	j.note(j.gone, "packs/0/a", b.Delete(ctx, "packs/0/a", "packs/9/never"))
	j.put(ctx, b, "fates/1/s")
	j.put(ctx, b, "fates/1/t") // should the first have failed half-way
}

func (j *job) create() *local.Bucket {
	b, err := local.CreateFS(j.fs, "/repo")
	if err != nil {
		j.failed = append(j.failed, err)
		b, err = local.CreateFS(j.fs, "/repo") // as a person would do
	}
	if err != nil {
		return nil
	}
	j.created = true
	return b
}

func (j *job) put(ctx context.Context, b *local.Bucket, name string) {
	data := []byte(body(name))
	err := b.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	j.note(j.stored, name, err)
}

func (j *job) note(done map[string]bool, name string, err error) {
	if err != nil {
		j.failed = append(j.failed, err)
		return
	}
	done[name] = true
}

// check opens what a power cut or a fault has left and demands that all that
// was acknowledged is there, that what is there is whole, and that the bucket
// can be written to.
func (j *job) check(t *testing.T, fsys *crashfs.FS) {
	t.Helper()
	b, err := local.OpenFS(fsys, "/repo")
	if err != nil {
		if j.created {
			t.Errorf("the repository is lost: %v", err)
		}
		return
	}
	there := map[string]bool{}
	for info, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		there[info.Name] = true
		got, err := buckettest.Read(t.Context(), b, info.Name, 0, -1)
		if err != nil || string(got) != body(info.Name) || info.Size != int64(len(got)) {
			t.Errorf("%s is torn: %d of %d bytes, %v", info.Name, len(got), len(body(info.Name)), err)
		}
	}
	for name := range j.stored {
		if !there[name] && !j.tried[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	for name := range j.gone {
		if there[name] {
			t.Errorf("%s was deleted and is back", name)
		}
	}
	j.checkUsable(t, b, fsys == j.fs)
}

// checkUsable tries again under new names. What is put into the live file
// system has to survive the cuts that are still to come.
func (j *job) checkUsable(t *testing.T, b *local.Bucket, live bool) {
	t.Helper()
	if _, err := b.CleanTemp(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := b.CleanTemp(t.Context()); n != 0 || err != nil {
		t.Errorf("the second CleanTemp removed %d, %v", n, err)
	}
	if !j.created {
		return
	}
	for _, dir := range []string{"packs/0", "packs/1", "new/dir"} {
		name := fmt.Sprintf("%s/retry-%v", dir, live)
		put(t, b, name, body(name))
		if live {
			j.stored[name] = true
		}
	}
}

// cuts checks what may be found after the power is back.
func (j *job) cuts(t *testing.T) {
	t.Helper()
	j.check(t, j.fs.Cut(crashfs.Nothing))
	for seed := range uint64(6) {
		j.check(t, j.fs.Cut(crashfs.Some(seed)))
	}
	j.check(t, j.fs.Cut(crashfs.Everything))
}

// each runs the job once for every call it makes to the file system, with a
// hook for that call, until the job ends without having come to it.
func each(t *testing.T, hook func(n int) func(crashfs.Call) error, check func(t *testing.T, j *job)) {
	t.Helper()
	for n := 0; ; n++ {
		j := newJob(crashfs.New())
		j.fs.Hook(hook(n))
		j.run(t.Context())
		calls := j.fs.Calls()
		j.fs.Hook(nil)
		t.Run(fmt.Sprint("call ", n), func(t *testing.T) { check(t, j) })
		if calls <= n {
			if n < 100 || len(j.failed) > 0 {
				t.Errorf("only %d calls, or an error without a fault: %v", n, j.failed)
			}
			return
		}
		if t.Failed() {
			return
		}
	}
}

func TestPowerCut(t *testing.T) {
	cut := func(n int) func(crashfs.Call) error { return crashfs.FailAt(n, crashfs.ErrPowerOff) }
	each(t, cut, func(t *testing.T, j *job) { j.cuts(t) })
}

// TestFault fails each call once. Errors must be told, nothing may be torn,
// neither at once nor after a power cut.
func TestFault(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		t.Run(errno.Error(), func(t *testing.T) {
			fail := func(n int) func(crashfs.Call) error { return crashfs.FailAt(n, errno) }
			each(t, fail, func(t *testing.T, j *job) {
				for _, err := range j.failed {
					if !errors.Is(err, errno) {
						t.Errorf("the reason is lost: %v", err)
					}
				}
				j.cuts(t)
				j.check(t, j.fs)
				j.cuts(t)
			})
		})
	}
}

// TestDiskFull has the disk full from a call on: whatever needs space fails.
func TestDiskFull(t *testing.T) {
	full := func(n int) func(crashfs.Call) error {
		return func(c crashfs.Call) error {
			switch c.Op {
			case crashfs.Write, crashfs.Create, crashfs.Mkdir, crashfs.Allocate:
				if c.N >= n {
					return syscall.ENOSPC
				}
			}
			return nil
		}
	}
	each(t, full, func(t *testing.T, j *job) {
		for _, err := range j.failed {
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/repo") {
				t.Errorf("the error says too little: %v", err)
			}
		}
		j.cuts(t)
		j.check(t, j.fs)
		j.cuts(t)
	})
}

// TestFaultNoTempLeft: a failed write leaves no temporary file on a disk that
// is full enough.
func TestFaultNoTempLeft(t *testing.T) {
	for _, op := range []crashfs.Op{crashfs.Write, crashfs.Sync, crashfs.Move, crashfs.Lock} {
		fsys := crashfs.New()
		b := must(local.CreateFS(fsys, "/repo"))
		fsys.Hook(func(c crashfs.Call) error {
			if c.Op == op {
				return syscall.ENOSPC
			}
			return nil
		})
		err := b.Put(t.Context(), "packs/0/a", strings.NewReader("x"), 1)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "packs/0/a") || !strings.Contains(err.Error(), "/repo") {
			t.Errorf("%s: %v", op, err)
		}
		fsys.Hook(nil)
		if n, err := b.CleanTemp(t.Context()); n != 0 || err != nil {
			t.Errorf("%s: %d temporary files left, %v", op, n, err)
		}
	}
}

// TestReadFaults fails every call that reading makes: an error, or the truth.
func TestReadFaults(t *testing.T) {
	j := newJob(crashfs.New())
	j.run(t.Context())
	b := must(local.OpenFS(j.fs, "/repo"))
	want, err := buckettest.Names(t.Context(), b, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		start, fired := j.fs.Calls(), false
		j.fs.Hook(func(c crashfs.Call) error {
			if c.N != start+n {
				return nil
			}
			fired = true
			return syscall.EIO
		})
		names, listErr := buckettest.Names(t.Context(), b, "", "")
		got, getErr := buckettest.Read(t.Context(), b, "config", 0, -1)
		_, missErr := buckettest.Read(t.Context(), b, "packs/missing", 0, -1)
		held, heldErr := b.Held(t.Context(), "sessions/1/s")
		if listErr == nil && len(names) != len(want) || listErr != nil && !errors.Is(listErr, syscall.EIO) {
			t.Errorf("call %d: list: %d names, %v", n, len(names), listErr)
		}
		if getErr == nil && string(got) != body("config") || getErr != nil && !errors.Is(getErr, syscall.EIO) {
			t.Errorf("call %d: get: %d bytes, %v", n, len(got), getErr)
		}
		if !errors.Is(missErr, fs.ErrNotExist) && !errors.Is(missErr, syscall.EIO) {
			t.Errorf("call %d: get of nothing: %v", n, missErr)
		}
		if heldErr == nil && !held || heldErr != nil && !errors.Is(heldErr, syscall.EIO) {
			t.Errorf("call %d: held: %v, %v", n, held, heldErr)
		}
		if !fired {
			return
		}
	}
}

// TestSeenIsNotSettled: another process has named its object and died before
// it could flush the name, in a directory that it had just made. Who settles
// the object, or loses the name to it, can rely on it.
func TestSeenIsNotSettled(t *testing.T) {
	const name = "fates/1/s"
	for _, c := range []struct {
		what string
		rely func(b *local.Bucket) error
		kept bool
	}{
		{"sees", func(*local.Bucket) error { return nil }, false},
		{"settles", func(b *local.Bucket) error { return b.Settle(t.Context(), name) }, true},
		{"loses", func(b *local.Bucket) error {
			err := b.Put(t.Context(), name, strings.NewReader("x"), 1)
			if errors.Is(err, fs.ErrExist) {
				return nil
			}
			return fmt.Errorf("put over another's object: %w", err)
		}, true},
	} {
		fsys := crashfs.New()
		dead, alive := must(local.CreateFS(fsys, "/repo")), must(local.OpenFS(fsys, "/repo"))
		fsys.Hook(func(c crashfs.Call) error {
			if c.Op == crashfs.SyncDir && strings.HasPrefix(c.Path, "/repo/fates/1") {
				return syscall.EIO
			}
			return nil
		})
		if err := dead.Put(t.Context(), name, strings.NewReader("x"), 1); err == nil {
			t.Fatal("success in spite of the fault")
		}
		fsys.Hook(nil)
		if names, err := buckettest.Names(t.Context(), alive, "", ""); len(names) != 1 || err != nil {
			t.Fatalf("%q, %v", names, err)
		}
		if err := c.rely(alive); err != nil {
			t.Error(err)
		}
		names, err := buckettest.Names(t.Context(), must(local.OpenFS(fsys.Cut(crashfs.Nothing), "/repo")), "", "")
		if err != nil || (len(names) == 1) != c.kept {
			t.Errorf("who %s it finds after the cut %q, %v", c.what, names, err)
		}
	}
}

// TestParentOfAnother: another process has made the directory and not flushed
// it. What we put there has to survive all the same.
func TestParentOfAnother(t *testing.T) {
	fsys := crashfs.New()
	b := must(local.CreateFS(fsys, "/repo"))
	for _, dir := range []string{"/repo/packs", "/repo/packs/0"} {
		if err := fsys.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	put(t, b, "packs/0/a", "x")
	after := must(local.OpenFS(fsys.Cut(crashfs.Nothing), "/repo"))
	if got, err := buckettest.Read(t.Context(), after, "packs/0/a", 0, -1); string(got) != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
