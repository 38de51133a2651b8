package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/store"
)

// Fault 7: the index table in the cache is put back from before a prune, or from
// before several, and is used by who writes, who prunes and who reads. What a
// backup takes for stored is stored.
func TestFaultsTableFromBeforePrune(t *testing.T) {
	_, b := newRepo(t)
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	within := func(cache string, do func(s *store.Store)) {
		t.Helper()
		s, err := store.Open(t.Context(), b, cached(cache, new(logbook)), secret)
		if err != nil {
			t.Fatal(err)
		}
		do(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	was, stays := pieces(1, 60), pieces(2, 60)
	var c store.Commit
	within(dir, func(s *store.Store) {
		c = keep(t, s, was)
		keep(t, s, append(stays, was[:20]...))
		checkLoads(t, s, was)
	})
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if n := filesIn(t, old); n == 0 {
		t.Fatal("there is no table")
	}
	again := func() string { // a copy of the old table
		t.Helper()
		copied := filepath.Join(t.TempDir(), "cache")
		if err := os.CopyFS(copied, os.DirFS(old)); err != nil {
			t.Fatal(err)
		}
		return copied
	}
	for round := range 3 {
		within(dir, func(s *store.Store) {
			forget(t, s, c)
			prune(t, s, pruneOptions())
		})
		within(again(), func(s *store.Store) {
			if missing, err := s.Missing(t.Context(), ids(was[20:])); err != nil || len(missing) == 0 {
				t.Errorf("round %d: %d chunks are missing after the prune, %v", round, len(missing), err)
			}
			checkLoads(t, s, append(stays[:60:60], was[:20]...))
			c = keep(t, s, was)
		})
		fresh := openRepo(t, b)
		checkLoads(t, fresh, append(was[:60:60], stays...))
		checkClean(t, fresh)
		within(again(), func(s *store.Store) { // it prunes, too
			keep(t, s, pieces(uint64(10+round), 20))
			prune(t, s, pruneOptions())
		})
		checkLoads(t, openRepo(t, b), append(was[:60:60], stays...))
	}
	checkClean(t, openRepo(t, b))
}

func filesIn(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A delaying bucket holds some Puts back in the network until they are let go.
type delaying struct {
	bucket.Bucket
	prefix  string
	arrived chan struct{}
	let     chan struct{}
}

func (d delaying) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if strings.HasPrefix(name, d.prefix) {
		d.arrived <- struct{}{}
		<-d.let
	}
	return d.Bucket.Put(ctx, name, body, size)
}

// Faults 10, 11: a session is still before it commits, or its commit is delayed
// in the network, until prunes have taken it for dead, swept what it relied on,
// and even the record that says so. The commit is refused, and the same done
// again is good.
func TestFaultsCommitAfterSweep(t *testing.T) {
	for _, prunes := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(prunes), func(t *testing.T) {
			_, inner := newRepo(t)
			b := noLocks{inner}
			s := openRepo(t, b)
			list := pieces(1, 30)
			c := keep(t, s, list)
			slow := delaying{b, "fates/", make(chan struct{}, 1), make(chan struct{})}
			w := begin(t, slow)
			if err := save(t.Context(), w, list); err != nil {
				t.Fatal(err)
			}
			said := make(chan error)
			go func() {
				_, err := w.Commit(context.Background(), []byte(needs(list)))
				said <- err
			}()
			<-slow.arrived
			forget(t, s, c)
			opt := pruneOptions()
			opt.Wait, opt.Patience = time.Minute, 30*time.Millisecond
			for i := range prunes {
				if _, rep := prune(t, s, opt); len(rep.Waiting) > 0 {
					t.Fatalf("%+v", rep)
				}
				forget(t, s, keep(t, s, pieces(uint64(50+i), 3)))
			}
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if missing, err := s.Missing(t.Context(), ids(list)); err != nil || len(missing) != len(list) {
				t.Fatalf("%d chunks are gone, %v", len(missing), err)
			}
			close(slow.let)
			if err := <-said; !errors.Is(err, store.ErrFenced) {
				t.Errorf("the commit says %v", err)
			}
			retry := keep(t, openRepo(t, b), list)
			prune(t, s, opt)
			fresh := openRepo(t, b)
			checkLoads(t, fresh, list)
			checkClean(t, fresh)
			if got := payloads(t, fresh); len(got) != 1 || got[retry.ID] == "" {
				t.Errorf("%d commits", len(got))
			}
		})
	}
}

// A deferring bucket says yes to Deletes and does them when it is told to.
type deferring struct {
	bucket.Bucket
	mu    sync.Mutex
	names []string
}

func (d *deferring) Delete(_ context.Context, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = append(d.names, names...)
	return nil
}

