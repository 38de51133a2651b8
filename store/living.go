package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer/bucket"
)

// A SessionInfo is what a session says of itself, for people.
type SessionInfo struct {
	ID      string    `json:"id"`
	Writer  bool      `json:"writer"`
	Host    string    `json:"host,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started"`
}

func (i SessionInfo) String() string {
	what := "a reader"
	if i.Writer {
		what = "a backup or other writer"
	}
	return fmt.Sprintf("%s on %s, process %d, since %s", what, i.Host, i.PID, i.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// A WaitError says that a prune cannot go on while sessions that began before it
// are under way. Nothing is lost: whoever comes next finishes it.
type WaitError struct{ Sessions []SessionInfo }

func (e *WaitError) Error() string {
	list := make([]string, len(e.Sessions))
	for i, s := range e.Sessions {
		list[i] = s.String()
	}
	return "it has to wait for " + strings.Join(list, "; ")
}

// undecided returns the sessions of generation g that have no fate.
func (s *Store) undecided(ctx context.Context, g uint64) ([]string, error) {
	sessions, err := s.list(ctx, sessionPrefix(g))
	if err != nil {
		return nil, err
	}
	fates, err := s.list(ctx, fatePrefix(g))
	if err != nil {
		return nil, err
	}
	decided := make(map[string]bool, len(fates))
	for _, name := range fates {
		decided[strings.TrimPrefix(name, fatePrefix(g))] = true
	}
	var open []string
	for _, name := range sessions {
		if id := strings.TrimPrefix(name, sessionPrefix(g)); !decided[id] {
			open = append(open, id)
		}
	}
	return open, nil
}

// look reads what a session says of itself, and finds out whether it may be
// alive. Only where the bucket can tell is it known to be dead.
func (s *Store) look(ctx context.Context, g uint64, id string) (SessionInfo, bool) {
	info := SessionInfo{ID: id}
	name := sessionName(g, id)
	if in, err := s.getIntent(ctx, name); err == nil {
		info.Writer, info.Host, info.PID, info.Started = in.Writer, in.Host, in.PID, time.Unix(in.Started, 0)
	}
	if h, ok := bucket.As[bucket.Holder](s.bucket); ok {
		held, err := h.Held(ctx, name)
		return info, held || err != nil && !isMissing(err)
	}
	return info, true
}

// A watch waits until all sessions of a generation are decided.
type watch struct {
	s     *Store
	g     uint64
	opt   PruneOptions
	beats map[string]string    // last beat that was seen, by session
	seen  map[string]bool      // sessions that have beaten while we watched
	since map[string]time.Time // when that was, by our own monotonic clock
}

// decide waits until every session that is registered with generation g has a
// fate, and gives one to those that are dead. The listing of the registrations
// is made first of all. Whoever reads the fates then must find all of theirs.
func (s *Store) decideAll(ctx context.Context, g uint64, opt PruneOptions) (registered []string, err error) {
	w := watch{s: s, g: g, opt: opt, beats: map[string]string{}, seen: map[string]bool{}, since: map[string]time.Time{}}
	names, err := s.list(ctx, sessionPrefix(g))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		registered = append(registered, strings.TrimPrefix(name, sessionPrefix(g)))
	}
	begun := time.Now()
	for {
		open, err := s.undecided(ctx, g)
		if err != nil {
			return nil, err
		}
		open, err = w.bury(ctx, open)
		if err != nil {
			return nil, err
		}
		if len(open) == 0 {
			return registered, nil
		}
		var infos []SessionInfo
		for _, id := range open {
			info, _ := s.look(ctx, g, id)
			infos = append(infos, info)
		}
		if opt.hurry || time.Since(begun) >= opt.Wait && slices.ContainsFunc(open, w.alive) {
			return nil, &WaitError{infos}
		}
		opt.Event(PruneEvent{Step: "wait", Sessions: infos})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(time.Second, max(min(opt.Wait, opt.Patience)/20, 10*time.Millisecond))):
		}
	}
}

// bury writes ABORT for the sessions that are dead and returns the others.
func (w *watch) bury(ctx context.Context, open []string) ([]string, error) {
	var alive []string
	for _, id := range open {
		dead, err := w.dead(ctx, id)
		if err != nil {
			return nil, err
		}
		if !dead {
			alive = append(alive, id)
			continue
		}
		name := fateName(w.g, id)
		err = w.s.vital(func() error { return w.s.putCBOR(ctx, name, fate{Version: recordVersion, Outcome: fateAbort}) })
		if err != nil {
			if _, getErr := w.s.getFate(ctx, name); getErr != nil {
				return nil, fmt.Errorf("end the dead session %s: %w", id, errors.Join(err, getErr))
			}
		}
	}
	return alive, nil
}

// alive reports whether a session is known to be alive, so that waiting for it
// may take any time. Of one that may be dead it will be known in a while.
func (w *watch) alive(id string) bool {
	_, holds := bucket.As[bucket.Holder](w.s.bucket)
	return holds || w.seen[id]
}

// dead reports whether a session can be taken for dead: its lock can be taken,
// or where there are no locks, there has been no beat for long.
func (w *watch) dead(ctx context.Context, id string) (bool, error) {
	if h, ok := bucket.As[bucket.Holder](w.s.bucket); ok {
		held, err := h.Held(ctx, sessionName(w.g, id))
		if err != nil && !isMissing(err) {
			return false, fmt.Errorf("see whether session %s is alive: %w", id, err)
		}
		return !held, nil
	}
	beats, err := w.s.list(ctx, beatPrefix(w.g, id))
	if err != nil {
		return false, err
	}
	last := ""
	if len(beats) > 0 {
		last = beats[len(beats)-1]
	}
	if since, seen := w.since[id]; !seen || w.beats[id] != last {
		w.seen[id] = seen
		w.beats[id], w.since[id] = last, time.Now()
		return false, nil
	} else if time.Since(since) < w.opt.Patience {
		return false, nil
	}
	return true, nil
}
