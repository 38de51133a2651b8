package capture

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"coffer/bucket"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/gc"
	"coffer/store"
)

// open opens the rig's store on a bucket, with caches in dir, where the index is
// on disk from the first.
func (r *rig) open(b bucket.Bucket, dir string) {
	r.t.Helper()
	s, err := store.Open(r.t.Context(), b, store.Env{CacheDir: dir, MemoryEntries: 10}, faultSecret)
	if err != nil {
		r.t.Fatal(err)
	}
	r.s = s
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// faultRig is a rig on an empty bucket.
func faultRig(t *testing.T) (*rig, *mem.Bucket) {
	t.Helper()
	r, b := newRig(t), mem.New()
	emptyRepository(t, b)
	r.open(b, "")
	return r, b
}

// pruneAll is one prune; dir is where the mark keeps what it knows.
func pruneAll(t *testing.T, s *store.Store, dir string, wait time.Duration) (store.PruneReport, error) {
	t.Helper()
	var box gc.Sealer
	if dir != "" {
		box = s
	}
	p, err := s.PlanPrune(t.Context(), store.PruneOptions{Marker: gc.New(dir, box, nil), Wait: wait, RepackBelow: 0.9})
	if err != nil {
		return store.PruneReport{}, err
	}
	defer p.Close()
	return p.Run(t.Context())
}

// whole checks that a snapshot is there and has exactly what want says, and that
// nothing in the repository is damaged.
func (r *rig) whole(rep Report, want map[string]string) {
	r.t.Helper()
	if err := r.s.Refresh(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	got := r.content(rep.Snapshot.Manifest)
	for p, w := range want {
		if got[p] != w {
			r.t.Errorf("%s has %d bytes of %d", p, len(got[p]), len(w))
		}
	}
	_, err := r.s.Check(r.t.Context(), store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { r.t.Error(d) }})
	if err != nil {
		r.t.Error(err)
	}
}

func onlySnapshots(t *testing.T, s *store.Store, want int) {
	t.Helper()
	commits, err := s.Commits(t.Context())
	if err != nil || len(commits) != want {
		t.Errorf("%d snapshots, want %d, %v", len(commits), want, err)
	}
}

// A bare bucket does not know who is alive.
type bare struct{ bucket.Bucket }

// An interrupted place does something between what a run has read of its parent
// and its commit.
type between struct {
	Place
	do func()
}

func (p between) Begin(ctx context.Context) (Keeper, error) {
	k, err := p.Place.Begin(ctx)
	return betweenKeeper{k, p.do}, err
}

type betweenKeeper struct {
	Keeper
	do func()
}

func (k betweenKeeper) Commit(ctx context.Context, payload []byte) (store.Commit, error) {
	k.do()
	return k.Keeper.Commit(ctx, payload)
}

// Fault 12: the parent of a backup is forgotten and pruned while the backup takes
// nearly everything from it: right after the parent was chosen, at some file, and
// before the commit. The snapshot is whole, and so is the next that builds on it.
func TestFaultsParentIsPruned(t *testing.T) {
	for _, when := range []string{"begin", "first file", "commit"} {
		t.Run(when, func(t *testing.T) {
			r, b := faultRig(t)
			want := faultTree(r)
			parent := r.run().Snapshot
			r.write("d1/new", "new")
			r.write("d0/f0", "changed")
			want["/top/d1/new"], want["/top/d0/f0"] = "new", "changed"
			r.settle()
			waited := 0
			gone := sync.OnceFunc(func() {
				other, err := store.Open(t.Context(), b, store.Env{}, faultSecret)
				if err == nil {
					err = other.Forget(t.Context(), []string{parent.ID})
				}
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					rep, err := pruneAll(t, other, "", 0)
					var wait *store.WaitError
					if err != nil && !errors.As(err, &wait) {
						t.Error(err)
					}
					if waited += len(rep.Waiting); rep.Dropped > 1 {
						t.Errorf("%+v", rep)
					}
				}
			})
			var place Place = here{r.s}
			switch when {
			case "begin":
				place = beginning{place, gone}
			case "first file":
				r.opt.Event = func(ev Event) { gone() }
			case "commit":
				place = between{place, gone}
			}
			rep, err := RunAt(t.Context(), place, r.opt)
			if err != nil || waited != 1 || rep.Unmodified != 12 {
				t.Fatalf("%+v, %v; the prunes waited for %d", rep, err, waited)
			}
			r.opt.Event = nil
			r.whole(rep, want)
			if _, err := pruneAll(t, r.s, "", time.Minute); err != nil {
				t.Error(err)
			}
			r.whole(rep, want)
			onlySnapshots(t, r.s, 1)
			again := r.run()
			if again.Unmodified != 14 {
				t.Errorf("%+v", again)
			}
			r.whole(again, want)
		})
	}
}

