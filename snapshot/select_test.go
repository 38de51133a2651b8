package snapshot

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, s string) Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return TimeOf(v)
}

func someSnapshots(t *testing.T) []Snapshot {
	make := func(id, when, host string, seq uint64, state State, tags ...string) Snapshot {
		return Snapshot{ID: id, Manifest: Manifest{Host: host, Name: "default", Sequence: seq, State: state, Tags: tags,
			Effective: at(t, when), Sources: []Source{{Kind: "path", Spec: "./home", At: "/home"}}}}
	}
	return []Snapshot{
		make("cccc3333", "2026-11-20T10:00:30Z", "web", 4, WithErrors),
		make("aaaa1111", "2026-11-18T10:00:00Z", "web", 1, Complete, "keep", "daily"),
		make("bbbb2222", "2026-11-19T23:59:59.5Z", "db", 1, Complete, "daily"),
		make("bbbb9999", "2026-11-20T10:00:30Z", "web", 3, Complete),
		make("dddd4444", "2026-11-21T10:00:00Z", "web", 5, Incomplete),
	}
}

func TestSelect(t *testing.T) {
	all := someSnapshots(t)
	for _, c := range []struct {
		arg    string
		filter Filter
		id     string
		path   string
	}{
		{"latest", Filter{}, "cccc3333", "/"},
		{"latest~0", Filter{}, "cccc3333", "/"},
		{"latest~1", Filter{}, "bbbb9999", "/"},
		{"latest~2:/etc/", Filter{}, "bbbb2222", "/etc"},
		{"latest", Filter{Host: "db"}, "bbbb2222", "/"},
		{"latest", Filter{Tags: []string{"daily", "keep"}}, "aaaa1111", "/"},
		{"latest", Filter{Paths: []string{"/home"}}, "cccc3333", "/"},
		{"latest", Filter{Paths: []string{"./home"}, Name: "default"}, "cccc3333", "/"},
		{"2026-11-19", Filter{}, "bbbb2222", "/"},
		{"2026-11-19", Filter{Host: "web"}, "aaaa1111", "/"},
		{"2026-11-18", Filter{}, "aaaa1111", "/"},
		{"2026-12-31:/a/../b", Filter{}, "cccc3333", "/b"},
		{"2026-11-20T10:00", Filter{}, "cccc3333", "/"},
		{"2026-11-20T10:00:29", Filter{}, "bbbb2222", "/"},
		{"2026-11-20T11:00:30+01:00:/x", Filter{}, "cccc3333", "/x"},
		{"2026-11-19T23:59:59.4Z", Filter{}, "aaaa1111", "/"},
		{"2026-11-19T23:59:59.5Z", Filter{}, "bbbb2222", "/"},
		{"dddd", Filter{Host: "db"}, "dddd4444", "/"},
		{"BBBB2:", Filter{}, "bbbb2222", "/"},
		{"bbbb9999:/x", Filter{}, "bbbb9999", "/x"},
	} {
		s, p, err := Select(all, c.arg, c.filter)
		if err != nil || s.ID != c.id || p != c.path {
			t.Errorf("%q %+v: %q %q %v, want %q %q", c.arg, c.filter, s.ID, p, err, c.id, c.path)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	all := someSnapshots(t)
	for arg, want := range map[string]string{
		"abcd":       `no snapshot matches "abcd": run 'coffer snapshots' to list them`,
		"bbbb":       `"bbbb" matches 2 snapshots, give more digits of one of: bbbb2222, bbbb9999`,
		"bbb":        "at least 4 digits",
		"yesterday":  "say 'latest', a date like 2026-11-20",
		"latest~9":   "there are 4 complete ones here: run 'coffer snapshots'",
		"latest-1":   "say 'latest' or 'latest~1'",
		"latest~":    "say 'latest' or 'latest~1'",
		"2026-11-17": "is from \"2026-11-17\" or before",
		"":           "names no snapshot",
	} {
		_, _, err := Select(all, arg, Filter{})
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", arg, err)
		}
	}
	var e *SelectError
	if _, _, err := Select(all, "bbbb", Filter{}); !errors.As(err, &e) || len(e.Candidates) != 2 {
		t.Errorf("candidates: %+v", e)
	}
	if _, _, err := Select(nil, "latest", Filter{}); err == nil {
		t.Error("found one of none")
	}
}

func TestSelectForgotten(t *testing.T) {
	all := someSnapshots(t)
	all[0].Forgotten = true // cccc3333, the newest
	all[2].Forgotten = true // bbbb2222
	all[1].Forgotten, all[1].Holds = true, []Held{{}}
	for arg, want := range map[string]string{"latest": "bbbb9999", "latest~1": "aaaa1111", "2026-11-19": "aaaa1111", "bbbb": "bbbb9999", "aaaa": "aaaa1111"} {
		if s, _, err := Select(all, arg, Filter{}); err != nil || s.ID != want {
			t.Errorf("%q: %q, %v, want %q", arg, s.ID, err, want)
		}
	}
	for _, arg := range []string{"cccc", "bbbb2222", "BBBB2:/x"} {
		_, _, err := Select(all, arg, Filter{})
		var e *SelectError
		if !errors.As(err, &e) || len(e.Forgotten) != 8 || !strings.Contains(err.Error(), "forgotten: 'coffer undelete "+e.Forgotten+"' brings it back until the next prune") {
			t.Errorf("%q: %v", arg, err)
		}
	}
	if _, _, err := Select(all, "latest~2", Filter{}); err == nil {
		t.Error("a forgotten one is counted")
	}
	all[3].Forgotten = true
	if _, _, err := Select(all, "bbbb", Filter{}); err == nil || !strings.Contains(err.Error(), "matches 2 snapshots") {
		t.Errorf("two that are forgotten: %v", err)
	}
}

func TestSelectToUndelete(t *testing.T) {
	all := someSnapshots(t)
	all[1].Forgotten, all[1].Holds = true, []Held{{}}
	all[2].Forgotten = true
	for arg, want := range map[string]string{"aaaa": "aaaa1111", "bbbb": "bbbb2222", "bbbb2222": "bbbb2222"} {
		if s, err := SelectForgotten(all, arg); err != nil || s.ID != want {
			t.Errorf("%q: %q, %v", arg, s.ID, err)
		}
	}
	all[3].Forgotten = true
	for arg, want := range map[string]string{"bbbb": "matches 2", "cccc": "cccc3333 was not forgotten", "eeee": "no snapshot matches", "latest": "4 digits"} {
		if _, err := SelectForgotten(all, arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", arg, err)
		}
	}
	if all[0].ID != "cccc3333" || len(all) != 5 {
		t.Error("the list was changed")
	}
}
