package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"coffer/bucket"
	"coffer/chunk"
)

// ErrFenced says that a session was declared dead while it ran: what it did is
// void and must be done again in a new session.
var ErrFenced = errors.New("this session was ended by a prune that took it for dead; run the command again")

// SessionStats counts what a session did.
type SessionStats struct {
	NewChunks    int64
	NewBytes     int64 // plain bytes of content; tree pages are not counted
	ReusedChunks int64
	ReusedBytes  int64
	Stored       int64 // bytes of objects written
	Packs        int64
}

// A Session saves chunks and commits them all at once, or leaves nothing. It is
// safe for concurrent use until Commit or Abort, one of which must be called;
// Store.Write does.
type Session struct {
	*packer
	view    *view
	release func() error
	over    bool

	known map[chunk.ID]struct{} // saved in this session; under packer.mu

	newChunks, newBytes, reusedChunks, reusedBytes atomic.Int64
}

func newSession(s *Store) *Session {
	return &Session{packer: newPacker(s), known: map[chunk.ID]struct{}{}, release: func() error { return nil }}
}

// Write runs fn in a session and commits what it saved, with the payload that
// it returned. If fn fails, nothing of it remains visible.
func (s *Store) Write(ctx context.Context, fn func(context.Context, *Session) ([]byte, error)) (Commit, error) {
	w, err := s.Begin(ctx)
	if err != nil {
		return Commit{}, err
	}
	payload, err := fn(ctx, w)
	if err != nil {
		return Commit{}, errors.Join(err, w.Abort(ctx))
	}
	return w.Commit(ctx, payload)
}

// ID returns the id that the commit will have.
func (w *Session) ID() string { return w.id }

// Commits returns the commits that this session may build on.
func (w *Session) Commits() []Commit { return w.view.commits }

// Lost reports whether a chunk that earlier snapshots name is lost, as repair
// has recorded: it must be read again and saved.
func (w *Session) Lost(id chunk.ID) bool { return w.view.Lost(id) }

// AnyLost reports whether Lost can be true for any chunk.
func (w *Session) AnyLost() bool { return len(w.view.lost) > 0 }

// Load returns a chunk of the session's view, or one of a commit of its own.
func (w *Session) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := w.s.load(ctx, w.view, k, id)
	if w.view.done == nil && err != nil && ctx.Err() == nil { // closed meanwhile, and rescued from a pack that was condemned
		return w.s.loadMoved(ctx, w.view, k, id, err)
	}
	return data, err
}

// Save stores data, unless the session's view or the session itself has it.
// Afterwards data may be used again. The chunk is durable after Commit.
func (w *Session) Save(ctx context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	id := w.s.sum(k, data)
	fresh, err := w.claim(id)
	if err != nil {
		return id, err
	}
	if !fresh {
		w.reusedChunks.Add(1)
		w.reusedBytes.Add(content(k, data))
		return id, nil
	}
	w.newChunks.Add(1)
	w.newBytes.Add(content(k, data))
	if err := w.lanes[laneOf(k)].add(ctx, id, data); err != nil {
		return id, w.fail(fmt.Errorf("save chunk %s: %w", id.Short(), err))
	}
	return id, nil
}

// content returns how many bytes of a chunk are what somebody backed up.
func content(k chunk.Kind, data []byte) int64 {
	if k == chunk.Tree {
		return 0
	}
	return int64(len(data))
}

// claim reports whether the chunk is new, and if so takes it on: the next
// caller with the same bytes need not store them.
func (w *Session) claim(id chunk.ID) (fresh bool, err error) {
	w.mu.Lock()
	_, mine := w.known[id]
	err = w.err
	w.mu.Unlock()
	if mine || err != nil {
		return false, err
	}
	if _, known, err := w.view.index.Lookup(id); known || err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, mine := w.known[id]; mine {
		return false, nil
	}
	w.known[id] = struct{}{}
	return true, nil
}

// Stats returns what the session has done so far.
func (w *Session) Stats() SessionStats {
	return SessionStats{NewChunks: w.newChunks.Load(), NewBytes: w.newBytes.Load(), ReusedChunks: w.reusedChunks.Load(),
		ReusedBytes: w.reusedBytes.Load(), Stored: w.stored.Load(), Packs: w.packCount.Load()}
}

// Commit makes what was saved durable and real, and ends the session.
func (w *Session) Commit(ctx context.Context, payload []byte) (Commit, error) {
	c := Commit{ID: w.id, Payload: payload}
	if err := w.Flush(ctx); err != nil {
		return c, errors.Join(err, w.Abort(ctx))
	}
	f := fate{Version: recordVersion, Outcome: fateCommit, Segments: w.written, Payload: payload}
	if err := w.decide(ctx, f); err != nil {
		return c, errors.Join(err, w.end())
	}
	return c, errors.Join(w.stands(ctx), w.end())
}

// Abort gives up: nothing that was saved becomes visible. After Commit it does
// nothing.
func (w *Session) Abort(ctx context.Context) error {
	if w.over {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	_ = w.fail(context.Canceled) // stops those who still save
	w.packs.Wait()
	err := w.decide(ctx, fate{Version: recordVersion, Outcome: fateAbort})
	if err != nil && !errors.Is(err, ErrFenced) {
		// Without this record prune finds the session dead by itself.
		w.s.env.Log.Warn("could not record that the session was given up", "err", err)
	}
	return w.end()
}

func (w *Session) end() error {
	if w.over {
		return nil
	}
	w.over = true
	w.view.release()
	if err := w.release(); err != nil {
		return fmt.Errorf("release session: %w", err)
	}
	return nil
}

// decide writes the session's fate. If there is one already and it says the
// same, an earlier try of ours had won and only its reply was lost; it still has
// to be made durable, for what failed may have been just that.
func (w *Session) decide(ctx context.Context, f fate) error {
	name := fateName(w.generation, w.id)
	err := w.s.putCBOR(ctx, name, f)
	if err == nil {
		return nil
	}
	got, getErr := w.s.getFate(context.WithoutCancel(ctx), name)
	switch {
	case errors.Is(err, fs.ErrExist) && isMissing(getErr):
		return nil // it has been swept; what it said shows in the catalogue: see stands
	case getErr != nil:
		return fmt.Errorf("write the session's outcome: %w", err)
	case got.Outcome != f.Outcome:
		return ErrFenced
	case !bytes.Equal(got.Payload, f.Payload):
		return fmt.Errorf("write the session's outcome: another one stands there: %w", err)
	}
	if settleErr := bucket.Settle(ctx, w.s.bucket, name); settleErr != nil {
		return fmt.Errorf("write the session's outcome: %w", errors.Join(err, settleErr))
	}
	return nil
}
