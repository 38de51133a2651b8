// Package rewrite takes files out of snapshots that were made with them. A
// snapshot is not changed: Run makes a new one beside each that has a match,
// with the same manifest and a tree that lacks what matched, and then asks to
// forget the old one, whose content goes with the next prune. Directories
// without a match are taken over as they are, and what many snapshots share is
// looked at once. It reads trees through package snapshot, saves and commits
// through store, and decides with the patterns of package source.
//
// An error of one snapshot leaves that one as it was and the others go on; an
// error of the repository ends the run before anything is forgotten, and the
// next run goes on where it ended.
package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"coffer/snapshot"
	"coffer/source"
	"coffer/store"
)

// Options say what to take out, and what to do with the snapshots that had it.
type Options struct {
	// Patterns mean what they mean in a backup: below a root of the backup they
	// are held against the path within it and the path in the snapshot. Here they
	// can also name a root itself, or a stream.
	Patterns []source.Pattern
	DryRun   bool // only report what would be dropped
	Forget   bool // ask to forget the snapshots that were rewritten
	// Held takes snapshots that are held, too: the hold goes over to the new one.
	// Without it they are refused with a HeldError. Without Forget nothing is
	// taken from a hold, so none is looked at.
	Held  bool
	Now   func() time.Time // nil: time.Now
	Event func(Event)
}

// An Event is a step of progress.
type Event struct {
	Snapshot string // ID of the one that is looked at or rewritten
	Saving   bool   // false: looking for matches
	Done, Of int    // snapshots in this phase
}

// ErrNoPatterns says that there is nothing to take out.
var ErrNoPatterns = errors.New("rewrite: no patterns were given")

// A HeldError says that a snapshot was left as it is because it is held.
type HeldError struct {
	Snapshot string
	Holds    []snapshot.Held
}

func (e *HeldError) Error() string {
	h := e.Holds[0]
	text := fmt.Sprintf("rewrite snapshot %s: it is held by %s", e.Snapshot, h.Record)
	if h.Reason != "" {
		text += fmt.Sprintf(" (%q)", h.Reason)
	}
	if more := len(e.Holds) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Run takes what opt.Patterns match out of those of snaps that are present. The
// report lists the snapshots that had a match, and also comes with an error.
func Run(ctx context.Context, st *store.Store, snaps []snapshot.Snapshot, opt Options) (Report, error) {
	if len(opt.Patterns) == 0 {
		return Report{}, ErrNoPatterns
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Event == nil {
		opt.Event = func(Event) {}
	}
	snaps = snapshot.Present(snaps)
	slices.SortFunc(snaps, snapshot.Compare)
	r := &run{store: st, opt: &opt, plan: newPlan(opt.Patterns)}
	todo, err := r.look(ctx, snaps)
	if err == nil && !opt.DryRun {
		err = r.save(ctx, todo)
	}
	return r.report, errors.Join(err, r.report.err())
}

// A run is one Run under way.
type run struct {
	store  *store.Store
	opt    *Options
	plan   *plan
	saver  *saver
	report Report
}

// A task is a snapshot that has a match.
type task struct {
	snap   snapshot.Snapshot
	judge  *judge
	result int // its place in the report
}

// look finds out which snapshots have a match. It is registered as their reader
// meanwhile.
func (r *run) look(ctx context.Context, snaps []snapshot.Snapshot) (todo []task, err error) {
	var commits []string
	for i := range snaps {
		commits = append(commits, alive(&snaps[i])...)
	}
	err = r.store.Read(ctx, commits, func(ctx context.Context) error {
		for i, s := range snaps {
			r.opt.Event(Event{Snapshot: s.ID, Done: i, Of: len(snaps)})
			if t, ok := r.lookAt(ctx, s); ok {
				todo = append(todo, t)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	r.report.Looked = len(snaps)
	return todo, err
}

// lookAt tells whether a snapshot is to be rewritten. Where it cannot be, the
// report says why.
func (r *run) lookAt(ctx context.Context, s snapshot.Snapshot) (t task, ok bool) {
	t = task{snap: s, result: len(r.report.Snapshots)}
	var dropped snapshot.Totals
	var err error
	if t.judge, err = r.plan.judgeOf(&s); err == nil {
		dropped, err = r.plan.look(ctx, r.store, t.judge, s.Root)
	}
	if err == nil && dropped.Items == 0 {
		return t, false
	}
	if err != nil {
		err = fmt.Errorf("look through snapshot %s: %w", s.ID, err)
	} else if held := r.refusing(&s); len(held) > 0 {
		err = &HeldError{Snapshot: s.ID, Holds: held}
	}
	r.report.Snapshots = append(r.report.Snapshots, Result{Old: s.ID, Dropped: dropped, Err: err})
	return t, err == nil
}

// refusing returns the holds that forbid to rewrite s.
func (r *run) refusing(s *snapshot.Snapshot) []snapshot.Held {
	if !r.opt.Forget || r.opt.Held {
		return nil
	}
	return r.holding(s)
}

// holding returns the holds on s that have not ended.
func (r *run) holding(s *snapshot.Snapshot) []snapshot.Held {
	now := r.opt.Now()
	return slices.DeleteFunc(slices.Clone(s.Holds), func(h snapshot.Held) bool { return h.Ended(now) })
}

// alive returns the commits of s that nobody asked to forget.
func alive(s *snapshot.Snapshot) []string {
	ids := slices.Clone(s.Records)
	for _, h := range s.Holds {
		ids = append(ids, h.Record)
	}
	return ids
}
