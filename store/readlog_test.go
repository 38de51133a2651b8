package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/store"
)

// A clock is set by hand.
type clock struct{ now time.Time }

func (c *clock) env() store.Env {
	env := new(logbook).env()
	env.Now = func() time.Time { return c.now }
	return env
}

func readTimes(t testing.TB, s *store.Store) map[string]time.Time {
	t.Helper()
	times, err := s.ReadTimes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// readPacks checks the packs that pick leaves, and records it.
func readPacks(t testing.TB, s *store.Store, pick func([]string) []string) {
	t.Helper()
	opt := store.CheckOptions{Data: true, Log: true, Pick: pick, Damage: func(*store.DamageError) {}}
	if _, err := s.Check(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
}

func TestReadLog(t *testing.T) {
	_, b := newRepo(t)
	c := &clock{now: time.Unix(1_000_000, 0)}
	s := openWith(t, b, c.env())
	keep(t, s, pieces(1, 40))
	names, err := buckettest.Names(t.Context(), b, "packs/", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := readTimes(t, s); len(got) != 0 {
		t.Errorf("before any read: %v", got)
	}
	checkClean(t, s) // does not record
	if n, _ := stored(t, b, "notes/"); n != 0 {
		t.Errorf("%d notes", n)
	}
	readPacks(t, s, func([]string) []string { return names[:2] })
	early := c.now
	c.now = c.now.Add(time.Hour)
	readPacks(t, s, func([]string) []string { return names[1:3] })
	want := map[string]time.Time{names[0]: early, names[1]: c.now, names[2]: c.now}
	if got := readTimes(t, openWith(t, b, c.env())); !maps.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
	if n, _ := stored(t, b, "notes/"); n != 2 {
		t.Errorf("%d notes of two reads", n)
	}
	if notes, err := s.Notes(t.Context()); err != nil || len(notes) != 0 {
		t.Errorf("they are notes to others: %v, %v", notes, err)
	}
}

// TestReadLogDamage: a pack with damage in it does not count as read.
func TestReadLogDamage(t *testing.T) {
	_, b := newRepo(t)
	keep(t, openRepo(t, b), pieces(1, 40))
	all := objects(t, b)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(n string) bool { return !strings.HasPrefix(n, "packs/") })
	s := openRepo(t, altered{b, map[string][]byte{names[0]: flipped(all[names[0]], 300), names[1]: flipped(all[names[1]], len(all[names[1]])-1), names[2]: nil}})
	readPacks(t, s, nil)
	got := readTimes(t, s)
	if len(got) != len(names)-3 || !got[names[0]].IsZero() || !got[names[1]].IsZero() || !got[names[2]].IsZero() {
		t.Errorf("%v", got)
	}
}

// TestReadLogFuture: a clock that was wrong does not keep packs from being read
// until other clocks get there, nor hides when they were really read.
func TestReadLogFuture(t *testing.T) {
	_, b := newRepo(t)
	c := &clock{now: time.Unix(1_000_000, 0)}
	s := openWith(t, b, c.env())
	keep(t, s, pieces(1, 40))
	names, _ := buckettest.Names(t.Context(), b, "packs/", "")
	first := c.now
	readPacks(t, s, func([]string) []string { return names[:1] })
	c.now = c.now.AddDate(10, 0, 0)
	readPacks(t, s, nil)
	if got := readTimes(t, s); len(got) != len(names) {
		t.Errorf("%d of %d", len(got), len(names))
	}
	c.now = c.now.AddDate(-9, 0, 0)
	if got := readTimes(t, s); len(got) != 1 || !got[names[0]].Equal(first) {
		t.Errorf("nine years before that: %v", got)
	}
}

// TestReadLogCancelled: what was read before counts.
func TestReadLogCancelled(t *testing.T) {
	s, _ := newRepo(t)
	keep(t, s, pieces(1, 60))
	ctx, cancel := context.WithCancel(t.Context())
	rep, err := s.Check(ctx, store.CheckOptions{Data: true, Log: true, Report: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) || rep.PacksRead == 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	if got := readTimes(t, s); len(got) != rep.PacksRead {
		t.Errorf("%d recorded, %d read", len(got), rep.PacksRead)
	}
}

// TestReadLogReadOnly: where nothing can be written, the check is none the worse.
func TestReadLogReadOnly(t *testing.T) {
	_, b := newRepo(t)
	keep(t, openRepo(t, b), pieces(1, 10))
	book := new(logbook)
	s := openWith(t, bucket.ReadOnly(b), book.env())
	readPacks(t, s, nil)
	if !strings.Contains(book.String(), "could not record") {
		t.Errorf("it says %q", book)
	}
}

// TestFoldNotes: many notes become one, which says the same, and no reader misses
// one meanwhile.
func TestFoldNotes(t *testing.T) {
	_, b := newRepo(t)
	c := &clock{now: time.Unix(1_000_000, 0)}
	s := openWith(t, b, c.env())
	gone := keep(t, s, pieces(1, 40))
	keep(t, s, pieces(2, 40))
	for i := range 40 {
		readPacks(t, s, nil)
		c.now = c.now.Add(time.Hour)
		if err := s.PutNote(t.Context(), fmt.Append(nil, i, ",")); err != nil {
			t.Fatal(err)
		}
	}
	put(t, b, "notes/"+strings.Repeat("0", 32), []byte("damaged")) // stays as it is
	before := readTimes(t, s)
	opt := pruneOptions()
	opt.Fold = func(notes []store.Note, exists func(string) bool) (payload []byte, folded []string, err error) {
		if exists(gone.ID) {
			t.Error("a note may be about what is gone")
		}
		for _, n := range notes {
			if strings.HasPrefix(string(n.Payload), "13") {
				err = errors.New("this one nobody understands")
				continue
			}
			payload, folded = append(payload, n.Payload...), append(folded, n.ID)
		}
		return payload, folded, err
	}
	forget(t, s, gone)
	prune(t, s, opt)
	if n, _ := stored(t, b, "notes/"); n != 3 {
		t.Errorf("%d notes", n)
	}
	notes, err := s.Notes(t.Context())
	said := ""
	for _, n := range notes {
		said += string(n.Payload)
	}
	if err != nil || strings.Count(said, ",") != 40 {
		t.Errorf("%q, %v", said, err)
	}
	names, _ := buckettest.Names(t.Context(), b, "packs/", "")
	after := readTimes(t, openWith(t, b, c.env()))
	for name, at := range before {
		if alive := slices.Contains(names, name); alive && !after[name].Equal(at) || !alive && !after[name].IsZero() {
			t.Errorf("%s (alive %v): read %v, after the fold %v", name, alive, at, after[name])
		}
	}
	if len(after) == 0 {
		t.Error("all is forgotten")
	}
}

// TestNotesMoveWhileRead: a note that vanishes between the listing and the
// reading has become another one.
func TestNotesMoveWhileRead(t *testing.T) {
	_, b := newRepo(t)
	s := openRepo(t, b)
	if err := s.PutNote(t.Context(), []byte("said")); err != nil {
		t.Fatal(err)
	}
	names, _ := buckettest.Names(t.Context(), b, "notes/", "")
	moving := &movingNote{Bucket: b, name: names[0], move: func() {
		if err := s.PutNote(t.Context(), []byte("said")); err != nil {
			t.Error(err)
		}
		if err := b.Delete(t.Context(), names[0]); err != nil {
			t.Error(err)
		}
	}}
	notes, err := openRepo(t, moving).Notes(t.Context())
	if err != nil || len(notes) != 1 || string(notes[0].Payload) != "said" {
		t.Errorf("%v, %v", notes, err)
	}
}

// A movingNote is gone when somebody comes to read it.
type movingNote struct {
	bucket.Bucket
	name string
	move func()
}

func (m *movingNote) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if name == m.name && m.move != nil {
		m.move()
		m.move = nil
	}
	return m.Bucket.Get(ctx, name, off, n)
}
