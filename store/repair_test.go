package store_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/store"
)

// absent is what listMarker's commits need and has does not know.
func absent(_ context.Context, v store.MarkView, commits []store.Commit, has func(chunk.ID) (bool, error)) ([]chunk.ID, error) {
	var out []chunk.ID
	for _, c := range commits {
		for b := c.Payload; len(b) > 0; b = b[chunk.IDSize:] {
			id := chunk.ID(b[:chunk.IDSize])
			if ok, err := has(id); err != nil {
				return nil, err
			} else if !ok && !v.Lost(id) {
				out = append(out, id)
			}
		}
	}
	return out, nil
}

func repairOptions() store.RepairOptions {
	return store.RepairOptions{Marker: listMarker{}, Missing: absent}
}

func repair(t testing.TB, s *store.Store, opt store.RepairOptions) (*store.RepairPlan, store.RepairReport) {
	t.Helper()
	p, err := s.PlanRepair(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p, rep
}

// damageFound is what Check says, by object; an error of opening stands under "".
func damageFound(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	found := map[string]string{}
	_, err := s.Check(t.Context(), store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { found[d.Pack] += d.Error() + "\n" }})
	if err != nil {
		found[""] = err.Error()
	}
	return found
}

func damagedPacks(found map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(name string) bool { return !strings.HasPrefix(name, "packs/") })
}

// A history is a repository that has been through two prunes.
type history struct {
	b       *mem.Bucket
	alive   map[string][]piece // by commit
	gone    []string           // commits that were pruned
	young   string             // the only commit that no generation covers
	objects map[string][]byte
}

func newHistory(t testing.TB) *history {
	s, b := newRepo(t)
	h := &history{b: b, alive: map[string][]piece{}}
	shared := pieces(1, 14)
	save := func(seed uint64) store.Commit {
		list := append(pieces(seed, 8), shared...)
		c := keep(t, s, list)
		h.alive[c.ID] = list
		return c
	}
	drop := func(c store.Commit) {
		forget(t, s, c)
		prune(t, s, pruneOptions())
		delete(h.alive, c.ID)
		h.gone = append(h.gone, c.ID)
	}
	first := save(10)
	save(11)
	drop(first)
	second := save(12)
	save(13)
	drop(second)
	c := save(14)
	h.young = c.ID
	w, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	forget(t, s, c)
	if err := s.PutNote(t.Context(), []byte("a note")); err != nil {
		t.Fatal(err)
	}
	h.objects = objects(t, b)
	return h
}

// with returns the repository with other bytes in one object; nil deletes it.
func (h *history) with(t testing.TB, name string, data []byte) *mem.Bucket {
	t.Helper()
	c := mem.New()
	for n, d := range h.objects {
		if n == name {
			d = data
		}
		if n != name || data != nil {
			put(t, c, n, d)
		}
	}
	return c
}

func (h *history) all() (list []piece) {
	seen := map[chunk.ID]bool{}
	for _, id := range slices.Sorted(maps.Keys(h.alive)) {
		for _, p := range h.alive[id] {
			if !seen[p.id()] {
				list = append(list, p)
			}
			seen[p.id()] = true
		}
	}
	return list
}

func damages(data []byte) map[string][]byte {
	flip := bytes.Clone(data)
	flip[len(flip)/2] ^= 16
	return map[string][]byte{"deleted": nil, "emptied": {}, "truncated": data[:len(data)/2], "flipped": flip}
}

// silent says of which damage nobody can know.
func silent(name, how string) bool {
	kind, _, _ := strings.Cut(name, "/")
	switch kind {
	case "fates":
		return how == "deleted" || strings.HasPrefix(name, "fates/0000000001/") // no view needs it
	case "sessions", "asks", "notes":
		return how == "deleted"
	case "generations": // as if it had not been closed yet
		return how == "deleted" && name == "generations/0000000002.done"
	}
	return false
}

// TestRepairEveryObject: each object of a repository deleted, emptied, truncated
// and with a bit flipped is noticed, one repair makes the best of it, and the
// next backup and the next prunes work.
func TestRepairEveryObject(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	kinds := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(h.objects)) {
		kind, _, _ := strings.Cut(name, "/")
		if kinds[kind]++; testing.Short() && kinds[kind] > 4 {
			continue
		}
		for how, data := range damages(h.objects[name]) {
			if kind == "config" || kind == "keys" {
				continue // nothing that a repair could do
			}
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				h.survives(t, name, how, h.with(t, name, data))
			})
		}
	}
	if len(kinds) != 10 {
		t.Errorf("objects: %v", kinds)
	}
}

