package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"

	"coffer/bucket"
	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
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
	s          *Store
	id         string
	sid        pack.SID
	generation uint64
	view       *view
	release    func() error
	over       bool

	lanes [2]lane // by laneOf
	slabs *slabPool
	seq   atomic.Uint32

	mu      sync.Mutex
	known   map[chunk.ID]struct{} // saved in this session
	pending segmentBuilder        // packs written but in no segment yet
	written []segmentRef
	err     error // first failure of a pack; the session is lost
	packs   sync.WaitGroup
	slots   chan struct{} // packs being written

	newChunks, newBytes, reusedChunks, reusedBytes, stored, packCount atomic.Int64
}

// packsInFlight is how many full packs are written at once. With the two that
// are being filled they are the largest part of the memory of a backup.
const packsInFlight = 1

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

// Begin registers a writing session: intent first, then a second look that no
// newer generation has appeared, then the view.
func (s *Store) Begin(ctx context.Context) (*Session, error) {
	w := &Session{s: s, slabs: newSlabPool(2 * (int(s.cfg.PackSize)/slabSize + 1)), known: map[chunk.ID]struct{}{},
		slots: make(chan struct{}, packsInFlight)}
	w.lanes[0], w.lanes[1] = lane{w: w, kind: chunk.Data}, lane{w: w, kind: chunk.Tree}
	return w, w.register(ctx, intent{Version: recordVersion, Writer: true})
}

// register gives the session its id, its registration and its view.
func (w *Session) register(ctx context.Context, in intent) error {
	for {
		g, err := w.s.newestGeneration(ctx)
		if err != nil {
			return err
		}
		if err := w.announce(ctx, g, in); err != nil {
			return err
		}
		again, err := w.s.newestGeneration(ctx)
		if err == nil && again == g {
			w.generation = g
			w.view, err = w.s.readView(ctx, g)
		}
		if err != nil {
			return errors.Join(err, w.release())
		}
		if again == g {
			return nil
		}
		if err := w.release(); err != nil { // the registration stays; only the sweep deletes
			return fmt.Errorf("release session: %w", err)
		}
	}
}

// announce draws a new id and puts the registration, held where the backend
// can show that we are alive.
func (w *Session) announce(ctx context.Context, g uint64, in intent) error {
	if _, err := io.ReadFull(w.s.env.Rand, w.sid[:]); err != nil {
		return fmt.Errorf("draw session id: %w", err)
	}
	w.id = hex.EncodeToString(w.sid[:])
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
	w.release = func() error { return nil }
	if h, ok := bucket.As[bucket.Holder](w.s.bucket); ok {
		w.release, err = h.PutHeld(ctx, name, sealed)
	} else {
		err = w.s.put(ctx, name, sealed)
	}
	if err != nil {
		return fmt.Errorf("register session: %w", err)
	}
	return nil
}

// ID returns the id that the commit will have.
func (w *Session) ID() string { return w.id }

// Commits returns the commits that this session may build on.
func (w *Session) Commits() []Commit { return w.view.commits }

// Load returns a chunk of the session's view, or one of a commit of its own.
func (w *Session) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	return w.s.load(ctx, w.view, k, id)
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

// fail remembers the first error. A chunk that others count on may be lost with
// it, so the session cannot be committed any more.
func (w *Session) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return err
}

func (w *Session) nextHeader(k chunk.Kind) pack.Header {
	return pack.Header{Kind: k, SID: w.sid, Seq: w.seq.Add(1)}
}

// send writes a full pack while the caller goes on. It waits for a place.
func (w *Session) send(ctx context.Context, p *packBuf) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.packs.Add(1)
	go func() {
		defer w.packs.Done()
		defer func() { <-w.slots }()
		if err := w.putPack(ctx, p); err != nil {
			_ = w.fail(err) // Commit returns it
		}
	}()
	return nil
}

func (w *Session) putPack(ctx context.Context, p *packBuf) error {
	if err := p.finish(w.s.box, w.slabs); err != nil {
		return err
	}
	ref := index.Pack{Generation: w.generation, SID: w.sid, Seq: p.header.Seq, Kind: p.header.Kind, Size: uint64(p.size)}
	if err := w.s.bucket.Put(ctx, packName(ref), p.reader(), p.size); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	w.stored.Add(p.size)
	w.packCount.Add(1)
	w.slabs.put(p.slabs)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.add(ref, p.blocks)
	return nil
}

// Stats returns what the session has done so far.
func (w *Session) Stats() SessionStats {
	return SessionStats{NewChunks: w.newChunks.Load(), NewBytes: w.newBytes.Load(), ReusedChunks: w.reusedChunks.Load(),
		ReusedBytes: w.reusedBytes.Load(), Stored: w.stored.Load(), Packs: w.packCount.Load()}
}

// Flush makes everything that was saved durable, short of the commit.
func (w *Session) Flush(ctx context.Context) error {
	for i := range w.lanes {
		if err := w.lanes[i].flush(ctx); err != nil {
			return w.fail(err)
		}
	}
	w.packs.Wait()
	w.mu.Lock()
	err := w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.putSegment(ctx)
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
	// A prune that took this session for dead would have closed a newer
	// generation without it.
	g, err := w.s.newestGeneration(ctx)
	if err != nil {
		return c, errors.Join(fmt.Errorf("see whether the commit stands: %w", err), w.end())
	}
	if g != w.generation {
		return c, errors.Join(ErrFenced, w.end())
	}
	return c, w.end()
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
