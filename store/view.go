package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
)

// A Commit is a session that was committed, with what its writer handed over.
type Commit struct {
	ID      string
	Payload []byte
	Asked   bool // somebody has asked to forget it: it is there until the next prune
}

// A view is what one generation holds at the moment it was read: its commits
// and where their chunks are. It is used by whoever acquired it, and its index
// is closed when the last one has released it.
type view struct {
	state
	index    *sharedIndex
	commits  []Commit
	settled  []settled // the same, with their generations
	segments []segmentRef
	lost     map[chunk.ID]struct{}
	young    int   // fates of this generation, whatever they say
	own      fates // these
	older    fates // those of the generation before, where this one is open

	uncovered fates // commits of the generation before, where this one is open and does not cover them

	oldMu sync.Mutex
	old   *index.View // see findCondemned; nil before the first use
}

// A sharedIndex is an index that views of one generation have in common.
type sharedIndex struct {
	*index.View
	users atomic.Int64
	log   *slog.Logger
}

func (x *sharedIndex) release() {
	if x.users.Add(-1) > 0 {
		return
	}
	if err := x.Close(); err != nil {
		x.log.Warn("the index cache could not be closed", "err", err)
	}
}

func (v *view) release() {
	if v != nil {
		v.index.release()
	}
}

// Lost reports whether repair has recorded that a chunk is lost and nobody has
// stored it again since.
func (v *view) Lost(id chunk.ID) bool {
	if _, lost := v.lost[id]; !lost {
		return false
	}
	_, found, err := v.index.Lookup(id)
	return !found && err == nil
}

// recordReaders is how many small records are read at once: enough to hide a
// network's delay.
const recordReaders = 8

// Refresh reads what has been committed until now. Loads see it from then on.
func (s *Store) Refresh(ctx context.Context) error {
	v, err := s.newestView(ctx)
	if err == nil {
		v.release()
	}
	return err
}

// newestView reads the view of the newest generation. If a prune removes what
// it is about to read, it starts over. The caller releases it.
func (s *Store) newestView(ctx context.Context) (*view, error) {
	var vanished error
	for range viewTries {
		g, err := s.newestGeneration(ctx)
		if err != nil {
			return nil, err
		}
		v, err := s.readView(ctx, g)
		if isMissing(err) {
			vanished = err
			continue
		}
		if err != nil {
			return nil, err
		}
		// The fates that an open generation does not cover are swept when the
		// next one is closed: then the listing of them may have come too late.
		t, err := s.turn(ctx)
		if err == nil && t.closed <= g {
			return v, nil
		}
		v.release()
		if err != nil {
			return nil, err
		}
	}
	if vanished == nil {
		return nil, errors.New("others prune all the time; try again later")
	}
	return nil, fmt.Errorf("a part of the repository is missing: run 'coffer repair': %w", vanished)
}

// Commits returns all valid commits, in no particular order.
func (s *Store) Commits(ctx context.Context) ([]Commit, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	defer v.release()
	asks, err := s.readAsks(ctx)
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for _, list := range asks {
		for _, id := range list {
			asked[id] = true
		}
	}
	commits := slices.Clone(v.commits)
	for i := range commits {
		commits[i].Asked = asked[commits[i].ID]
	}
	return commits, nil
}

// current returns the newest view that was read, and reads one if there is
// none. The caller releases it.
func (s *Store) current(ctx context.Context) (*view, error) {
	s.mu.Lock()
	if v := s.view; v != nil {
		v.index.users.Add(1)
		s.mu.Unlock()
		return v, nil
	}
	s.mu.Unlock()
	return s.newestView(ctx)
}