func (h *history) survives(t *testing.T, name, how string, b *mem.Bucket) {
	found := damageFound(t, openRepo(t, b))
	if text := fmt.Sprint(found); !silent(name, how) && (!strings.Contains(text, name) || !strings.Contains(text, "coffer repair")) {
		t.Errorf("nobody says that it is damaged and what to do: %v", found)
	}
	opt := repairOptions()
	opt.Packs = damagedPacks(found)
	s := openRepo(t, b)
	_, rep := repair(t, s, opt)
	if p, err := s.PlanRepair(t.Context(), repairOptions()); err != nil || !p.Idle() {
		t.Errorf("a second repair has something to do: %+v, %v", p, err)
	}
	fresh := openRepo(t, b)
	checkClean(t, fresh)
	h.commits(t, fresh, name, rep)
	h.chunks(t, fresh, name, how, rep)
	// The next backup heals what is lost, and prune finds nothing wrong.
	keep(t, s, h.all())
	if lost, err := s.LostChunks(t.Context()); err != nil || len(lost) != 0 {
		t.Errorf("after a backup %d chunks are lost, %v", len(lost), err)
	}
	for range 2 {
		prune(t, s, pruneOptions())
	}
	fresh = openRepo(t, b)
	checkClean(t, fresh)
	checkLoads(t, fresh, h.all())
	if n, _ := stored(t, b, "asks/"); n != 0 {
		t.Errorf("%d requests to forget are left", n)
	}
}

// commits demands that all are there but one whose fate is gone.
func (h *history) commits(t *testing.T, s *store.Store, name string, rep store.RepairReport) {
	t.Helper()
	got := payloads(t, s)
	for id, list := range h.alive {
		lost := strings.HasSuffix(name, id) && strings.HasPrefix(name, "fates/0000000002/")
		if text, ok := got[id]; ok == lost || ok && text != needs(list) {
			t.Errorf("commit %s: there %v, lost %v", id, ok, lost)
		}
		told := slices.Contains(rep.Fates, id)
		if _, exists := h.objects[name]; exists && lost && !told && len(rep.Records) > 0 {
			t.Errorf("the report does not name %s: %+v", id, rep)
		}
	}
	for _, id := range h.gone {
		if _, ok := got[id]; ok && !rep.MayReturn {
			t.Errorf("commit %s is back", id)
		}
	}
	if rep.Snapshots != 0 {
		t.Errorf("%d snapshots are lost", rep.Snapshots)
	}
}

// chunks demands that each either loads or is lost, and that only those of the
// damaged pack are.
func (h *history) chunks(t *testing.T, s *store.Store, name, how string, rep store.RepairReport) {
	t.Helper()
	lost, err := s.LostChunks(t.Context())
	if err != nil || !slices.Equal(lost, rep.Lost) {
		t.Errorf("%d chunks are lost, the report says %d, %v", len(lost), len(rep.Lost), err)
	}
	before, commits := openRepo(t, h.b), payloads(t, s)
	for _, p := range h.all() {
		if _, there := commits[h.young]; !there && !needed(h.alive, commits, p) {
			continue
		}
		in, err := before.PackOf(t.Context(), p.id())
		if err != nil {
			t.Fatal(err)
		}
		data, err := s.Load(t.Context(), p.kind, p.id())
		gone := slices.Contains(lost, p.id())
		switch {
		case err == nil && !bytes.Equal(data, p.data), (err != nil) != gone:
			t.Errorf("chunk %s: lost %v, load says %v", p.id().Short(), gone, err)
		case gone && in != name:
			t.Errorf("chunk %s was in %s and is lost", p.id().Short(), in)
		case !gone && in == name && (how == "deleted" || how == "emptied"):
			t.Errorf("chunk %s is still there", p.id().Short())
		}
	}
}

func needed(alive map[string][]piece, commits map[string]string, p piece) bool {
	for id, list := range alive {
		if _, there := commits[id]; there && slices.ContainsFunc(list, func(q piece) bool { return q.id() == p.id() }) {
			return true
		}
	}
	return false
}
