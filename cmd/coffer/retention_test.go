package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket/mem"
	"coffer/policy"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/store"
)

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2027-06-30":                "2027-06-30T23:59:59Z",
		"2027-06-30T10:00":          "2027-06-30T10:00:00Z",
		"2027-06-30T10:00:00+02:00": "2027-06-30T08:00:00Z",
		"36h":                       "2026-02-01T22:00:00Z",
		"2w3d":                      "2026-02-17T10:00:00Z",
		"1y":                        "2027-01-31T10:00:00Z",
	} {
		if got, err := parseUntil(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "0d", "90", "30.6.2027", "2027-13-01"} {
		if got, err := parseUntil(text, now); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

// A snapshot that was forgotten and is held takes no place in a rule, and one
// whose holds have all ended goes with them.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	a := &app{now: func() time.Time { return now }}
	day := func(n int) snapshot.Time { return snapshot.TimeOf(time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)) }
	snap := func(id string, n int, change func(*snapshot.Snapshot)) snapshot.Snapshot {
		s := snapshot.Snapshot{ID: id, Records: []string{id}, Manifest: snapshot.Manifest{Host: "h", Name: "n", State: snapshot.Complete, Effective: day(n)}}
		if change != nil {
			change(&s)
		}
		return s
	}
	hold := func(until snapshot.Time) []snapshot.Held {
		return []snapshot.Held{{Record: "hold", Hold: snapshot.Hold{Reason: "r", Until: until}}}
	}
	all := []snapshot.Snapshot{
		snap("held", 1, func(s *snapshot.Snapshot) { s.Holds = hold(snapshot.Time{}) }),
		snap("ended", 2, func(s *snapshot.Snapshot) { s.Holds = hold(day(3)) }),
		snap("old", 3, nil),
		snap("last", 4, nil),
		snap("broken", 5, func(s *snapshot.Snapshot) { s.State = snapshot.Incomplete }),
		snap("gone", 6, func(s *snapshot.Snapshot) { s.Records, s.Forgotten, s.Holds = nil, true, hold(snapshot.Time{}) }),
		snap("over", 7, func(s *snapshot.Snapshot) { s.Records, s.Forgotten, s.Holds = nil, true, hold(day(3)) }),
	}
	groups := a.judge(all, policy.Rules{Last: 1}, grouping{host: true, name: true}, now)
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	want := map[string]string{
		"held":   "keep: held without an end: r",
		"ended":  "ended,hold",
		"old":    "old",
		"last":   "keep: last 1 of 1; the last good one",
		"broken": "keep: incomplete, newer than any complete one",
		"gone":   "keep: held without an end: r",
		"over":   "hold",
	}
	for _, v := range groups[0].list {
		got := strings.Join(v.commits(), ",")
		if v.keep {
			got = "keep: " + strings.Join(v.reasons, "; ")
		}
		if got != want[v.ID] {
			t.Errorf("%s: %q, want %q (%v)", v.ID, got, want[v.ID], v.reasons)
		}
	}
}

// A record that cannot be read hides none of the others, and is no secret.
func TestUnreadableRecord(t *testing.T) {
	ctx := t.Context()
	st := newTestStore(t)
	good, err := snapshot.EncodeManifest(&snapshot.Manifest{Host: "h", Name: "n", State: snapshot.Complete})
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{good, []byte("from the future")} {
		if _, err := st.Write(ctx, func(context.Context, *store.Session) ([]byte, error) { return payload, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.PutNote(ctx, []byte("from the future, too")); err != nil {
		t.Fatal(err)
	}
	if err := st.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if list, err := snapshots(ctx, st); err == nil || len(list) != 1 {
		t.Errorf("%d snapshots, %v: want one, and an error", len(list), err)
	}
	var out bytes.Buffer
	a := &app{stderr: &out}
	for range 2 {
		if list, err := a.presentSnapshots(ctx, st); err != nil || len(list) != 1 {
			t.Errorf("%d snapshots, %v: want one", len(list), err)
		}
	}
	if n := strings.Count(out.String(), "warning: left out of the list: "); n != 1 {
		t.Errorf("%d warnings: %s", n, &out)
	}
}

// What a prune has dropped cannot be held or brought back any more.
func TestCommitAgain(t *testing.T) {
	ctx := t.Context()
	st := newTestStore(t)
	c, err := st.Write(ctx, func(ctx context.Context, w *store.Session) ([]byte, error) {
		root, _, err := snapshot.NewListing(w).Close(ctx)
		if err != nil {
			return nil, err
		}
		return snapshot.EncodeManifest(&snapshot.Manifest{Host: "h", Name: "n", State: snapshot.Complete, Root: root, Tags: []string{"t"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	only := func() snapshot.Snapshot {
		t.Helper()
		if err := st.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		all, err := everySnapshot(ctx, st)
		if err != nil || len(all) != 1 || all[0].ID != c.ID || !slices.Equal(all[0].Tags, []string{"t"}) {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	s := only()
	if _, err := commitAgain(ctx, st, s, &snapshot.Hold{Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if s = only(); len(s.Holds) != 1 || s.Forgotten {
		t.Fatalf("%+v", s)
	}
	if err := st.Forget(ctx, commitsOf(s)); err != nil {
		t.Fatal(err)
	}
	if s = only(); !s.Forgotten || s.Present() {
		t.Fatalf("%+v", s)
	}
	if _, err := commitAgain(ctx, st, s, nil); err != nil {
		t.Fatal(err)
	}
	if s = only(); s.Forgotten || len(s.Holds) != 0 || len(s.Records) != 1 {
		t.Fatalf("%+v", s)
	}
	s.Records, s.Asked = []string{"gone"}, nil
	if _, err := commitAgain(ctx, st, s, nil); !errors.Is(err, errPruned) {
		t.Errorf("%v, want %v", err, errPruned)
	}
}

func newTestStore(t *testing.T) *store.Store {
	t.Helper()
	b := mem.New()
	key, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: seal.Secret{Kind: seal.Open}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), b, store.Env{}, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}