// readView reads generation g and what has been committed since it began, and
// makes that the current view. Segments that the last view has are not read
// again. The caller releases it.
func (s *Store) readView(ctx context.Context, g uint64) (*view, error) {
	v, err := s.readCommits(ctx, g)
	if err != nil {
		return nil, advise(err)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	if s.view != nil && s.view.Number == g {
		v.index = s.view.index
		v.index.users.Add(1)
	} else {
		v.index = &sharedIndex{View: index.NewView(s.tableOpener(), s.memoryEntries()), log: s.env.Log}
		v.index.users.Store(1)
	}
	s.mu.Unlock()
	if err := s.loadSegments(ctx, v); err != nil {
		v.release() // others go on with a shared index
		return nil, advise(err)
	}
	v.index.users.Add(1) // the store's own
	s.mu.Lock()
	old := s.view
	s.view = v
	s.mu.Unlock()
	old.release()
	return v, nil
}

// readCommits reads all but the index of a view.
func (s *Store) readCommits(ctx context.Context, g uint64) (*view, error) {
	st, err := s.readState(ctx, g)
	if err != nil {
		return nil, err
	}
	v := &view{state: st, segments: st.segments()}
	if v.lost, err = splitIDs(st.Lost); err != nil {
		return nil, err
	}
	if v.settled, err = s.readCatalogue(ctx, st.catalogue()); err != nil {
		return nil, err
	}
	if st.done == nil {
		before, err := s.readFates(ctx, g-1, st.Void...)
		if err != nil {
			return nil, err
		}
		v.older, v.uncovered = before, before.uncovered(st.generation)
		v.add(g-1, v.uncovered)
	}
	fates, err := s.readFates(ctx, g, st.Void...)
	if err != nil {
		return nil, err
	}
	v.add(g, fates)
	v.young, v.own = len(fates), fates
	for _, c := range v.settled {
		v.commits = append(v.commits, Commit{ID: c.ID, Payload: c.Payload})
	}
	return v, nil
}

// add takes the commits among fates of generation g.
func (v *view) add(g uint64, fates fates) {
	for _, f := range fates {
		if f.Outcome == fateCommit {
			v.settled = append(v.settled, settled{ID: f.id, Generation: g, Payload: f.Payload})
			v.segments = append(v.segments, f.Segments...)
		}
	}
}

func (s *Store) tableOpener() func() (*index.Table, error) {
	if s.env.CacheDir == "" {
		return nil
	}
	return s.openTable
}

// fates are those of one generation, in the order of their names.
type fates []namedFate

type namedFate struct {
	id string
	fate
}

// has sees that the fates of all that were registered with generation g are
// among these, or in void: they exist by now, so that a listing without them lies.
func (fs fates) has(g uint64, ids, void []string) error {
	listed := make(map[string]bool, len(fs))
	for _, f := range fs {
		listed[f.id] = true
	}
	for _, id := range ids {
		if !listed[id] && !slices.Contains(void, fateName(g, id)) {
			return fmt.Errorf("the listing lacks %s, which exists; %w", fateName(g, id), errListing)
		}
	}
	return nil
}

func (fs fates) ids() []string {
	ids := make([]string, len(fs))
	for i, f := range fs {
		ids[i] = f.id
	}
	return ids
}

// uncovered returns the commits that generation next does not cover.
func (fs fates) uncovered(next generation) fates {
	covered := make(map[string]bool, len(next.Covered))
	for _, id := range slices.Concat(next.Covered, next.Dropped) {
		covered[id] = true
	}
	return slices.DeleteFunc(slices.Clone(fs), func(f namedFate) bool { return f.Outcome != fateCommit || covered[f.id] })
}

// readFates reads all fates of generation g but those in void. They are settled
// first: what this process builds on must not vanish in a power cut.
func (s *Store) readFates(ctx context.Context, g uint64, void ...string) (fates, error) {
	names, err := s.list(ctx, fatePrefix(g))
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(void, name) })
	if err := s.settleAll(ctx, "fates", names); err != nil {
		return nil, err
	}
	all := make(fates, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for i, name := range names {
		all[i].id = strings.TrimPrefix(name, fatePrefix(g))
		group.Go(func() (err error) {
			all[i].fate, err = s.fates.get(name, func() (fate, error) { return s.getFate(ctx, name) })
			if err != nil {
				return fmt.Errorf("read fate: %w", err)
			}
			return nil
		})
	}
	return all, group.Wait()
}

