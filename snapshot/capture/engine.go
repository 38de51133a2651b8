package capture

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"coffer/chunk"
	"coffer/internal/scratch"
	"coffer/snapshot"
	"coffer/source"
)

// An engine is one capture under way. Workers take directories from a stack,
// read what is in them and save it. The gate lets a checkpoint see a state in
// which nobody is in the middle of a change: every Save and every change of a
// node happens under its read lock, a checkpoint under its write lock.
type engine struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	opt     *Options
	place   Place
	cutter  *chunk.Cutter
	small   int64          // files up to this size are one chunk
	buffers *scratch.Shelf // whole small files
	parents []parent
	links   links
	notes   notes
	stack   *stack
	started time.Time

	gate sync.RWMutex
	keep Keeper // may be exchanged by a checkpoint

	fresh, changed, unmodified, dirs atomic.Int64
}

// fail ends the capture: what could not be saved is not an item's fault.
func (e *engine) fail(err error) {
	e.cancel(err)
	e.stack.stop()
}

// save stores a chunk of content. It is not cut off when the run is: a session
// that lost a chunk half-way could not be committed, and what was read would be
// lost with it.
func (e *engine) save(data []byte) (chunk.ID, error) {
	e.gate.RLock()
	defer e.gate.RUnlock()
	return e.keep.Save(context.WithoutCancel(e.ctx), chunk.Data, data)
}

// Load loads a page of a parent. It makes the engine a snapshot.Loader that
// survives checkpoints.
func (e *engine) Load(ctx context.Context, k chunk.Kind, id chunk.ID) ([]byte, error) {
	e.gate.RLock()
	keep := e.keep
	e.gate.RUnlock()
	return keep.Load(ctx, k, id)
}

// event reports progress. path is only made if somebody listens.
func (e *engine) event(a Action, bytes int64, err error, path func() string) {
	if e.opt.Event != nil {
		e.opt.Event(Event{Path: path(), Action: a, Bytes: bytes, Err: err})
	}
}

// miss records an item that is missing from the snapshot, or not exactly as it
// was.
func (e *engine) miss(path string, err error) {
	e.notes.add(snapshot.Warning{Path: path, Text: plain(err), Item: true})
	e.event(Failed, 0, err, func() string { return path })
}

// warn records something that leaves the snapshot whole.
func (e *engine) warn(path, text string) {
	e.notes.add(snapshot.Warning{Path: path, Text: text})
	e.event(Warned, 0, errors.New(text), func() string { return path })
}

// plain says what went wrong with an item, without its path.
func plain(err error) string {
	var item *source.ItemError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "vanished before it was read"
	case errors.As(err, &item):
		return item.Op + ": " + item.Err.Error()
	}
	return err.Error()
}

// count notes what happened to a file.
func (e *engine) count(hasPrior, read bool) Action {
	switch {
	case !hasPrior:
		e.fresh.Add(1)
		return New
	case read:
		e.changed.Add(1)
		return Changed
	}
	e.unmodified.Add(1)
	return Unmodified
}

// rawSaver saves for those who hold the gate's read lock already.
type rawSaver struct{ e *engine }

func (r rawSaver) Save(ctx context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	return r.e.keep.Save(context.WithoutCancel(ctx), k, data)
}