// A beginning place does something when a run has begun.
type beginning struct {
	Place
	do func()
}

func (p beginning) Begin(ctx context.Context) (Keeper, error) {
	k, err := p.Place.Begin(ctx)
	p.do()
	return k, err
}

// Fault 7: all caches are put back from before a prune: the index table and what
// marks know of tree pages. Backups and prunes that use them lose nothing.
func TestFaultsCachesFromBeforePrune(t *testing.T) {
	r, b := faultRig(t)
	want := faultTree(r)
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	marks := func(cache string) string { return filepath.Join(cache, "marks") }
	r.open(b, dir)
	first := r.run()
	r.settle()
	r.write("d2/only here", strings.Repeat("of the second snapshot ", 5000))
	second := r.run()
	if _, err := pruneAll(t, r.s, marks(dir), 0); err != nil {
		t.Fatal(err)
	}
	r.whole(second, want)
	r.close()
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r.open(b, dir)
	if err := r.s.Forget(t.Context(), []string{first.Snapshot.ID, second.Snapshot.ID}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := pruneAll(t, r.s, marks(dir), 0); err != nil {
			t.Fatal(err)
		}
	}
	onlySnapshots(t, r.s, 0)
	r.close()

	want["/top/d2/only here"] = strings.Repeat("of the second snapshot ", 5000)
	for range 2 { // the second time the caches know packs of the first
		r.open(b, old)
		rep := r.run()
		if rep.Snapshot.NewBytes == 0 {
			t.Errorf("nothing was stored: %+v", rep)
		}
		if err := r.s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := pruneAll(t, r.s, marks(old), 0); err != nil {
			t.Fatal(err)
		}
		r.whole(rep, want)
		r.close()
		r.open(b, "")
		r.whole(rep, want)
		if err := r.s.Forget(t.Context(), []string{rep.Snapshot.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := pruneAll(t, r.s, "", 0); err != nil {
			t.Fatal(err)
		}
		onlySnapshots(t, r.s, 0)
	}
}

// A sleeping bucket is that of a machine which sleeps for three days, once, with
// the first pack.
type sleeping struct {
	bucket.Bucket
	asleep chan struct{}
	once   *sync.Once
}

func (s sleeping) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if strings.HasPrefix(name, "packs/") {
		s.once.Do(func() {
			close(s.asleep)
			time.Sleep(72 * time.Hour)
		})
	}
	select {
	case <-s.asleep: // beats do not go out either
		if strings.HasPrefix(name, "beats/") {
			time.Sleep(72 * time.Hour)
		}
	default:
	}
	return s.Bucket.Put(ctx, name, body, size)
}

// Fault 30: a machine sleeps for three days in the middle of a backup while prunes
// take it for dead, and what its parent had is gone. It begins again by itself,
// and the snapshot is whole.
func TestFaultsSuspendedBackupBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inner := faultRig(t)
		b := bare{inner}
		want := faultTree(r)
		r.open(b, "")
		parent := r.run().Snapshot
		r.write("d1/new", "new")
		want["/top/d1/new"] = "new"
		asleep := make(chan struct{})
		r.open(sleeping{b, asleep, new(sync.Once)}, "")
		again := 0
		r.opt.Event = func(ev Event) {
			if ev.Action == Again {
				again++
			}
		}
		var rep Report
		over := make(chan error)
		go func() {
			var err error
			rep, err = Run(context.Background(), r.s, r.opt)
			over <- err
		}()
		<-asleep
		other, err := store.Open(t.Context(), b, store.Env{}, faultSecret)
		if err == nil {
			err = other.Forget(t.Context(), []string{parent.ID})
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(12 * time.Hour)
			if pr, err := pruneAll(t, other, "", time.Hour); err != nil || len(pr.Waiting) > 0 {
				t.Fatalf("%+v, %v", pr, err)
			}
		}
		if err := <-over; err != nil || again != 1 {
			t.Fatalf("the backup ends with %v, it began again %d times", err, again)
		}
		r.open(b, "")
		r.whole(rep, want)
		if _, err := pruneAll(t, r.s, "", time.Hour); err != nil {
			t.Error(err)
		}
		r.whole(rep, want)
		onlySnapshots(t, r.s, 1)
	})
}

