package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

// idSaver hashes and remembers names only, for listings that are large.
type idSaver struct {
	h   *chunk.Hasher
	ids map[chunk.ID]bool
}

func newIDSaver() *idSaver {
	return &idSaver{h: chunk.NewHasher(), ids: map[chunk.ID]bool{}}
}

func (s *idSaver) Save(_ context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	id := s.h.Sum(k, data)
	s.ids[id] = true
	return id, nil
}

func emptyFile(name string) *Entry { return &Entry{Name: name, Type: File, Mode: 0o644, Links: 1} }

// saveMillion lists the names n0000000 to n0999999, and extra if it is set.
func saveMillion(t *testing.T, extra string) (*idSaver, *Listing) {
	t.Helper()
	s := newIDSaver()
	l := NewListing(s)
	e := emptyFile("")
	add := func(name string) {
		e.Name = name
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000000 {
		name := fmt.Sprintf("n%07d", i)
		if extra != "" && extra < name {
			add(extra)
			extra = ""
		}
		add(name)
	}
	if _, sum, err := l.Close(t.Context()); err != nil || sum.Items < 1000000 {
		t.Fatal(sum, err)
	}
	return s, l
}

func TestOneMoreInAMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	before, l := saveMillion(t, "")
	held := 0
	for _, w := range l.levels {
		held += cap(w.body)
	}
	if held > 1<<20 {
		t.Errorf("the listing holds %d bytes", held)
	}
	after, _ := saveMillion(t, "n0471234x")
	rewritten := 0
	for id := range after.ids {
		if !before.ids[id] {
			rewritten++
		}
	}
	t.Logf("%d pages in %d levels, %d rewritten, %d bytes held", len(before.ids), len(l.levels), rewritten, held)
	if rewritten > 4 {
		t.Errorf("%d pages of %d are new after one insertion", rewritten, len(after.ids))
	}
}

// manyEntries returns n entries of all kinds in order, some of them large.
func manyEntries(n int) []*Entry {
	r := rand.New(rand.NewPCG(7, 8))
	var out []*Entry
	for i := range n {
		e := randomEntry(r, fmt.Sprintf("%06d", i*3))
		if e.Type == Dir {
			e.Tree, e.Items, e.Files, e.Size = chunk.ID{}, 0, 0, 0
		}
		if i%50 == 0 {
			e.Xattrs = []Xattr{{Name: []byte("user.big"), Value: make([]byte, 15000)}}
		}
		out = append(out, e)
	}
	return out
}

func TestListEveryLength(t *testing.T) {
	for _, n := range []int{0, 1, 2, 31, 32, 33, 100, 500, 5000} {
		var m snapshottest.Mem
		want := manyEntries(n)
		tree := save(t, &m, want...)
		if (n == 0) != (tree == chunk.ID{}) {
			t.Errorf("%d entries: tree %v", n, tree)
		}
		i := 0
		for e, err := range List(t.Context(), &m, tree, "") {
			if err != nil || e.Name != want[i].Name {
				t.Fatal(n, i, e, err)
			}
			i++
		}
		if i != n {
			t.Errorf("%d entries of %d", i, n)
		}
		checkAfter(t, &m, tree, want)
		checkReach(t, &m, tree)
	}
}

// checkAfter begins listings in the middle, between names too.
func checkAfter(t *testing.T, m *snapshottest.Mem, tree chunk.ID, want []*Entry) {
	t.Helper()
	for i := 0; i < len(want); i += 1 + len(want)/20 {
		for _, after := range []string{want[i].Name, want[i].Name + "x"} {
			m.ResetLoads()
			for e, err := range List(t.Context(), m, tree, after) {
				if err != nil || i+1 == len(want) || e.Name != want[i+1].Name {
					t.Errorf("after %q: %v, %v", after, e, err)
				}
				break
			}
			if n := len(m.Loads()); n > 4 {
				t.Errorf("after %q: %d pages loaded", after, n)
			}
		}
		if e, err := Lookup(t.Context(), m, tree, want[i].Name); err != nil || e.Name != want[i].Name {
			t.Errorf("look up %q: %v, %v", want[i].Name, e, err)
		}
		if _, err := Lookup(t.Context(), m, tree, want[i].Name+"x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("look up what is not there: %v", err)
		}
	}
}

