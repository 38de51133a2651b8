package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

func TestPages(t *testing.T) {
	var m snapshottest.Mem
	l := NewListing(&m)
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("name%06d", i))
		if err := l.Add(t.Context(), &Entry{Name: names[i], Type: Fifo}); err != nil {
			t.Fatal(err)
		}
	}
	id, _, err := l.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, all := map[chunk.ID]bool{}, []string(nil)
	walk := func(skip func(chunk.ID) bool) (got []string) {
		err := Pages(t.Context(), &m, id, skip, func(page chunk.ID, entries []Entry) error {
			seen[page] = true
			for i := range entries {
				got = append(got, entries[i].Name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	all = walk(func(chunk.ID) bool { return false })
	if !slices.Equal(all, names) || len(seen) < 20 {
		t.Errorf("%d names on %d pages", len(all), len(seen))
	}
	for page := range seen { // all but one
		m.ResetLoads()
		part := walk(func(p chunk.ID) bool { return p != page && seen[p] })
		if len(part) == 0 || len(part) > maxItems || len(m.Loads()) > 3 {
			t.Errorf("%d names, %d loads", len(part), len(m.Loads()))
		}
		break
	}
	m.ResetLoads()
	if got := walk(func(p chunk.ID) bool { return p == id }); got != nil || len(m.Loads()) != 0 {
		t.Errorf("the top page is not skipped: %d names", len(got))
	}
	stop := errors.New("stop")
	if err := Pages(t.Context(), &m, id, func(chunk.ID) bool { return false }, func(chunk.ID, []Entry) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := Pages(t.Context(), &m, chunk.ID{}, nil, nil); err != nil {
		t.Error("an empty listing:", err)
	}
}
