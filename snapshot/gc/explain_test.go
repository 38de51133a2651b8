package gc

import (
	"errors"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/store"
)

func TestHolders(t *testing.T) {
	for seed := range uint64(5) {
		w, b := newWorld(t, seed), newBox(t)
		w.history(5)
		cached := w.marker(t.TempDir(), b)
		var needs []ids
		var all []chunk.ID
		for i := range w.commits {
			needs = append(needs, w.reach(w.commits[i:i+1]))
			for id, k := range needs[i] {
				all = append(all, id)
				if k == chunk.Tree && w.r.IntN(200) == 0 {
					w.Delete(k, id)
					w.lost[id] = true
				}
			}
		}
		for i := range w.commits {
			needs[i] = w.reach(w.commits[i : i+1])
		}
		sortIDs(all)
		if seed%2 == 0 {
			w.mark(cached, w.commits[:3], "some are in the log")
		}
		for range 20 {
			sought := []chunk.ID{w.id()}
			for range w.r.IntN(3) {
				sought = append(sought, all[w.r.IntN(len(all))])
			}
			want := make([]bool, len(w.commits))
			for i := range want {
				want[i] = slices.ContainsFunc(sought, func(id chunk.ID) bool { _, ok := needs[i][id]; return ok })
			}
			for _, m := range []*Marker{cached, w.marker("", nil)} {
				got, err := m.Holders(t.Context(), w, w.commits, sought)
				if err != nil || !slices.Equal(got, want) {
					t.Fatal(got, want, err)
				}
			}
		}
	}
}

func TestOnly(t *testing.T) {
	for seed := range uint64(5) {
		w, b := newWorld(t, seed), newBox(t)
		w.history(5)
		m := w.marker(t.TempDir(), b)
		for i := range w.commits {
			others := slices.Concat(w.commits[:i], w.commits[i+1:])
			want, theirs := w.reach(w.commits[i:i+1]), w.reach(others)
			for id := range theirs {
				delete(want, id)
			}
			got := ids{}
			err := m.Only(t.Context(), w, w.commits[i:i+1], others, func(k chunk.Kind, id chunk.ID) {
				if _, twice := got[id]; twice || want[id] != k {
					t.Errorf("%s %s comes twice or is needed by others", k, id)
				}
				got[id] = k
			})
			if err != nil || len(got) != len(want) {
				t.Fatal(len(got), len(want), err)
			}
		}
	}
}

func TestMissing(t *testing.T) {
	w := newWorld(t, 8)
	w.history(3)
	m := w.marker("", nil)
	for _, c := range w.commits {
		need := w.reach([]store.Commit{c})
		gone := map[chunk.ID]bool{}
		missing := func() []chunk.ID {
			t.Helper()
			got, err := m.Missing(t.Context(), w, []store.Commit{c}, func(id chunk.ID) (bool, error) { return !gone[id], nil })
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := missing(); len(got) > 0 {
			t.Error(got)
		}
		for id, k := range need {
			if k == chunk.Data && w.r.IntN(20) == 0 {
				gone[id] = true
			}
		}
		var want []chunk.ID
		for id := range gone {
			want = append(want, id)
		}
		if got := missing(); !slices.Equal(got, sortIDs(want)) {
			t.Errorf("%d missing, want %d", len(got), len(want))
		}
		if len(want) == 0 {
			t.Fatal("nothing was taken away")
		}
		w.lost[want[0]] = true
		if got := missing(); !slices.Equal(got, want[1:]) {
			t.Errorf("%d missing but for the lost, want %d", len(got), len(want)-1)
		}
		delete(w.lost, want[0])
		for id, k := range need {
			if k == chunk.Tree && w.r.IntN(30) == 0 {
				gone = map[chunk.ID]bool{id: true}
				if got := missing(); !slices.Equal(got, []chunk.ID{id}) {
					t.Errorf("a page: %v", got)
				}
			}
		}
		broken := errors.New("broken")
		if _, err := m.Missing(t.Context(), w, []store.Commit{c}, func(chunk.ID) (bool, error) { return false, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
}
