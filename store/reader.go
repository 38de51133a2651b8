package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"time"
)

// pollEvery is how often a reader looks for a newer generation. Until it has
// moved there, the prune that made that one waits for it.
const pollEvery = 10 * time.Second

// Read runs fn while this process is registered as a reader of the given
// commits, so that prune leaves them in peace: what they need stays until fn has
// returned, though they be forgotten meanwhile. A commit that is gone already is
// ErrGone. Where the repository cannot be written to, Read goes on unregistered,
// with a warning.
func (s *Store) Read(ctx context.Context, commits []string, fn func(context.Context) error) error {
	r := &reader{s: s, commits: commits}
	err := r.register(ctx)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) {
		s.env.Log.Warn("reading without being registered: a prune may remove what is read meanwhile", "err", err)
		return fn(ctx)
	}
	if err != nil {
		return err
	}
	stop := r.follow(ctx)
	err = fn(ctx)
	stop()
	return errors.Join(err, r.w.Abort(ctx))
}

// A reader is a registration that moves on with the generations.
type reader struct {
	s       *Store
	commits []string
	w       *Session
}

func (r *reader) register(ctx context.Context) error {
	w := newSession(r.s)
	if err := w.register(ctx, intent{Version: recordVersion, Snapshots: r.commits}); err != nil {
		return err
	}
	for _, id := range r.commits {
		if !slices.ContainsFunc(w.view.commits, func(c Commit) bool { return c.ID == id }) {
			return errors.Join(fmt.Errorf("read snapshot %s: %w", id, ErrGone), w.Abort(ctx))
		}
	}
	r.w = w
	return nil
}

// follow moves the registration to each newer generation that still has the
// commits, until the function that it returns is called. A reader whose commit
// was dropped stays where it is, and what it reads stays with it.
func (r *reader) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() {
		tick := time.NewTicker(r.s.env.PollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := r.move(ctx); errors.Is(err, ErrGone) {
				return
			} else if err != nil && ctx.Err() == nil {
				r.s.env.Log.Warn("could not look for a newer generation", "err", err)
			}
		}
	})
	return func() { cancel(); over.Wait() }
}

// move registers at the newest generation and gives the old registration up.
func (r *reader) move(ctx context.Context) error {
	newer, err := r.s.exists(ctx, generationName(r.w.generation+1))
	if err != nil || !newer {
		return err
	}
	newest, err := r.s.newestGeneration(ctx)
	if err != nil {
		return err
	}
	for g := r.w.generation + 1; g <= newest; g++ { // any of them may have dropped what we read
		gen, err := r.s.getGeneration(ctx, g)
		if err != nil {
			return err
		}
		for _, id := range r.commits {
			if slices.Contains(gen.Dropped, id) {
				return ErrGone
			}
		}
	}
	old := r.w
	if err := r.register(ctx); err != nil {
		return err
	}
	return old.Abort(ctx)
}
