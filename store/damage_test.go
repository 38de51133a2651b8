package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/store"
)

// An altered bucket has other bytes in some objects, or none of them where the
// bytes are nil. The bucket itself is left alone.
type altered struct {
	bucket.Bucket
	objects map[string][]byte
}

func (a altered) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	data, ok := a.objects[name]
	if !ok {
		return a.Bucket.Get(ctx, name, off, n)
	}
	other := mem.New()
	if data != nil {
		if err := other.Put(ctx, name, bytes.NewReader(data), int64(len(data))); err != nil {
			return nil, err
		}
	}
	return other.Get(ctx, name, off, n)
}

func (a altered) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for info, err := range a.Bucket.List(ctx, prefix, after) {
			data, ok := a.objects[info.Name]
			if ok && data == nil {
				continue
			}
			if ok {
				info.Size = int64(len(data))
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// tiny is a repository of a few hundred bytes in each object.
func tiny(t testing.TB) (b *mem.Bucket, commit string, list []piece) {
	t.Helper()
	s, b := newRepo(t)
	list = []piece{{chunk.Data, []byte("one")}, {chunk.Data, []byte("the second")}, {chunk.Data, nil}, {chunk.Tree, []byte("a page")}}
	return b, mustBackup(t, s, "payload", list).ID, list
}

// TestFlipEverywhere flips a bit of every byte of a small repository.
func TestFlipEverywhere(t *testing.T) {
	t.Parallel()
	b, commit, list := tiny(t)
	all := objects(t, b)
	step := 1
	if testing.Short() {
		step = 3
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for i := 0; i < len(all[name]); i += step {
			bad := bytes.Clone(all[name])
			bad[i] ^= 1 << (i % 8)
			found := noticed(t, altered{b, map[string][]byte{name: bad}}, commit, list)
			// A slot has bytes that are for people, and the second one nobody opens.
			if found == "" && !strings.HasPrefix(name, "keys/") {
				t.Errorf("%s: nobody notices byte %d of %d", name, i, len(bad))
			}
		}
	}
}

// TestObjectDamage deletes, empties, cuts and lengthens every object.
func TestObjectDamage(t *testing.T) {
	b, commit, list := tiny(t)
	all := objects(t, b)
	for name, data := range all {
		for how, bad := range map[string][]byte{"deleted": nil, "emptied": {}, "cut": data[:len(data)/2], "cut by one": data[:len(data)-1],
			"lengthened": append(bytes.Clone(data), 0), "filled with zeros": make([]byte, len(data))} {
			found := noticed(t, altered{b, map[string][]byte{name: bad}}, commit, list)
			harmless := strings.HasPrefix(name, "keys/") || how == "deleted" && strings.HasPrefix(name, "sessions/")
			if found == "" && !harmless {
				t.Errorf("%s %s: nobody notices", name, how)
			}
			if strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "index/") {
				if !strings.Contains(found, name) {
					t.Errorf("%s %s: its name is not told: %s", name, how, found)
				}
			}
		}
	}
}

// TestSwapped: the provider gives each object under the name of each other one.
func TestSwapped(t *testing.T) {
	b, commit, list := tiny(t)
	all := objects(t, b)
	for x := range all {
		for y := range all {
			if x >= y {
				continue
			}
			swapped := map[string][]byte{x: all[y], y: all[x]}
			if found := noticed(t, altered{b, swapped}, commit, list); found == "" {
				t.Errorf("%s and %s: nobody notices", x, y)
			}
		}
	}
}

// TestReadFaults: reading a pack goes wrong once, or always.
func TestReadFaults(t *testing.T) {
	_, b := newRepo(t)
	list := pieces(40, 30)
	mustBackup(t, openRepo(t, b), "", list)
	for name, fault := range map[string]buckettest.Fault{
		"fails": buckettest.FailBefore, "fails half-way": buckettest.FailAfter, "short": buckettest.Short, "flipped": buckettest.Flip, "absent": buckettest.Absent,
	} {
		t.Run(name, func(t *testing.T) {
			once := openRepo(t, buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Prefix: "packs/", Fault: fault}).Wrap(b))
			if got, err := once.Load(t.Context(), list[5].kind, list[5].id()); err != nil || !bytes.Equal(got, list[5].data) {
				t.Errorf("once: %v", err)
			}
			faults := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Prefix: "packs/", Fault: fault}).Wrap(b)
			checkLoads(t, openRepo(t, faults), list)

			always := openRepo(t, buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Prefix: "packs/", Times: -1, Fault: fault}).Wrap(b))
			for _, p := range list {
				_, err := always.Load(t.Context(), p.kind, p.id())
				var damage *store.DamageError
				if !errors.As(err, &damage) || damage.Chunk != p.id() || !strings.HasPrefix(damage.Pack, "packs/") {
					t.Fatalf("always: %v", err)
				}
				if !strings.Contains(err.Error(), damage.Pack) || !strings.Contains(err.Error(), p.id().Short()) {
					t.Errorf("it says too little: %v", err)
				}
			}
		})
	}
}

