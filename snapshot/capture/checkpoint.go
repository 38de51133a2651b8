package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/snapshot"
)

// checkpoints commits what has been read now and then, each time in a session
// of its own, so that a run that is cut off after hours loses little. The
// function that it returns ends it.
func (j *job) checkpoints() (stop func()) {
	end := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		j.watch(end)
	}()
	return func() { close(end); <-over }
}

// maxFresh is how many new chunks a session takes before a checkpoint ends it:
// what a session knows of its own chunks is in memory, about 130 bytes each.
const maxFresh = 300_000

// watch makes a checkpoint whenever one is due.
func (j *job) watch(end chan struct{}) {
	tick := time.NewTicker(min(j.e.opt.Checkpoint, time.Second))
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		if time.Since(last) < j.e.opt.Checkpoint && j.fresh() < maxFresh {
			continue
		}
		if err := j.checkpoint(); err != nil {
			j.e.fail(fmt.Errorf("checkpoint: %w", err))
			return
		}
		last = time.Now()
	}
}

// fresh returns how many new chunks the session has.
func (j *job) fresh() int64 {
	j.e.gate.RLock()
	defer j.e.gate.RUnlock()
	return j.e.keep.Stats().NewChunks
}

// checkpoint commits an incomplete snapshot and goes on in a new session. All
// that the first one committed is in the view of the next.
func (j *job) checkpoint() error {
	e := j.e
	e.gate.Lock()
	defer e.gate.Unlock()
	if e.ctx.Err() != nil {
		return nil // whoever ended it says why
	}
	if _, err := j.commitPart(e.ctx); err != nil {
		return err
	}
	keep, err := e.place.Begin(e.ctx)
	if err != nil {
		return err
	}
	e.keep = keep
	j.sequence++
	return nil
}

// commitPart commits what is there. Nobody else is at work.
func (j *job) commitPart(ctx context.Context) (snapshot.Snapshot, error) {
	m, err := j.manifest(ctx)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	m.State = snapshot.Incomplete
	return j.send(ctx, m)
}

// interrupted saves what was read when ctx ended, so that the next run need not
// read it again.
func (j *job) interrupted(ctx context.Context) (Report, error) {
	cause := context.Cause(ctx)
	rep := j.report()
	if j.e.opt.DryRun || j.e.keep.Stats().NewChunks == 0 {
		return rep, cause
	}
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	j.e.ctx = free
	snap, err := j.commitPart(free)
	rep.Snapshot = snap
	return rep, errors.Join(cause, err)
}

// sofar returns the entry of a root as far as it has been read. ok is false if
// nothing can be said of it.
func (run *rootRun) sofar(ctx context.Context) (en snapshot.Entry, ok bool, err error) {
	if run.ready {
		return run.entry, true, nil
	}
	if run.node == nil {
		return en, false, nil
	}
	return run.node.sofar(ctx)
}

// sofar lists what a directory under way has. The node itself stays as it is.
func (n *node) sofar(ctx context.Context) (en snapshot.Entry, ok bool, err error) {
	if n.closed {
		return n.entry, true, nil // on its way to the parent
	}
	if n.names == nil {
		return en, false, nil // not begun
	}
	l := snapshot.NewListing(rawSaver{n.e})
	if n.listing != nil {
		l = n.listing.Clone()
	}
	for _, b := range n.queue {
		if err := b.sofar(ctx, l); err != nil {
			return en, false, err
		}
	}
	en = n.entry
	tree, sum, err := l.Close(ctx)
	en.Tree, en.Items, en.Files, en.Size = tree, sum.Items, sum.Files, sum.Bytes
	return en, err == nil, err
}

func (b *batch) sofar(ctx context.Context, l *snapshot.Listing) error {
	for i := range b.slots {
		en, ok := b.slots[i].entry, b.slots[i].state == done
		if c := b.slots[i].child; c != nil {
			var err error
			if en, ok, err = c.sofar(ctx); err != nil {
				return err
			}
		}
		if !ok {
			continue
		}
		if err := l.Add(ctx, &en); err != nil {
			return err
		}
	}
	return nil
}