func (d *deferring) land(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.names) == 0 {
		t.Fatal("nothing was deleted")
	}
	if err := d.Bucket.Delete(t.Context(), d.names...); err != nil {
		t.Fatal(err)
	}
}

// Fault 13: what was pruned is saved again, and pruned around, while the Deletes
// are still under way; then they happen.
func TestFaultsLateDelete(t *testing.T) {
	_, inner := newRepo(t)
	b := &deferring{Bucket: inner}
	s := openRepo(t, b)
	list, other := pieces(1, 40), pieces(2, 20)
	c := keep(t, s, list)
	forget(t, s, c)
	prune(t, s, pruneOptions())
	c = keep(t, openRepo(t, b), list)
	forget(t, s, keep(t, s, other))
	prune(t, s, pruneOptions())
	keep(t, openRepo(t, b), other)
	b.land(t)
	for _, s := range []*store.Store{openRepo(t, inner), openRepo(t, b)} {
		checkLoads(t, s, append(list[:40:40], other...))
		checkClean(t, s)
		if got := payloads(t, s); len(got) != 2 || got[c.ID] == "" {
			t.Errorf("%d commits", len(got))
		}
	}
	prune(t, openRepo(t, inner), pruneOptions())
	noGarbage(t, openRepo(t, inner), inner)
}

// Fault 18: one Put of a prune says yes and stores nothing, or half: also of one
// that closes a generation for another, and rescues what a session relied on. The
// prune notices, or what was kept is there: at most a repair is needed.
func TestFaultsPruneBelievesPut(t *testing.T) {
	s, whole := newRepo(t)
	stays := pieces(1, 60)
	c := keep(t, s, mixed(pieces(2, 60), stays[:50]))
	keep(t, s, stays)
	forget(t, s, c)

	s, open := newRepo(t)
	c = keep(t, s, mixed(pieces(2, 60), stays[:50]))
	w := begin(t, open)
	forget(t, s, c)
	prune(t, s, pruneOptions())
	commit(t, w, stays)

	for at, base := range map[string]bucket.Bucket{"prune": whole, "close": open} {
		for name, fault := range map[string]buckettest.Fault{"absent": buckettest.Absent, "short": buckettest.Short} {
			t.Run(at+" "+name, func(t *testing.T) {
				t.Parallel()
				for call := 0; ; call++ {
					b := copyOf(t, base)
					f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Call: call, Fault: fault})
					_, err := tryPrune(t.Context(), f.Wrap(b))
					if f.Fired() == 0 {
						if call < 4 || err != nil {
							t.Errorf("%d Puts, %v", call, err)
						}
						return
					}
					recovered(t, b, stays, fmt.Sprintf("Put %d; the prune said %v", call, err))
				}
			})
		}
	}
}

// mixed takes turns, so that packs have something of both.
func mixed(a, b []piece) (list []piece) {
	for i := range max(len(a), len(b)) {
		list = append(list, a[min(i, len(a)):min(i+1, len(a))]...)
		list = append(list, b[min(i, len(b)):min(i+1, len(b))]...)
	}
	return list
}

// recovered demands that everything loads and prunes and checks go well, at most
// after one repair.
func recovered(t *testing.T, b bucket.Bucket, want []piece, when string) {
	t.Helper()
	look := func() error {
		if _, err := tryPrune(t.Context(), b); err != nil {
			return err
		}
		s, err := store.Open(t.Context(), b, new(logbook).env(), secret)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }() // it is in memory
		for _, p := range want {
			got, err := s.Load(t.Context(), p.kind, p.id())
			if err != nil {
				return err
			}
			if !bytes.Equal(got, p.data) {
				t.Fatalf("%s: wrong bytes", when)
			}
		}
		for name, text := range damageFound(t, s) {
			err = errors.Join(err, fmt.Errorf("%s: %s", name, text))
		}
		return err
	}
	if err := look(); err != nil {
		s := briefly(t, b)
		defer closeStore(t, s)
		repair(t, s, repairOptions())
		if again := look(); again != nil {
			t.Fatalf("%s: before the repair: %v; after it: %v", when, err, again)
		}
	}
	s := briefly(t, b)
	defer closeStore(t, s)
	keep(t, s, pieces(9, 4))
	prune(t, s, pruneOptions())
	checkLoads(t, s, want)
	checkClean(t, s)
}

