package rewrite

import (
	"fmt"
	"testing"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
	"coffer/source"
)

// deep saves a directory of directories, with n entries in the last of them.
func deep(t *testing.T, m *snapshottest.Mem, n int, changed int) chunk.ID {
	t.Helper()
	l := snapshot.NewListing(m)
	for i := range n {
		e := snapshot.Entry{Name: fmt.Sprintf("file%07d", i), Type: snapshot.Fifo}
		if i == changed {
			e.UID = 1
		}
		if err := l.Add(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	id, sum, err := l.Close(t.Context())
	for _, name := range []string{"large", "b", "a"} {
		up := snapshot.NewListing(m)
		for _, sub := range []string{name, name + "2"} {
			if err == nil {
				err = up.Add(t.Context(), &snapshot.Entry{Name: sub, Type: snapshot.Dir, Tree: id, Items: sum.Items})
			}
		}
		if err == nil {
			id, sum, err = up.Close(t.Context())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestLookAtNewPagesOnly: of a large directory that changes a little from
// snapshot to snapshot, only the changed page is looked at again.
func TestLookAtNewPagesOnly(t *testing.T) {
	var m snapshottest.Mem
	p := newPlan([]source.Pattern{{Text: "/a/b/large/file0000001"}, {Text: "nothing"}})
	j, err := newJudge(0, p.patterns, []string{"/elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		root := deep(t, &m, 20_000, i*1000)
		m.ResetLoads()
		dropped, err := p.look(t.Context(), &m, j, root)
		if err != nil || dropped.Items != 1 { // the same directory in other places has no match
			t.Fatalf("%d entries, %v", dropped.Items, err)
		}
		if n := len(m.Loads()); i > 0 && n > 8 { // three above, the top of the large one, its page, and the one with the match
			t.Errorf("%d pages were loaded for snapshot %d", n, i)
		}
		m.ResetLoads()
		if _, err := p.look(t.Context(), &m, j, root); err != nil || len(m.Loads()) != 0 {
			t.Errorf("%d pages were loaded for the same tree again, %v", len(m.Loads()), err)
		}
	}
}

// TestSaveThePathOnly: only the directories above a match are written again, and
// for the next snapshot none that is the same.
func TestSaveThePathOnly(t *testing.T) {
	var m snapshottest.Mem
	p := newPlan([]source.Pattern{{Text: "/a/b/large"}})
	s := &saver{plan: p, cut: map[place]snapshot.Entry{}}
	for i := range 5 {
		snap := snapshot.Snapshot{ID: "x", Manifest: snapshot.Manifest{Root: deep(t, &m, 20_000, i/2)}}
		j, err := p.judgeOf(&snap)
		if err != nil {
			t.Fatal(err)
		}
		if dropped, err := p.look(t.Context(), &m, j, snap.Root); err != nil || dropped.Items != 20_001 {
			t.Fatal(dropped, err)
		}
		m.ResetLoads()
		before := m.Saves()
		made, err := s.manifest(t.Context(), &m, &task{snap: snap, judge: j})
		if err != nil || made.Root == snap.Root || made.Items == 0 {
			t.Fatal(made, err)
		}
		want := 3 * (1 - i%2) // of an equal tree nothing
		if loads, saves := len(m.Loads()), m.Saves()-before; loads != want || saves != want {
			t.Errorf("snapshot %d: %d pages were loaded and %d saved, want %d", i, loads, saves, want)
		}
	}
}
