package store_test

import (
	"testing"

	"coffer/store"
)

// TestPruneOfWhatTwoSessionsStored: packs that hold the same chunks are written
// again together.
func TestPruneOfWhatTwoSessionsStored(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(1, 3) // little beside what each session has alone: blocks move as they are
	var sessions []*store.Session
	for range 9 {
		w, err := openRepo(t, b).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, w)
	}
	for i, w := range sessions {
		mine := append(pieces(uint64(10+i), 5), list...)
		if err := save(t.Context(), w, mine); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context(), []byte(needs(mine))); err != nil {
			t.Fatal(err)
		}
	}
	opt := pruneOptions()
	opt.RepackBelow = 0.999
	if _, rep := prune(t, s, opt); rep.Copied == 0 {
		t.Fatalf("%+v", rep)
	}
	fresh := openRepo(t, b)
	checkLoads(t, fresh, list)
	checkClean(t, fresh)
}
