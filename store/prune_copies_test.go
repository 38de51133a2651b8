package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"coffer/bucket"
	"coffer/bucket/mem"
	"coffer/store"
)

// storedTwice lets sessions that run at once store lists.
func storedTwice(t *testing.T, b bucket.Bucket, lists ...[]piece) (commits []store.Commit) {
	t.Helper()
	var sessions []*store.Session
	for range lists {
		w, err := openRepo(t, b).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, w)
	}
	for i, w := range sessions {
		if err := save(t.Context(), w, lists[i]); err != nil {
			t.Fatal(err)
		}
		c, err := w.Commit(t.Context(), []byte(needs(lists[i])))
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, c)
	}
	return commits
}

// rotten returns a bucket in which the blocks of a pack have rotted.
func rotten(t *testing.T, b *mem.Bucket, name string) altered {
	t.Helper()
	bad := bytes.Clone(objects(t, b)[name])
	for i := 64; i < len(bad)-200; i += 16 {
		bad[i] ^= 4
	}
	return altered{b, map[string][]byte{name: bad}}
}

// Of two copies of a chunk one counts. If that one has rotted, the pack with the
// other stays, or repair finds what is in it; also when segments have been merged,
// and one of the two lost its entry.
func TestPruneChecksTheCopyThatStays(t *testing.T) {
	for name, merge := range map[string]bool{"as written": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			for range 12 { // which copy counts, and which one the index knows, are chance
				checkTheCopyThatStays(t, merge)
			}
		})
	}
}

func checkTheCopyThatStays(t *testing.T, merge bool) {
	t.Helper()
	s, b := newRepo(t)
	list := pieces(1, 60)
	storedTwice(t, b, list, list)
	for i := 0; merge && i < 70; i++ {
		keep(t, s, pieces(uint64(100+i), 1))
	}
	if err := s.Tidy(t.Context(), listMarker{}); err != nil {
		t.Fatal(err)
	}
	counted, err := openRepo(t, b).PackOf(t.Context(), list[5].id())
	if err != nil {
		t.Fatal(err)
	}
	bad := rotten(t, b, counted)
	opt := pruneOptions()
	opt.MaxRepack = -1
	prune(t, openRepo(t, bad), opt)
	p, err := openRepo(t, bad).PlanRepair(t.Context(), store.RepairOptions{Marker: listMarker{}, Packs: []string{counted}})
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := p.Run(t.Context()); err != nil || len(rep.Lost) > 0 {
		t.Fatalf("%d chunks are lost, %v", len(rep.Lost), err)
	}
	checkLoads(t, openRepo(t, bad), list)
}

// The cache of the index says "not there" of chunks whose blocks in it have
// rotted. A prune does not go by that.
func TestPruneDoesNotTrustTheCache(t *testing.T) {
	_, b := newRepo(t)
	dir := t.TempDir()
	list, one, other := pieces(1, 40), pieces(2, 300), pieces(3, 300)
	commits := storedTwice(t, b, append(one[:300:300], list...), append(other[:300:300], list...))
	keep(t, openRepo(t, b), list)
	first, err := store.Open(t.Context(), b, cached(dir, new(logbook)), secret)
	if err == nil {
		err = first.Refresh(t.Context())
	}
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	forget(t, openRepo(t, b), commits...)
	tables, err := filepath.Glob(filepath.Join(dir, "*", "index", "table-0", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no table: %v", err)
	}
	for _, name := range tables {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 100; i < len(data)*6/10; i += 1500 {
			data[i] ^= 4
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prune(t, openWith(t, b, cached(dir, new(logbook))), pruneOptions())
	checkLoads(t, openRepo(t, b), list)
	checkClean(t, openRepo(t, b))
}