// Fault 22: all that prunes have deleted comes back, each time and in the end all
// at once. Nothing of it is believed, and the next prunes remove it.
func TestFaultsDeletesReappear(t *testing.T) {
	s, b := newRepo(t)
	all := map[string][]byte{}
	reappear := func(t testing.TB) {
		t.Helper()
		now := objects(t, b)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if _, there := now[name]; !there {
				put(t, b, name, all[name])
			}
		}
	}
	stays := pieces(1, 40)
	kept := keep(t, s, stays)
	for i := range uint64(5) {
		forget(t, s, keep(t, s, append(pieces(10+i, 20), stays[:10]...)))
		if i == 3 {
			forget(t, s, kept)
			kept = keep(t, s, stays)
		}
		maps.Copy(all, objects(t, b))
		prune(t, s, pruneOptions())
		maps.Copy(all, objects(t, b))
		if i%2 == 1 {
			reappear(t)
		}
		for _, s := range []*store.Store{s, openRepo(t, b)} {
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := payloads(t, s); len(got) != 1 || got[kept.ID] == "" {
				t.Fatalf("after prune %d: %d commits", i, len(got))
			}
			checkLoads(t, s, stays)
			checkClean(t, s)
		}
	}
	before, _ := stored(t, b, "")
	reappear(t)
	if n, _ := stored(t, b, ""); n < before+30 {
		t.Fatalf("only %d objects came back", n-before)
	}
	for range 2 {
		forget(t, s, keep(t, s, pieces(30, 3)))
		prune(t, s, pruneOptions())
	}
	fresh := openRepo(t, b)
	checkLoads(t, fresh, stays)
	checkClean(t, fresh)
	noGarbage(t, fresh, b)
	for _, prefix := range []string{"index/", "catalogue/", "sessions/", "fates/", "asks/"} {
		if n, _ := stored(t, b, prefix); n > 12 {
			t.Errorf("%d objects in %s", n, prefix)
		}
	}
}

// Fault 22: Deletes are refused. The prune says so, nothing is harmed, and once
// they are allowed again the space is freed.
func TestFaultsDeletesRefused(t *testing.T) {
	s, b := newRepo(t)
	stays := pieces(1, 40)
	keep(t, s, stays)
	locked := openRepo(t, buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Delete, Times: -1, Err: errLocked}).Wrap(b))
	for i := range uint64(3) {
		forget(t, s, keep(t, s, append(pieces(10+i, 30), stays[:10]...)))
		p, err := locked.PlanPrune(t.Context(), pruneOptions())
		if err == nil {
			_, err = p.Run(t.Context())
			p.Close()
		}
		if !errors.Is(err, errLocked) {
			t.Errorf("prune %d says %v", i, err)
		}
		fresh := openRepo(t, b)
		checkLoads(t, fresh, stays)
		checkClean(t, fresh)
	}
	prune(t, s, pruneOptions())
	forget(t, s, keep(t, s, pieces(30, 3)))
	prune(t, s, pruneOptions())
	noGarbage(t, openRepo(t, b), b)
	checkLoads(t, openRepo(t, b), stays)
}

var errLocked = errors.New("the object is locked until next year")

// Fault 27: a bit is flipped at every position of a repository that has been
// pruned: what is loaded is right or an error, and it is noticed wherever
// anything depends on it.
func TestFaultsFlipAfterPrune(t *testing.T) {
	t.Parallel()
	s, b := newRepo(t)
	list := []piece{{1, []byte("one")}, {2, []byte("a page")}}
	forget(t, s, keep(t, s, []piece{{1, []byte("gone")}, {2, []byte("another page")}}))
	c := keep(t, s, list)
	prune(t, s, pruneOptions())
	checkClean(t, s)
	all := objects(t, b)
	silent := map[string]int{}
	step := stride(t, 7)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, "keys/") { // as in TestFlipEverywhere; of them see package seal
			continue
		}
		for i := 0; i < len(all[name]); i += step {
			bad := bytes.Clone(all[name])
			bad[i] ^= 1 << (i % 8)
			if noticed(t, altered{b, map[string][]byte{name: bad}}, c.ID, list) == "" {
				silent[name]++
			}
		}
	}
	for name, n := range silent {
		if !strings.HasPrefix(name, "fates/0000000000/") { // they stay for one generation, and no view needs them
			t.Errorf("%s: %d flipped bits are noticed by nobody", name, n)
		}
	}
}

