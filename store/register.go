package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"coffer/bucket"
)

// ErrGone says that a snapshot that was to be read has been forgotten, and a
// prune is removing it or has.
var ErrGone = errors.New("it has been forgotten and pruned")

// viewTries is how often a session starts over because prunes went by while it
// began. Each prune takes many requests, a beginning only a few.
const viewTries = 10

// Begin registers a writing session: intent first, then a second look that no
// newer generation has appeared, then the view.
func (s *Store) Begin(ctx context.Context) (*Session, error) {
	w := newSession(s)
	if err := w.register(ctx, intent{Version: recordVersion, Writer: true}); err != nil {
		return nil, err
	}
	return w, nil
}

// register gives the session its id, its registration and its view. A
// registration that is not used stays: only the sweep deletes one.
func (w *Session) register(ctx context.Context, in intent) error {
	var vanished error
	for range viewTries {
		g, err := w.s.newestGeneration(ctx)
		if err != nil {
			return err
		}
		if err := w.announce(ctx, g, in); err != nil {
			return err
		}
		newer, err := w.s.exists(ctx, generationName(g+1))
		if err == nil && !newer {
			w.view, err = w.s.readView(ctx, g)
		}
		if err == nil && !newer {
			return nil
		}
		if newer || isMissing(err) {
			vanished, err = err, nil
		}
		if err := errors.Join(err, w.giveUp(ctx)); err != nil {
			return err
		}
	}
	if vanished == nil {
		vanished = errors.New("others prune all the time; try again later")
	}
	return fmt.Errorf("begin: the repository keeps changing, or a part of it is missing (run 'coffer verify'): %w", vanished)
}

// giveUp ends a registration that is not used, so that no prune waits for it.
func (w *Session) giveUp(ctx context.Context) error {
	err := w.decide(context.WithoutCancel(ctx), fate{Version: recordVersion, Outcome: fateAbort})
	if err != nil && !errors.Is(err, ErrFenced) {
		w.s.env.Log.Warn("could not record that the session was given up", "err", err)
	}
	if err := w.release(); err != nil {
		return fmt.Errorf("release session: %w", err)
	}
	return nil
}

// announce draws a new id and puts the registration, held where the backend
// can show that we are alive; elsewhere beats show it.
func (w *Session) announce(ctx context.Context, g uint64, in intent) error {
	if err := w.name(g); err != nil {
		return err
	}
	in.Host, in.PID, in.Started = w.s.env.Host, os.Getpid(), w.s.env.Now().Unix()
	name := sessionName(g, w.id)
	plain, err := cbor.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	sealed, err := w.s.box.SealRecord(name, plain)
	if err != nil {
		return err
	}
	if h, ok := bucket.As[bucket.Holder](w.s.bucket); ok {
		w.release, err = h.PutHeld(ctx, name, sealed)
	} else if err = w.s.put(ctx, name, sealed); err == nil {
		w.release = w.s.beat(ctx, g, w.id)
	}
	if err != nil {
		return fmt.Errorf("register session: %w", err)
	}
	return nil
}

// beatEvery is how often a session shows that it is alive where the bucket
// cannot, and patience for how long without a new beat a pruner believes in it:
// ten lost beats. A session that is taken for dead by mistake does its work
// again; it loses nothing.
const (
	beatEvery = time.Minute
	patience  = 10 * time.Minute
)

// beat puts a small object every minute until the function that it returns is
// called. A beat that fails is not missed: the next one serves.
func (s *Store) beat(ctx context.Context, g uint64, id string) (stop func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var over sync.WaitGroup
	over.Go(func() {
		tick := time.NewTicker(s.env.BeatEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.put(ctx, beatName(g, id, n), nil); err != nil && ctx.Err() == nil {
				s.env.Log.Warn("could not show that the session is alive", "err", err)
			}
		}
	})
	return func() error {
		cancel()
		over.Wait()
		return nil
	}
}

// stands finds out whether a commit that was written is believed: a prune that
// took this session for dead would have closed a newer generation without it.
func (w *Session) stands(ctx context.Context) error {
	newer, err := w.s.exists(ctx, generationName(w.generation+1))
	if err == nil && !newer {
		return nil
	}
	if err != nil {
		return fmt.Errorf("see whether the commit stands: %w", err)
	}
	for range viewTries {
		var t turn
		if t, err = w.s.turn(ctx); err != nil {
			break
		}
		if t.closed <= w.generation {
			return nil
		}
		var ok bool
		ok, err = w.s.believed(ctx, w.generation, t.closed, w.id)
		if err == nil && !ok {
			return ErrFenced
		}
		if err == nil || !isMissing(err) { // a later prune may have replaced the catalogue
			break
		}
	}
	if err != nil {
		return fmt.Errorf("see whether the commit stands: %w", err)
	}
	return nil
}

// believed reports whether the closing of generation m lists a commit of
// generation g, or one on the way to it has dropped it: who was forgotten was
// valid.
func (s *Store) believed(ctx context.Context, g, m uint64, id string) (bool, error) {
	done, err := s.getClosing(ctx, m)
	if err != nil {
		return false, err
	}
	if ok, err := s.listed(ctx, done.Catalogue, g, id); ok || err != nil {
		return ok, err
	}
	for n := g + 1; n <= m; n++ {
		gen, err := s.getGeneration(ctx, n)
		if err != nil {
			return false, err
		}
		for _, d := range gen.Dropped {
			if d == id {
				return true, nil
			}
		}
	}
	return false, nil
}