// TestEachErrors: chunks that are missing or damaged give errors to the callback
// and nothing else.
func TestEachErrors(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(41, 14)
	mustBackup(t, s, "", list)
	var want []chunk.ID // of data: some twice, one missing
	for _, p := range list {
		if p.kind == chunk.Data {
			want = append(want, p.id())
		}
	}
	missing := chunk.Sum(chunk.Data, []byte("never saved"))
	want = append(want, missing, want[0], want[1], want[0], missing)
	pack, err := s.PackOf(t.Context(), want[2])
	if err != nil {
		t.Fatal(err)
	}
	bad := openRepo(t, altered{b, map[string][]byte{pack: nil}})
	var mu sync.Mutex
	calls := make([]error, len(want))
	count := 0
	err = bad.Each(t.Context(), chunk.Data, want, func(i int, data []byte, err error) error {
		mu.Lock()
		defer mu.Unlock()
		count++
		calls[i] = err
		if err == nil && chunk.Sum(chunk.Data, data) != want[i] {
			t.Errorf("index %d: wrong bytes", i)
		}
		return nil
	})
	if err != nil || count != len(want) {
		t.Errorf("%d calls, %v", count, err)
	}
	for i, id := range want {
		in, _ := bad.PackOf(t.Context(), id)
		var damage *store.DamageError
		if lost := id == missing || in == pack; lost != errors.As(calls[i], &damage) {
			t.Errorf("index %d: %v", i, calls[i])
		}
	}
}

func TestEachStops(t *testing.T) {
	s, _ := newRepo(t)
	list := pieces(42, 60)
	mustBackup(t, s, "", list)
	mine := errors.New("enough")
	err := s.Each(t.Context(), chunk.Data, ids(list), func(int, []byte, error) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.Each(ctx, chunk.Data, ids(list), func(_ int, _ []byte, err error) error {
		if err == nil {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Each(t.Context(), chunk.Data, nil, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	cancel()
	if _, err := s.Load(ctx, list[0].kind, list[0].id()); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
}

// TestCheckIsExact: one bad spot in a pack costs the chunks of one block.
func TestCheckIsExact(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(43, 30)
	mustBackup(t, s, "", list)
	for name, data := range objects(t, b) {
		if !strings.HasPrefix(name, "packs/") || len(data) < 1000 {
			continue
		}
		for _, bad := range [][]byte{flipped(data, 300), flipped(data, len(data)-10), flipped(data, len(data)-100), data[:len(data)-1]} {
			damaged := openRepo(t, altered{b, map[string][]byte{name: bad}})
			found := map[chunk.ID]bool{}
			whole := false
			_, err := damaged.Check(t.Context(), store.CheckOptions{Data: true, Damage: func(d *store.DamageError) {
				if d.Pack != name {
					t.Errorf("another pack: %v", d)
				}
				found[d.Chunk] = true
				whole = whole || d.Whole
			}})
			if err != nil || whole || len(found) == 0 {
				t.Errorf("%v, %v, %d found", err, whole, len(found))
			}
			for _, p := range list {
				_, err := damaged.Load(t.Context(), p.kind, p.id())
				if (err != nil) != found[p.id()] {
					t.Errorf("%s: load says %v, check says %v", p.id().Short(), err, found[p.id()])
				}
			}
		}
	}
}

func flipped(data []byte, at int) []byte {
	bad := bytes.Clone(data)
	bad[at] ^= 4
	return bad
}

func TestCheckSubset(t *testing.T) {
	s, b := newRepo(t)
	mustBackup(t, s, "", pieces(44, 60))
	names, _ := buckettest.Names(t.Context(), b, "packs/", "")
	gone := openRepo(t, altered{b, map[string][]byte{names[0]: nil, names[1]: {1, 2, 3}}})
	var last int64
	var found []string
	rep, err := gone.Check(t.Context(), store.CheckOptions{Data: true,
		Pick: func(all []string) []string {
			if !slices.Equal(all, names) {
				t.Errorf("to pick from: %q", all)
			}
			return all[2:4]
		},
		Damage: func(d *store.DamageError) { found = append(found, fmt.Sprint(d.Pack, d.Whole)) },
		Report: func(done, total int64) {
			if done <= last || done > total {
				t.Errorf("%d after %d of %d", done, last, total)
			}
			last = done
		}})
	slices.Sort(found)
	if err != nil || rep.PacksRead != 2 || rep.BytesRead != last || rep.Packs != len(names) {
		t.Errorf("%+v, %v", rep, err)
	}
	if !slices.Equal(found, []string{names[0] + "true", names[1] + "true"}) {
		t.Errorf("%q", found)
	}
	if _, err := gone.Check(t.Context(), store.CheckOptions{}); err != nil { // nobody listens
		t.Error(err)
	}
}

// TestListLies: a listing without some packs is not believed.
func TestListLies(t *testing.T) {
	_, b := newRepo(t)
	mustBackup(t, openRepo(t, b), "", pieces(45, 30))
	for _, fault := range []buckettest.Fault{buckettest.Absent, buckettest.Short} {
		f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.List, Prefix: "packs/", Times: -1, Fault: fault})
		checkClean(t, openRepo(t, f.Wrap(b)))
	}
	f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.List, Prefix: "generations/", Times: -1, Fault: buckettest.Absent})
	s := openRepo(t, f.Wrap(b))
	if _, err := s.Begin(t.Context()); err == nil {
		t.Error("a session begins without a generation")
	}
}