func TestListingOrder(t *testing.T) {
	for _, names := range [][]string{{"b", "a"}, {"a", "a"}, {""}} {
		l := NewListing(new(snapshottest.Mem))
		var err error
		for _, n := range names {
			err = l.Add(t.Context(), emptyFile(n))
		}
		if err == nil {
			t.Errorf("%q: added", names)
		}
		if _, _, err := l.Close(t.Context()); err == nil {
			t.Errorf("%q: closed", names)
		}
	}
}

func TestTotals(t *testing.T) {
	l := NewListing(new(snapshottest.Mem))
	for _, e := range []*Entry{
		{Name: "a", Type: File, Size: 5, Content: []Ref{{Length: 5}}},
		{Name: "b", Type: Dir, Size: 100, Items: 7, Files: 4, Tree: chunk.ID{1}},
		{Name: "c", Type: Symlink, Size: 3, Target: "abc"},
	} {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, sum, _ := l.Close(t.Context()); sum != (Totals{Items: 10, Files: 5, Bytes: 105}) {
		t.Errorf("%+v", sum)
	}
}

// TestPagesPutTogetherWrongly has pages that are each good, under a branch
// that says something else of them.
func TestPagesPutTogetherWrongly(t *testing.T) {
	var m snapshottest.Mem
	first, second := save(t, &m, emptyFile("a"), emptyFile("b")), save(t, &m, emptyFile("c"))
	for name, children := range map[string][]wireChild{
		"good":           {{Last: "b", ID: first[:]}, {Last: "c", ID: second[:]}},
		"another last":   {{Last: "b", ID: first[:]}, {Last: "d", ID: second[:]}},
		"page twice":     {{Last: "b", ID: first[:]}, {Last: "c", ID: first[:]}},
		"names go back":  {{Last: "b", ID: second[:]}, {Last: "c", ID: first[:]}},
		"lasts go back":  {{Last: "c", ID: second[:]}, {Last: "b", ID: first[:]}},
		"no children":    {},
		"overlap before": {{Last: "a", ID: second[:]}, {Last: "b", ID: first[:]}},
	} {
		body, err := marshal(children)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := m.Save(t.Context(), chunk.Tree, append(header(kindListing, 1), body...))
		err = nil
		for _, err = range List(t.Context(), &m, id, "") {
		}
		if (name == "good") != (err == nil) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNamesFromStorage puts names into a page that a restore must never see.
func TestNamesFromStorage(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00b"} {
		body, err := marshal([]wireEntry{{Name: name, Mode: uint32(File) << typeShift}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodePage(append(header(kindListing, 0), body...)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestHashVectors are for those who write a reader of their own.
func TestHashVectors(t *testing.T) {
	for name, want := range map[string]uint64{"": 0xefd01f60ba992926, "a": 0x82a2a958a9bece5b, "home": 0x5daca2c16f671f37} {
		if got := hashName(name); got != want {
			t.Errorf("%q: %#x", name, got)
		}
	}
}

// tree builds a listing from "path" or "path=content" or "path->target" lines.
func tree(t *testing.T, m *snapshottest.Mem, lines ...string) chunk.ID {
	t.Helper()
	slices.Sort(lines)
	id, _ := treeBelow(t, m, lines)
	return id
}

func treeBelow(t *testing.T, m *snapshottest.Mem, lines []string) (chunk.ID, Totals) {
	t.Helper()
	byName := map[string][]string{}
	for _, line := range lines {
		name, rest, dir := strings.Cut(line, "/")
		if before, _, ok := strings.Cut(name, "->"); ok {
			name, rest, dir = before, line, false
		}
		name, content, _ := strings.Cut(name, "=")
		if dir {
			byName[name] = append(byName[name], rest)
		} else {
			byName[name] = []string{"=" + content + strings.TrimPrefix(rest, name)}
		}
	}
	l := NewListing(m)
	for _, name := range slices.Sorted(mapKeys(byName)) {
		if err := l.Add(t.Context(), treeEntry(t, m, name, byName[name])); err != nil {
			t.Fatal(err)
		}
	}
	id, sum, err := l.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id, sum
}

func mapKeys(m map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func treeEntry(t *testing.T, m *snapshottest.Mem, name string, below []string) *Entry {
	t.Helper()
	if target, ok := strings.CutPrefix(below[0], "=->"); ok {
		return &Entry{Name: name, Type: Symlink, Mode: 0o777, Target: target, Size: int64(len(target))}
	}
	if content, ok := strings.CutPrefix(below[0], "="); ok {
		e := emptyFile(name)
		for i := 0; i < len(content); i += 4 {
			part := content[i:min(i+4, len(content))]
			id, err := m.Save(t.Context(), chunk.Data, []byte(part))
			if err != nil {
				t.Fatal(err)
			}
			e.Content = append(e.Content, Ref{ID: id, Length: uint32(len(part))})
			e.Size += int64(len(part))
		}
		return e
	}
	id, sum := treeBelow(t, m, slices.DeleteFunc(below, func(s string) bool { return s == "" }))
	return &Entry{Name: name, Type: Dir, Mode: 0o755, Tree: id, Items: sum.Items, Files: sum.Files, Size: sum.Bytes}
}

func TestResolveAndWalk(t *testing.T) {
	var m snapshottest.Mem
	root := tree(t, &m, "home/a/x=1", "home/a/y=2", "home/b/", "home/c=33", "link->/home/a", "z=")
	for p, want := range map[string]string{
		"/": "/", "": "/", "/home/a/x": "x", "home//a/": "a", "/home/./b/../c": "c", "/nope": "", "/z/x": "", "/link/x": "",
	} {
		e, err := Resolve(t.Context(), &m, root, p)
		if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && (err != nil || e.Name != want) {
			t.Errorf("%q: %v, %v", p, e, err)
		}
	}
	for _, c := range []struct{ at, skip, all, want string }{
		{"/", "", "", "/ /home /home/a /home/a/x /home/a/y /home/b /home/c /link /z"},
		{"/", "/home/a", "", "/ /home /home/a /home/b /home/c /link /z"},
		{"/", "/home/a/x", "", "/ /home /home/a /home/a/x /home/b /home/c /link /z"},
		{"/", "/", "", "/"},
		{"/", "", "/home/a/x", "/ /home /home/a /home/a/x"},
		{"/home/a", "", "", "/home/a /home/a/x /home/a/y"},
		{"/home/c", "/home/c", "", "/home/c"},
	} {
		var got []string
		err := Walk(t.Context(), &m, root, c.at, func(p string, _ *Entry) error {
			got = append(got, p)
			switch p {
			case c.skip:
				return fs.SkipDir
			case c.all:
				return fs.SkipAll
			}
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	stop := errors.New("stop")
	if err := Walk(t.Context(), &m, root, "/", func(string, *Entry) error { return stop }); err != stop {
		t.Errorf("error of fn: %v", err)
	}
}

func TestReachSkipsWhatIsSeen(t *testing.T) {
	var m snapshottest.Mem
	root := tree(t, &m, "a/x=1", "b/x=1", "c/y=2")
	checkReach(t, &m, root)
	n := 0
	err := Reach(t.Context(), &m, root, func(chunk.Kind, chunk.ID) bool { n++; return false })
	if err != nil || n != 1 {
		t.Errorf("%d names, %v", n, err)
	}
	for key := range m.Keys() {
		if key.Kind == chunk.Tree && key.ID != root {
			m.Delete(key.Kind, key.ID)
		}
	}
	if err := Reach(t.Context(), &m, root, func(chunk.Kind, chunk.ID) bool { return true }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with pages missing: %v", err)
	}
}
