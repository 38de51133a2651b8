package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

func TestFind(t *testing.T) {
	var m snapshottest.Mem
	root := tree(t, &m, "home/a/x.txt=1", "home/a/deep/y.txt=22", "home/b/z.jpg=333", "home/l->x.txt", "etc/x.txt=4444", "usr/lib/q=")
	two := int64(2)
	for _, c := range []struct {
		q     Query
		want  string
		loads int // listings, at most
	}{
		{Query{Name: "*.txt"}, "/etc/x.txt /home/a/deep/y.txt /home/a/x.txt", 8},
		{Query{Path: "/home/*/*.txt"}, "/home/a/x.txt", 5},
		{Query{Path: "home/**/*.txt"}, "/home/a/deep/y.txt /home/a/x.txt", 5},
		{Query{Path: "/etc/x.txt"}, "/etc/x.txt", 2},
		{Query{Path: "/{etc,home/b}/*"}, "/etc/x.txt /home/b/z.jpg", 8},
		{Query{Types: []Type{Symlink}}, "/home/l", 8},
		{Query{MinSize: 3}, "/etc/x.txt /home/b/z.jpg", 8},
		{Query{MinSize: 1, MaxSize: &two}, "/home/a/deep/y.txt /home/a/x.txt", 8},
		{Query{Name: "x*", Before: time.Unix(0, 0)}, "", 8},
		{Query{Name: "x*", After: time.Unix(0, 0)}, "/etc/x.txt /home/a/x.txt", 8},
	} {
		var got []string
		m.ResetLoads()
		err := Find(t.Context(), &m, root, c.q, func(p string, _ *Entry) error {
			got = append(got, p)
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want || len(m.Loads()) > c.loads {
			t.Errorf("%+v: %q, %v, %d pages", c.q, got, err, len(m.Loads()))
		}
	}
	if err := Find(t.Context(), &m, root, Query{Name: "[a"}, nil); err == nil {
		t.Error("a bad pattern is taken")
	}
}

func diffs(t *testing.T, m *snapshottest.Mem, a, b chunk.ID) string {
	t.Helper()
	var out []string
	err := Diff(t.Context(), m, a, b, func(c Change) error {
		if (c.Old == nil) != (c.Kind == Added) || (c.New == nil) != (c.Kind == Removed) {
			t.Errorf("%+v", c)
		}
		out = append(out, fmt.Sprint(c.Kind, " ", c.Path, c.Fields))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

func TestDiff(t *testing.T) {
	var m snapshottest.Mem
	a := tree(t, &m, "d/same=1", "d/gone=2", "d/mod=3", "e/x=5", "f=6", "l->a", "z=")
	b := tree(t, &m, "d/same=1", "d/mod=44", "d/new/n=1", "e=5", "f/x=6", "l->b", "z=")
	want := "removed /d/gone[], modified /d/mod[size content], added /d/new[], added /d/new/n[], " +
		"type /e[type mode content], removed /e/x[], type /f[type mode content], added /f/x[], " +
		"modified /l[target]"
	if got := diffs(t, &m, a, b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := diffs(t, &m, a, a); got != "" {
		t.Error(got)
	}
	if got := diffs(t, &m, chunk.ID{}, tree(t, &m, "a/b=")); got != "added /a[], added /a/b[]" {
		t.Error(got)
	}
	if got := diffs(t, &m, tree(t, &m, "a/b="), chunk.ID{}); got != "removed /a[], removed /a/b[]" {
		t.Error(got)
	}
	var n int
	err := Diff(t.Context(), &m, a, b, func(c Change) error {
		n++
		if c.Path == "/d/new" {
			return fs.SkipDir
		}
		if c.Path == "/d/new/n" {
			t.Error("skipped directory is looked into")
		}
		if c.Path == "/e" {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil || n != 4 {
		t.Errorf("%d changes, %v", n, err)
	}
}

// TestDiffLarge compares page by page against comparing name by name.
func TestDiffLarge(t *testing.T) {
	var m snapshottest.Mem
	all := manyEntries(20000)
	base := save(t, &m, all...)
	for _, drop := range [][2]int{{0, 1}, {10000, 10001}, {19999, 20000}, {300, 9000}, {0, 19999}} {
		rest := append(append([]*Entry{}, all[:drop[0]]...), all[drop[1]:]...)
		other := save(t, &m, rest...)
		m.ResetLoads()
		n, i := 0, drop[0]
		err := Diff(t.Context(), &m, base, other, func(c Change) error {
			if c.Kind != Removed || c.Path != "/"+all[i].Name {
				return fmt.Errorf("%s %s", c.Kind, c.Path)
			}
			n, i = n+1, i+1
			return nil
		})
		if err != nil || n != drop[1]-drop[0] {
			t.Errorf("%v: %d changes, %v", drop, n, err)
		}
		if loads := len(m.Loads()); n == 1 && loads > 10 {
			t.Errorf("%v: %d pages loaded for one change", drop, loads)
		}
	}
}

// TestDiffSpilled has files whose pieces differ in part.
func TestDiffSpilled(t *testing.T) {
	var m snapshottest.Mem
	for name, c := range map[string]struct {
		change func(*Entry)
		want   string
	}{
		"xattrs":  {func(e *Entry) { e.Xattrs[0].Value = []byte("other") }, "metadata /big[xattrs]"},
		"content": {func(e *Entry) { e.Content[2999].ID[0]++ }, "modified /big[content]"},
		"mode":    {func(e *Entry) { e.Mode = 0 }, "metadata /big[mode]"},
		"less":    {func(e *Entry) { e.Content, e.Holes, e.Xattrs, e.Size = nil, nil, nil, 0 }, "modified /big[size content holes xattrs]"},
	} {
		e := bigEntry(3000, 4, 5)
		a := save(t, &m, e)
		c.change(e)
		if got := diffs(t, &m, a, save(t, &m, e)); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestHistory(t *testing.T) {
	var m snapshottest.Mem
	var snaps []Snapshot
	for i, line := range []string{"d/f=1", "d/f=1", "d/f=2", "d/g=", "d/f=2", "d/f=2"} {
		man := Manifest{Effective: Time{Sec: int64(i)}, Root: tree(t, &m, line, fmt.Sprintf("else=%d", i))}
		snaps = append([]Snapshot{{ID: fmt.Sprint(i), Manifest: man}}, snaps...)
	}
	var got []string
	err := History(t.Context(), &m, snaps, "/d/f", func(v Version) error {
		got = append(got, fmt.Sprint(v.First.ID, "-", v.Last.ID, "x", v.Snapshots))
		return nil
	})
	if err != nil || strings.Join(got, " ") != "0-1x2 2-2x1 4-5x2" {
		t.Errorf("%q, %v", got, err)
	}
	stop := errors.New("stop")
	if err := History(t.Context(), &m, snaps, "/d", func(Version) error { return stop }); err != stop {
		t.Error(err)
	}
}
