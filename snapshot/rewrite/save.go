package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coffer/snapshot"
	"coffer/store"
)

// tries is how often a session is begun again that a prune took for dead.
const tries = 3

// errGone says that a snapshot went while the run was under way.
var errGone = errors.New("it has been forgotten and pruned meanwhile")

// save rewrites the snapshots, and asks to forget what they stood in for when
// all are there.
func (r *run) save(ctx context.Context, todo []task) error {
	if len(todo) == 0 {
		return nil
	}
	before, err := r.before(ctx)
	if err != nil {
		return err
	}
	r.saver = &saver{plan: r.plan, store: r.store, before: before}
	var ask []string
	for i := range todo {
		t := &todo[i]
		r.opt.Event(Event{Snapshot: t.snap.ID, Saving: true, Done: i, Of: len(todo)})
		gone, err := r.replace(ctx, t)
		r.report.Stored = r.saver.stored
		if err != nil {
			r.report.Snapshots[t.result].Err = fmt.Errorf("rewrite snapshot %s: %w", t.snap.ID, err)
			if !errors.Is(err, errGone) {
				return nil // the report has the error
			}
		}
		ask = append(ask, gone...)
	}
	return r.forget(ctx, ask)
}

func (r *run) forget(ctx context.Context, ask []string) error {
	if !r.opt.Forget {
		return nil
	}
	if err := r.store.Forget(ctx, ask); err != nil {
		return fmt.Errorf("forget the snapshots that were rewritten: %w", err)
	}
	r.report.Asked = ask
	return nil
}

// before returns the snapshots that there are, by the ID of the one that each
// was made from: an earlier run may have ended before it could forget those.
func (r *run) before(ctx context.Context) (map[string][]snapshot.Snapshot, error) {
	commits, err := r.store.Commits(ctx)
	if err != nil {
		return nil, err
	}
	records := make([]snapshot.Record, len(commits))
	for i, c := range commits {
		records[i] = snapshot.Record(c)
	}
	all, _ := snapshot.Collect(records, nil) // what cannot be read was not made by us
	found := map[string][]snapshot.Snapshot{}
	for _, s := range all {
		if s.Rewrote != "" && len(s.Records) > 0 {
			found[s.Rewrote] = append(found[s.Rewrote], s)
		}
	}
	return found, nil
}

// replace puts a new snapshot in the place of one, and returns the commits that
// are to be asked for.
func (r *run) replace(ctx context.Context, t *task) (ask []string, err error) {
	made, err := r.saver.rewrite(ctx, t)
	if err != nil {
		return nil, err
	}
	if r.opt.Forget {
		for _, h := range r.holding(&t.snap) {
			if err := r.saver.hold(ctx, &made, h.Hold); err != nil {
				return nil, fmt.Errorf("take the hold %s over: %w", h.Record, err)
			}
		}
	}
	r.report.Snapshots[t.result].New = made.ID
	ask = alive(&t.snap)
	if t.snap.Forgotten { // it was there for its holds alone, and so is the new one
		ask = append(ask, made.Records...)
	}
	return ask, nil
}

// A saver makes snapshots.
type saver struct {
	*plan
	store  *store.Store
	before map[string][]snapshot.Snapshot // by what they were made from
	made   []string                       // commits that cut's trees are in
	cut    map[place]snapshot.Entry       // directories that were rewritten
	stored int64
}

// rewrite makes the snapshot that stands in for t's, or finds it.
func (s *saver) rewrite(ctx context.Context, t *task) (made snapshot.Snapshot, err error) {
	err = s.session(ctx, func(w *store.Session) ([]byte, error) {
		if !slices.ContainsFunc(alive(&t.snap), func(id string) bool { return contains(w, id) }) {
			return nil, errGone
		}
		s.trust(w)
		m, err := s.manifest(ctx, w, t)
		if err != nil {
			return nil, err
		}
		made = snapshot.Snapshot{Manifest: m}
		for _, old := range s.before[t.snap.ID] {
			if old.Root == m.Root && contains(w, old.Records[0]) {
				made = old
				return nil, nil
			}
		}
		return snapshot.EncodeManifest(&m)
	}, func(c store.Commit) {
		made.ID, made.Records = c.ID, []string{c.ID}
	})
	s.made = append(s.made, made.Records...)
	return made, err
}

// trust forgets the directories that were rewritten before, unless w may name
// them: a prune may have taken their snapshots away.
func (s *saver) trust(w *store.Session) {
	if s.cut == nil || !contains(w, s.made...) {
		s.cut, s.made = map[place]snapshot.Entry{}, nil
	}
}

// hold puts a hold on a snapshot that was made, unless an earlier run has done
// so.
func (s *saver) hold(ctx context.Context, made *snapshot.Snapshot, h snapshot.Hold) error {
	if slices.ContainsFunc(made.Holds, func(old snapshot.Held) bool { return old.Hold == h }) {
		return nil
	}
	m := made.Manifest
	m.Original, m.Hold = made.ID, &h
	return s.session(ctx, func(w *store.Session) ([]byte, error) {
		if !contains(w, made.Records...) {
			return nil, errGone
		}
		return snapshot.EncodeManifest(&m)
	}, func(store.Commit) {})
}

// session commits the payload that fn returns, and tells done. If fn returns
// none there is nothing to commit. A session that was taken for dead is begun
// again.
func (s *saver) session(ctx context.Context, fn func(*store.Session) ([]byte, error), done func(store.Commit)) error {
	var err error
	for range tries {
		if err = s.once(ctx, fn, done); !errors.Is(err, store.ErrFenced) {
			return err
		}
		s.cut = nil // nothing of that session counts
	}
	return err
}

func (s *saver) once(ctx context.Context, fn func(*store.Session) ([]byte, error), done func(store.Commit)) error {
	w, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	payload, err := fn(w)
	if err != nil || payload == nil {
		return errors.Join(err, w.Abort(ctx))
	}
	c, err := w.Commit(ctx, payload)
	if err != nil {
		return err
	}
	s.stored += w.Stats().Stored
	done(c)
	return nil
}

// contains reports whether w may build on all of these commits.
func contains(w *store.Session, ids ...string) bool {
	left := make(map[string]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	for _, c := range w.Commits() {
		delete(left, c.ID)
	}
	return len(left) == 0
}