// loadSegments adds to v's index what it does not have yet: from the cache
// where the segments together are more than memory should hold.
func (s *Store) loadSegments(ctx context.Context, v *view) error {
	want := make([]index.Want, 0, len(v.segments))
	total := 0
	for _, r := range v.segments {
		total += int(r.Entries)
		if w := r.want(); !v.index.Has(w) {
			want = append(want, w)
		}
	}
	if total > s.memoryEntries() && s.env.CacheDir != "" {
		var err error
		if want, err = s.attachTable(v, want); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for _, w := range want {
		group.Go(func() error { return s.loadSegment(ctx, v.index.View, w) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := v.index.Trouble(); err != nil {
		s.env.Log.Warn("the index stays in memory: its cache cannot be used", "err", err)
	}
	return nil
}

// memoryEntries is from how many entries on the cache is used.
func (s *Store) memoryEntries() int {
	if s.env.MemoryEntries > 0 {
		return s.env.MemoryEntries
	}
	return index.MemoryEntries
}

// attachTable lets v use the cache for the segments it holds. A cache that is
// in use by others, or broken, is no reason to fail: memory serves.
func (s *Store) attachTable(v *view, want []index.Want) ([]index.Want, error) {
	missing, err := v.index.Attach(s.openTable, want)
	if err != nil {
		s.env.Log.Warn("going on without the index cache", "err", err)
		return want, nil
	}
	return missing, nil
}

func (r segmentRef) want() index.Want { return index.Want{Name: r.Name, Dead: r.Dead} }

func (s *Store) loadSegment(ctx context.Context, v *index.View, w index.Want) error {
	seg, err := s.readSegment(ctx, w.Name)
	if err != nil {
		return err
	}
	return v.Add(w.Name, seg, w.Dead)
}

func (s *Store) readSegment(ctx context.Context, name string) (*index.Segment, error) {
	plain, err := s.getRecord(ctx, name, index.MaxSegment)
	if err != nil {
		return nil, fmt.Errorf("read index segment %s: %w", name, err)
	}
	seg, err := index.Decode(plain)
	if err != nil {
		return nil, fmt.Errorf("read index segment %s: %w", name, err)
	}
	return seg, nil
}

// find returns the place of a chunk that should be there. Before it says that
// there is none it makes sure that the index cache is good.
func (s *Store) find(ctx context.Context, v *view, id chunk.ID) (index.Place, error) {
	p, ok, err := v.index.Lookup(id)
	if err == nil && !ok && v.done == nil && v.Condemned > 0 {
		if p, ok, err = s.findCondemned(ctx, v, id); err != nil {
			return p, fmt.Errorf("look up chunk %s: %w", id.Short(), err)
		}
	}
	if err != nil || !ok {
		fetch := func(name string) (*index.Segment, error) { return s.readSegment(context.WithoutCancel(ctx), name) }
		again, fetchErr := v.index.Distrust(fetch)
		if again {
			s.env.Log.Warn("the index cache was damaged or old and has been built again", "chunk", id.Short())
			p, ok, err = v.index.Lookup(id)
		}
		err = errors.Join(err, fetchErr)
	}
	if err != nil {
		return p, fmt.Errorf("look up chunk %s: %w", id.Short(), err)
	}
	if !ok {
		return p, &DamageError{Chunk: id, Err: errAbsent}
	}
	return p, nil
}

// findCondemned finds a chunk in the packs that the open generation in v has
// condemned: until the closing has rescued it, that is the only place of what only
// commits need that the plan did not know. No session may rely on these packs, but
// they can be read.
func (s *Store) findCondemned(ctx context.Context, v *view, id chunk.ID) (index.Place, bool, error) {
	v.oldMu.Lock()
	defer v.oldMu.Unlock()
	if v.old == nil {
		packs, err := s.livePacks(ctx, v)
		if err != nil {
			return index.Place{}, false, err
		}
		look, err := s.condemned(ctx, v, packs)
		if err != nil {
			return index.Place{}, false, err
		}
		v.old = look.index
	}
	return v.old.Lookup(id)
}
