package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"coffer/bucket"
	"coffer/chunk"
	"coffer/index"
)

// A Commit is a session that was committed, with what its writer handed over.
type Commit struct {
	ID      string
	Payload []byte
}

// A view is what one generation holds at the moment it was read: its commits
// and where their chunks are.
type view struct {
	generation uint64
	index      *index.View
	commits    []Commit
	segments   []segmentRef
}

// recordReaders is how many small records are read at once: enough to hide a
// network's delay.
const recordReaders = 8

// Refresh reads what has been committed until now. Loads see it from then on.
func (s *Store) Refresh(ctx context.Context) error {
	g, err := s.newestGeneration(ctx)
	if err != nil {
		return err
	}
	_, err = s.readView(ctx, g)
	return err
}

// Commits returns all commits, in no particular order.
func (s *Store) Commits(ctx context.Context) ([]Commit, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return v.commits, nil
}

// current returns the newest view that was read, and reads one if there is
// none.
func (s *Store) current(ctx context.Context) (*view, error) {
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	if v != nil {
		return v, nil
	}
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, nil
}

// readView reads the commits of generation g and makes them the current view.
// Segments that the last view has are not read again.
func (s *Store) readView(ctx context.Context, g uint64) (*view, error) {
	names, fates, err := s.readFates(ctx, g)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &view{generation: g}
	if s.view != nil && s.view.generation == g {
		v.index = s.view.index
	} else {
		v.index = index.NewView(s.tableOpener(), s.memoryEntries())
	}
	for i, f := range fates {
		if f.Outcome != fateCommit {
			continue
		}
		v.commits = append(v.commits, Commit{ID: strings.TrimPrefix(names[i], fatePrefix(g)), Payload: f.Payload})
		v.segments = append(v.segments, f.Segments...)
	}
	if err := s.loadSegments(ctx, v); err != nil {
		if s.view == nil || s.view.index != v.index { // others go on with a shared one
			err = errors.Join(err, v.index.Close())
		}
		return nil, err
	}
	s.view = v
	return v, nil
}

func (s *Store) tableOpener() func() (*index.Table, error) {
	if s.env.CacheDir == "" {
		return nil
	}
	return s.openTable
}

// readFates reads all fates of generation g. They are settled first: what this
// process builds on must not vanish in a power cut.
func (s *Store) readFates(ctx context.Context, g uint64) ([]string, []fate, error) {
	var names []string
	for info, err := range s.bucket.List(ctx, fatePrefix(g), "") {
		if err != nil {
			return nil, nil, fmt.Errorf("list fates: %w", err)
		}
		names = append(names, info.Name)
	}
	if err := bucket.Settle(ctx, s.bucket, names...); err != nil {
		return nil, nil, fmt.Errorf("settle fates: %w", err)
	}
	fates := make([]fate, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for i, name := range names {
		group.Go(func() (err error) {
			if fates[i], err = s.getFate(ctx, name); err != nil {
				return fmt.Errorf("read fate: %w", err)
			}
			return nil
		})
	}
	return names, fates, group.Wait()
}

// loadSegments adds to v's index what it does not have yet: from the cache
// where the segments together are more than memory should hold.
func (s *Store) loadSegments(ctx context.Context, v *view) error {
	want := make([]string, 0, len(v.segments))
	total := 0
	for _, r := range v.segments {
		total += int(r.Entries)
		if !v.index.Has(r.Name) {
			want = append(want, r.Name)
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
	for _, name := range want {
		group.Go(func() error { return s.loadSegment(ctx, v.index, name) })
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
func (s *Store) attachTable(v *view, want []string) ([]string, error) {
	missing, err := v.index.Attach(s.openTable, want)
	if err != nil {
		s.env.Log.Warn("going on without the index cache", "err", err)
		return want, nil
	}
	return missing, nil
}

func (s *Store) loadSegment(ctx context.Context, v *index.View, name string) error {
	seg, err := s.readSegment(ctx, name)
	if err != nil {
		return err
	}
	return v.Add(name, seg)
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
