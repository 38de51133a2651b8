package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/store"
)

// cached is an environment whose index goes into the cache at once.
func cached(dir string, log *logbook) store.Env {
	env := log.env()
	env.CacheDir, env.MemoryEntries = dir, 10
	return env
}

// TestCache: an index in the cache gives what one in memory gives, is used
// again, and is not read a second time.
func TestCache(t *testing.T) {
	_, b := newRepo(t)
	dir := t.TempDir()
	var all []piece
	for i := range uint64(4) {
		list := pieces(60+i, 15)
		var log logbook
		s, err := store.Open(t.Context(), b, cached(dir, &log), secret)
		if err != nil {
			t.Fatal(err)
		}
		mustBackup(t, s, "", list)
		all = append(all, list...)
		checkLoads(t, s, all)
		if err := s.Close(); err != nil || log.String() != "" {
			t.Errorf("%v: %s", err, &log)
		}
	}
	var tr buckettest.Trace
	s := openWith(t, tr.Wrap(b), cached(dir, new(logbook)))
	checkLoads(t, s, all)
	for _, c := range tr.Calls() {
		if c.Kind == buckettest.Get && strings.HasPrefix(c.Name, "index/") {
			t.Errorf("%s was read though the cache has it", c.Name)
		}
	}
	checkClean(t, s)
}

// TestCacheBusy: any number of processes use one repository, with the cache or
// without.
func TestCacheBusy(t *testing.T) {
	b, err := local.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	initRepo(t, b)
	dir := t.TempDir()
	list := pieces(65, 30)
	mustBackup(t, openWith(t, b, cached(dir, new(logbook))), "", list)
	var group sync.WaitGroup
	for i := range 6 {
		s := openWith(t, b, cached(dir, new(logbook)))
		group.Go(func() {
			checkLoads(t, s, list)
			more := pieces(uint64(70+i), 10)
			if _, err := backup(t.Context(), s, "", more); err != nil {
				t.Error(err)
			}
			if err := s.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			checkLoads(t, s, append(more, list...))
		})
	}
	group.Wait()
	checkClean(t, openWith(t, b, cached(dir, new(logbook))))
}

// TestCacheUnusable: a cache that cannot be made costs a warning.
func TestCacheUnusable(t *testing.T) {
	_, b := newRepo(t)
	list := pieces(66, 30)
	mustBackup(t, openRepo(t, b), "", list)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log logbook
	s := openWith(t, b, cached(file, &log))
	checkLoads(t, s, list)
	if !strings.Contains(log.String(), "cache") {
		t.Errorf("no warning: %s", &log)
	}
}

// TestCacheRots: each file of the cache is damaged in turn. Nobody sees more of
// it than a warning.
func TestCacheRots(t *testing.T) {
	_, b := newRepo(t)
	list := pieces(67, 60)
	mustBackup(t, openRepo(t, b), "", list)
	for n := 0; ; n++ {
		dir := t.TempDir()
		s, err := store.Open(t.Context(), b, cached(dir, new(logbook)), secret)
		if err != nil {
			t.Fatal(err)
		}
		checkLoads(t, s, list)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !rot(t, dir, n) {
			return
		}
		again := openWith(t, b, cached(dir, new(logbook)))
		checkLoads(t, again, list)
		if missing, err := again.Missing(t.Context(), ids(list)); len(missing) > 0 || err != nil {
			t.Errorf("file %d: %d are missing, %v", n, len(missing), err)
		}
	}
}

// rot flips bits all over the n-th file.
func rot(t *testing.T, dir string, n int) (done bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if n--; n >= 0 {
			return nil
		}
		data, err := os.ReadFile(path)
		for i := 0; i < len(data); i += 97 {
			data[i] ^= byte(i)
		}
		done = true
		return errors.Join(err, os.WriteFile(path, data, 0o600), fs.SkipAll)
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		t.Fatal(err)
	}
	return done
}

// TestRefreshFails: the index that is in use survives a refresh that fails.
func TestRefreshFails(t *testing.T) {
	_, b := newRepo(t)
	list := pieces(68, 30)
	mustBackup(t, openRepo(t, b), "", list)
	f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Prefix: "index/", Call: 1})
	s := openWith(t, f.Wrap(b), cached(t.TempDir(), new(logbook)))
	checkLoads(t, s, list)
	mustBackup(t, openRepo(t, b), "", pieces(69, 10))
	if err := s.Refresh(t.Context()); !errors.Is(err, buckettest.ErrInjected) {
		t.Errorf("refresh: %v", err)
	}
	checkLoads(t, s, list)
	if err := s.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	checkLoads(t, s, append(pieces(69, 10), list...))
}

// TestFewRequests: a small backup takes a handful of requests.
func TestFewRequests(t *testing.T) {
	_, b := newRepo(t)
	mustBackup(t, openRepo(t, b), "", pieces(70, 5))
	var c bucket.Counter
	s := openRepo(t, bucket.Counted(b, &c))
	opened := c.Counts()
	if _, err := backup(t.Context(), s, "", pieces(71, 4)); err != nil {
		t.Fatal(err)
	}
	n := c.Counts()
	if puts := n.Puts - opened.Puts; puts > 5 { // session, packs of both kinds, segment, fate
		t.Errorf("%d puts", puts)
	}
	if lists := n.Lists - opened.Lists; lists > 4 { // generations three times, fates
		t.Errorf("%d lists", lists)
	}
	if n.Deletes != 0 {
		t.Errorf("%d deletes", n.Deletes)
	}
}
