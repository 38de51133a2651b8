package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/store"
)

func TestRoundTrip(t *testing.T) {
	for name, make := range map[string]func() bucket.Bucket{
		"mem": func() bucket.Bucket { return mem.New() },
		"local": func() bucket.Bucket {
			b, err := local.Create(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := make()
			initRepo(t, b)
			s := openWith(t, b, store.Env{})
			first, second := pieces(1, 60), pieces(2, 10)
			a := mustBackup(t, s, "first", first)
			again := openRepo(t, b)
			c := mustBackup(t, again, "second", second)
			fresh := openRepo(t, b)
			if got := payloads(t, fresh); len(got) != 2 || got[a.ID] != "first" || got[c.ID] != "second" {
				t.Errorf("commits: %v", got)
			}
			checkLoads(t, fresh, append(first, second...))
			if rep := checkClean(t, fresh); rep.Orphans != 0 || rep.PacksRead != rep.Packs || rep.Chunks != 70 || rep.BytesRead != rep.Bytes {
				t.Errorf("%+v", rep)
			}
		})
	}
}

func TestDeduplication(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(3, 40)
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(save(t.Context(), w, list), save(t.Context(), w, list)); err != nil {
		t.Fatal(err)
	}
	if st := w.Stats(); st.NewChunks != 40 || st.ReusedChunks != 40 || st.NewBytes != st.ReusedBytes {
		t.Errorf("in one session: %+v", st)
	}
	if _, err := w.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for what, other := range map[string]*store.Store{"the same store": s, "another store": openRepo(t, b)} {
		w, err := other.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := save(t.Context(), w, list); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if st := w.Stats(); st.NewChunks != 0 || st.Packs != 0 || st.Stored != 0 {
			t.Errorf("%s: %+v", what, st)
		}
	}
}

// TestConcurrentSessions: what two sessions save at the same time both have.
func TestConcurrentSessions(t *testing.T) {
	s, b := newRepo(t)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			list := append(pieces(4, 30), pieces(uint64(10+i), 10)...)
			if _, err := backup(t.Context(), s, fmt.Sprint(i), list); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	fresh := openRepo(t, b)
	if got := payloads(t, fresh); len(got) != 4 {
		t.Errorf("%v", got)
	}
	for i := range 4 {
		checkLoads(t, fresh, append(pieces(4, 30), pieces(uint64(10+i), 10)...))
	}
	checkClean(t, fresh)
}

// TestConcurrentSaves: one session, many savers of the same chunks.
func TestConcurrentSaves(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(5, 100)
	_, err := s.Write(t.Context(), func(ctx context.Context, w *store.Session) ([]byte, error) {
		var group sync.WaitGroup
		errs := make(chan error, 8)
		for i := range 8 {
			group.Go(func() {
				mine := append([]piece(nil), list...)
				rand.New(rand.NewPCG(uint64(i), 0)).Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				errs <- save(ctx, w, mine)
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return nil, err
			}
		}
		if st := w.Stats(); st.NewChunks != 100 || st.ReusedChunks != 700 {
			t.Errorf("%+v", st)
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fresh := openRepo(t, b)
	checkLoads(t, fresh, list)
	checkClean(t, fresh)
}

// TestNothingBeforeCommit: not while it runs, and not after it was given up.
func TestNothingBeforeCommit(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(6, 30)
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unseen := func(when string) {
		t.Helper()
		other := openRepo(t, b)
		if got := payloads(t, other); len(got) != 0 {
			t.Errorf("%s: %v", when, got)
		}
		var damage *store.DamageError
		if _, err := other.Load(t.Context(), list[0].kind, list[0].id()); !errors.As(err, &damage) {
			t.Errorf("%s: load: %v", when, err)
		}
	}
	if err := errors.Join(save(t.Context(), w, list), w.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	unseen("before the commit")
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	unseen("after the abort")
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("abort twice: %v", err)
	}
	if _, err := w.Save(t.Context(), chunk.Data, []byte("late")); err == nil {
		t.Error("an ended session saves")
	}
	if rep := checkClean(t, openRepo(t, b)); rep.Orphans == 0 || rep.Packs != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestWriteAborts(t *testing.T) {
	s, b := newRepo(t)
	mine := errors.New("source failed")
	_, err := s.Write(t.Context(), func(ctx context.Context, w *store.Session) ([]byte, error) {
		return nil, errors.Join(save(ctx, w, pieces(7, 20)), mine)
	})
	if !errors.Is(err, mine) || len(payloads(t, openRepo(t, b))) != 0 {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Write(ctx, func(ctx context.Context, w *store.Session) ([]byte, error) {
		err := save(ctx, w, pieces(7, 20))
		cancel()
		return nil, err
	})
	if !errors.Is(err, context.Canceled) || len(payloads(t, openRepo(t, b))) != 0 {
		t.Errorf("%v", err)
	}
	names, _ := buckettest.Names(t.Context(), b, "fates/", "")
	if len(names) != 2 {
		t.Errorf("two sessions were given up and there are the fates %q", names)
	}
}

// TestViewOfASession: a session sees what was committed when it began, and says
// so.
func TestViewOfASession(t *testing.T) {
	s, _ := newRepo(t)
	list := pieces(8, 10)
	c := mustBackup(t, s, "parent", list)
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Commits(); len(got) != 1 || got[0].ID != c.ID {
		t.Errorf("%v", got)
	}
	if got, err := w.Load(t.Context(), list[3].kind, list[3].id()); err != nil || !bytes.Equal(got, list[3].data) {
		t.Error(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKindsAreApart: file data can not pose as a directory.
func TestKindsAreApart(t *testing.T) {
	s, _ := newRepo(t)
	p := piece{chunk.Data, []byte("looks like a directory")}
	mustBackup(t, s, "", []piece{p})
	var damage *store.DamageError
	for _, id := range []chunk.ID{p.id(), chunk.Sum(chunk.Tree, p.data)} {
		if got, err := s.Load(t.Context(), chunk.Tree, id); !errors.As(err, &damage) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestNoPlainText: nothing of what a host sends can be read in the repository.
func TestNoPlainText(t *testing.T) {
	s, b := newRepo(t)
	marker := "MARKER-of-plain-text-0123456789"
	list := []piece{{chunk.Data, []byte(marker)}, {chunk.Tree, []byte(marker + "name")},
		{chunk.Data, []byte(strings.Repeat(marker, 10_000))}, {chunk.Data, append(pieces(9, 7)[6].data, marker...)}}
	mustBackup(t, s, marker, list)
	for name, data := range objects(t, b) {
		for _, text := range []string{marker[:12], "host-of-the-tests", "key file of"} {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s has %q in the clear", name, text)
			}
		}
		for _, p := range list {
			if id := p.id(); bytes.Contains(data, id[:8]) {
				t.Errorf("%s has a chunk's id in the clear", name)
			}
		}
	}
}