// Fault 29: the clocks of all who take part are ten years off, each in its own
// way, and jump. What nobody has asked to forget stays, and a session under way
// is not taken for dead for it.
func TestFaultsClocks(t *testing.T) {
	for name, wrap := range map[string]func(bucket.Bucket) bucket.Bucket{
		"with locks": func(b bucket.Bucket) bucket.Bucket { return b }, "without": func(b bucket.Bucket) bucket.Bucket { return noLocks{b} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, inner := newRepo(t)
				b := wrap(inner)
				years := func(n int) time.Duration { return time.Duration(n) * 365 * 24 * time.Hour }
				jump := atomic.Int64{}
				clock := func(off time.Duration) store.Env {
					env := new(logbook).env()
					env.Now = func() time.Time {
						if off != 0 {
							return time.Now().Add(off)
						}
						return time.Now().Add([]time.Duration{years(-10), years(10), 0, years(-60), time.Hour}[jump.Add(1)%5])
					}
					return env
				}
				var all []piece
				kept := 0
				for i, off := range []time.Duration{years(-10), years(10), 0, years(-60), 0, years(10)} {
					early := begin(t, b)
					s := openWith(t, b, clock(off))
					w, err := s.Begin(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					list := pieces(uint64(i), 8)
					gone := keep(t, s, append(pieces(uint64(20+i), 8), list...))
					forget(t, s, gone)
					for _, p := range []time.Duration{years(10), 0, years(-10)} {
						opt := pruneOptions()
						opt.Wait = time.Second
						plan, err := openWith(t, b, clock(p)).PlanPrune(t.Context(), opt)
						var wait *store.WaitError
						switch {
						case errors.As(err, &wait):
							continue
						case err != nil:
							t.Fatal(err)
						}
						if rep, err := plan.Run(t.Context()); err != nil || len(rep.Waiting) != 2 || rep.Dropped != 1 {
							t.Fatalf("%+v, %v", rep, err)
						}
						plan.Close()
					}
					time.Sleep(3 * time.Minute)
					commit(t, w, list)
					commit(t, early, list[:4])
					kept += 2
					all = append(all, list...)
					opt := pruneOptions()
					opt.Wait = time.Hour
					prune(t, openWith(t, b, clock(0)), opt)
				}
				fresh := openRepo(t, b)
				checkLoads(t, fresh, all)
				checkClean(t, fresh)
				noGarbage(t, fresh, b)
				if got := payloads(t, fresh); len(got) != kept {
					t.Errorf("%d commits, want %d", len(got), kept)
				}
			})
		})
	}
}

// A suspended bucket is that of a machine which is sent to sleep with the first
// pack that it writes: none of its calls goes on until it wakes up.
type suspended struct {
	bucket.Bucket
	asleep chan struct{}
	awake  chan struct{}
	once   sync.Once
}

func (m *suspended) still() {
	select {
	case <-m.asleep:
		<-m.awake
	default:
	}
}

func (m *suspended) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if strings.HasPrefix(name, "packs/") {
		m.once.Do(func() { close(m.asleep) })
	}
	m.still()
	return m.Bucket.Put(ctx, name, body, size)
}

func (m *suspended) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	m.still()
	return m.Bucket.Get(ctx, name, off, n)
}

// Fault 30: a machine sleeps for three days in the middle of a backup while
// others prune. Where there are locks they wait for it; elsewhere it is fenced,
// and the same again is good.
func TestFaultsSuspend(t *testing.T) {
	for _, locks := range []bool{true, false} {
		t.Run(fmt.Sprintf("locks=%v", locks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, inner := newRepo(t)
				var b bucket.Bucket = inner
				if !locks {
					b = noLocks{inner}
				}
				s := openRepo(t, b)
				list := pieces(1, 40)
				old := keep(t, s, list)
				m := &suspended{Bucket: b, asleep: make(chan struct{}), awake: make(chan struct{})}
				var machine bucket.Bucket = m
				if h, ok := bucket.As[bucket.Holder](b); ok {
					machine = struct {
						*suspended
						bucket.Holder
					}{m, h}
				}
				w := begin(t, machine)
				said := make(chan error)
				more := append(pieces(2, 40), list...)
				go func() {
					err := save(context.Background(), w, more)
					if err == nil {
						_, err = w.Commit(context.Background(), []byte(needs(more)))
					}
					said <- err
				}()
				<-m.asleep
				forget(t, s, old)
				for range 6 {
					time.Sleep(12 * time.Hour)
					opt := pruneOptions()
					opt.Wait = time.Hour
					p, err := s.PlanPrune(t.Context(), opt)
					var wait *store.WaitError
					if locks && errors.As(err, &wait) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if rep, err := p.Run(t.Context()); err != nil || locks != (len(rep.Waiting) == 1) && !p.Idle() {
						t.Fatalf("%+v, %v", rep, err)
					}
					p.Close()
				}
				close(m.awake)
				err := <-said
				if locks && err != nil || !locks && !errors.Is(err, store.ErrFenced) {
					t.Errorf("the backup says %v", err)
				}
				if err != nil {
					keep(t, openRepo(t, b), more)
				}
				prune(t, s, pruneOptions())
				fresh := openRepo(t, b)
				checkLoads(t, fresh, more)
				checkClean(t, fresh)
				if got := payloads(t, fresh); len(got) != 1 {
					t.Errorf("%d commits", len(got))
				}
				forget(t, s, keep(t, s, pieces(3, 3)))
				prune(t, s, pruneOptions())
				noGarbage(t, openRepo(t, b), b)
			})
		})
	}
}