// Fault 42: nothing of the plain text, and no chunk's ID, is in the repository or
// in the caches, of which the index is on disk here, before and after prunes.
func TestFaultsNoPlainText(t *testing.T) {
	r, b := faultRig(t)
	dir := t.TempDir()
	word := func(what string) string { return "Zq7-" + what + "-sphinx-of-black-quartz" }
	for i := range 100 {
		r.write(fmt.Sprintf("%s/%s%d", word("directory"), word("name"), i), fmt.Sprint(word("content"), i))
	}
	if err := os.Symlink(word("target"), filepath.Join(r.dir, "link")); err != nil {
		t.Fatal(err)
	}
	r.opt.Host, r.opt.Name, r.opt.Tags = word("host"), word("job"), []string{word("tag")}
	secret := map[string][]byte{}
	for _, what := range []string{"directory", "name", "content", "target", "host", "job", "tag", "note", "reason", "by"} {
		secret[what] = []byte(word(what))
	}
	for round := range 3 {
		r.open(b, dir)
		rep := r.run()
		note, err := snapshot.EncodeNotes(snapshot.Note{Kind: snapshot.TagNote, Snapshot: rep.Snapshot.ID, Add: []string{word("note")}, By: word("by")})
		if err == nil {
			err = r.s.PutNote(t.Context(), note)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id := range chunks(t, r.s, rep.Snapshot.Root) {
			secret["ID "+id.Short()] = bytes.Clone(id[:8])
			secret["ID in hex "+id.Short()] = []byte(hex.EncodeToString(id[:8]))
		}
		r.clear(b, dir, secret)
		if err := r.s.Forget(t.Context(), []string{rep.Snapshot.ID}); err != nil {
			t.Fatal(err)
		}
		r.write(fmt.Sprint(word("name"), round), word("content")+"of a round")
		if _, err := pruneAll(t, r.s, filepath.Join(dir, "marks"), 0); err != nil {
			t.Fatal(err)
		}
		r.run()
		if _, err := pruneAll(t, r.s, filepath.Join(dir, "marks"), 0); err != nil {
			t.Fatal(err)
		}
		r.close()
		r.clear(b, dir, secret)
	}
}

// chunks returns all chunks that a tree names.
func chunks(t *testing.T, s *store.Store, root chunk.ID) map[chunk.ID]bool {
	t.Helper()
	all := map[chunk.ID]bool{root: true}
	err := snapshot.Walk(t.Context(), s, root, "/", func(p string, e *snapshot.Entry) error {
		for ref, err := range snapshot.Refs(t.Context(), s, e) {
			if err != nil {
				return err
			}
			all[ref.ID] = true
		}
		return nil
	})
	if err != nil || len(all) < 100 {
		t.Fatalf("%d chunks, %v", len(all), err)
	}
	return all
}

// clear looks for secrets in all objects and files and in their names.
func (r *rig) clear(b bucket.Bucket, dir string, secret map[string][]byte) {
	r.t.Helper()
	all := map[string][]byte{}
	for info, err := range b.List(r.t.Context(), "", "") {
		if err != nil {
			r.t.Fatal(err)
		}
		body, err := b.Get(r.t.Context(), info.Name, 0, -1)
		if err == nil {
			all[info.Name], err = io.ReadAll(body)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	objects := len(all)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || objects < 8 || len(all) < objects+3 {
		r.t.Fatalf("%d objects, %d files, %v", objects, len(all)-objects, err)
	}
	for name, data := range maps.Clone(all) {
		for what, word := range secret {
			if bytes.Contains(data, word) || strings.Contains(name, string(word)) {
				r.t.Errorf("the %s is in %s", what, name)
			}
		}
	}
}
