package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

// bigEntry has a bulk of all sorts that spills.
func bigEntry(refs, holes, xattrs int) *Entry {
	r := rand.New(rand.NewPCG(3, 4))
	e := &Entry{Name: "big", Type: File, Mode: 0o600}
	randomContent(r, e, refs, holes)
	for i := range xattrs {
		e.Xattrs = append(e.Xattrs, Xattr{Name: fmt.Appendf(nil, "user.%06d", i), Value: bytes.Repeat([]byte{byte(i)}, 1000)})
	}
	return e
}

func TestSpill(t *testing.T) {
	for _, c := range []struct{ refs, holes, xattrs int }{{1, 0, 20}, {600, 0, 0}, {20000, 3, 300}, {2, 40000, 0}} {
		var m snapshottest.Mem
		want := bigEntry(c.refs, c.holes, c.xattrs)
		tree := save(t, &m, want)
		got, err := Lookup(t.Context(), &m, tree, "big")
		if err != nil || !got.Spilled() {
			t.Fatalf("%v: %v, spilled %v", c, err, got.Spilled())
		}
		if again := save(t, &m, got); again != tree {
			t.Errorf("%v: written again without its bulk it has another id", c)
		}
		checkRefs(t, &m, got, want)
		if err := Fill(t.Context(), &m, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: filled it is not what was written: %v", c, err)
		}
		if again := save(t, &m, got); again != tree {
			t.Errorf("%v: written again with its bulk it has another id", c)
		}
		checkReach(t, &m, tree)
	}
}

func save(t *testing.T, s Saver, entries ...*Entry) chunk.ID {
	t.Helper()
	l := NewListing(s)
	for _, e := range entries {
		if err := l.Add(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	id, _, err := l.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func checkRefs(t *testing.T, l Loader, got, want *Entry) {
	t.Helper()
	var refs []Ref
	for ref, err := range Refs(t.Context(), l, got) {
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	xs, hs, err := Attrs(t.Context(), l, got)
	if err != nil || !slices.Equal(refs, want.Content) || !slices.Equal(hs, want.Holes) || len(xs) != len(want.Xattrs) {
		t.Errorf("refs %d, holes %d, xattrs %d, %v", len(refs), len(hs), len(xs), err)
	}
}

// checkReach proves that Reach comes to all chunks in m, which holds no others.
func checkReach(t *testing.T, m *snapshottest.Mem, root chunk.ID) {
	t.Helper()
	m.ResetLoads()
	seen := map[snapshottest.Key]bool{}
	err := Reach(t.Context(), m, root, func(k chunk.Kind, id chunk.ID) bool {
		isNew := !seen[snapshottest.Key{Kind: k, ID: id}]
		seen[snapshottest.Key{Kind: k, ID: id}] = true
		return isNew
	})
	if err != nil {
		t.Fatal(err)
	}
	loads := m.Loads()
	for key := range m.Keys() {
		if !seen[key] || key.Kind == chunk.Tree && loads[key] != 1 {
			t.Errorf("%s chunk %s: seen %v, loaded %d times", key.Kind, key.ID.Short(), seen[key], loads[key])
		}
	}
}

// TestSpillLists makes a file of so many pieces that they are listed.
func TestSpillLists(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var m snapshottest.Mem
	e := &Entry{Name: "big", Type: File}
	for i := range (maxSpillIDs + 1) * maxRefs {
		id := chunk.ID{1, byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)} // never a cut
		e.Content = append(e.Content, Ref{ID: id, Length: 1})
	}
	e.Size = int64(len(e.Content))
	tree := save(t, &m, e)
	got, err := Lookup(t.Context(), &m, tree, "big")
	if err != nil || got.Spill.Level != 1 || len(got.Spill.IDs) != 1 {
		t.Fatalf("%v, %+v", err, got.Spill.Level)
	}
	n := 0
	for ref, err := range Refs(t.Context(), &m, got) {
		if err != nil || ref != e.Content[n] {
			t.Fatal(n, err)
		}
		n++
	}
	if n != len(e.Content) {
		t.Errorf("%d refs of %d", n, len(e.Content))
	}
	checkReach(t, &m, tree)
}

// TestSpillOrder has good pieces in an order that would hide attributes.
func TestSpillOrder(t *testing.T) {
	var m snapshottest.Mem
	e, err := Lookup(t.Context(), &m, save(t, &m, bigEntry(1, 3, 300)), "big")
	if err != nil || len(e.Spill.IDs) < 3 {
		t.Fatal(err, len(e.Spill.IDs))
	}
	slices.Reverse(e.Spill.IDs)
	if err := Fill(t.Context(), &m, e); !errors.Is(err, ErrDamaged) {
		t.Errorf("Fill: %v", err)
	}
}

// TestSpillLies has pieces that do not make up the size of their entry.
func TestSpillLies(t *testing.T) {
	var m snapshottest.Mem
	e, err := Lookup(t.Context(), &m, save(t, &m, bigEntry(1000, 0, 0)), "big")
	if err != nil {
		t.Fatal(err)
	}
	e.Size++
	err = nil
	for _, err = range Refs(t.Context(), &m, e) {
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("Refs: %v", err)
	}
	if err := Fill(t.Context(), &m, e); !errors.Is(err, ErrDamaged) {
		t.Errorf("Fill: %v", err)
	}
}
