package store_test

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"coffer/bucket"
	"coffer/store"
)

// A fullDisk has no room until its reserve is given up.
type fullDisk struct {
	bucket.Bucket
	full     *atomic.Bool
	released *atomic.Int32
}

func (f fullDisk) Unwrap() bucket.Bucket { return f.Bucket }

func (f fullDisk) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if f.full.Load() && f.released.Load() == 0 {
		return &os.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
	}
	return f.Bucket.Put(ctx, name, body, size)
}

func (f fullDisk) Reserve(int64) error   { return nil }
func (f fullDisk) Free() (int64, error)  { return 0, nil }
func (f fullDisk) ReleaseReserve() error { f.released.Add(1); return nil }

// Fault 23: a prune that another one has left open is finished on a full disk, be
// it that something has to be rescued or that a session has died.
func TestPruneFinishesOnAFullDisk(t *testing.T) {
	for name, end := range map[string]func(*store.Session) error{
		"rescue": func(w *store.Session) error {
			old := pieces(1, 80)[:10]
			if err := save(context.Background(), w, old); err != nil {
				return err
			}
			_, err := w.Commit(context.Background(), []byte(needs(old)))
			return err
		},
		"dead": store.DropHold,
	} {
		t.Run(name, func(t *testing.T) {
			s, m := newRepo(t)
			f := fullDisk{m, new(atomic.Bool), new(atomic.Int32)}
			c := keep(t, s, pieces(1, 80))
			w, err := openRepo(t, m).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			forget(t, s, c)
			if _, rep := prune(t, s, pruneOptions()); len(rep.Waiting) != 1 {
				t.Fatalf("%+v", rep)
			}
			if err := end(w); err != nil {
				t.Fatal(err)
			}
			f.full.Store(true)
			p, err := openRepo(t, f).PlanPrune(t.Context(), pruneOptions())
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			if f.released.Load() == 0 {
				t.Error("nothing was written: this test proves nothing")
			}
			checkClean(t, openRepo(t, m))
		})
	}
}
