package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"sync"
	"time"

	"coffer/chunk"
	"coffer/internal/scratch"
	"coffer/snapshot"
	"coffer/store"
)

// ErrNothing says that no source could be read at all, so that nothing was
// saved.
var ErrNothing = errors.New("nothing was saved")

// Run captures the sources into s. A snapshot is committed if at least one
// source could be read; it is complete only if all could. When ctx ends early,
// what was read so far is committed as an incomplete snapshot, which the next
// run builds on, and the context's error is returned with the report.
func Run(ctx context.Context, s *store.Store, opt Options) (Report, error) {
	if opt.DryRun {
		return RunAt(ctx, dry{s}, opt)
	}
	return RunAt(ctx, here{s}, opt)
}

// fencedTries is how often a capture is begun anew because a prune took it for
// dead, as happens to a machine that was asleep. Its checkpoints stand.
const fencedTries = 3

// RunAt is Run for any place.
func RunAt(ctx context.Context, place Place, opt Options) (Report, error) {
	fill(&opt)
	for try := 1; ; try++ {
		rep, err := runOnce(ctx, place, opt)
		if !errors.Is(err, store.ErrFenced) || try == fencedTries || len(opt.Streams) > 0 || ctx.Err() != nil {
			return rep, err
		}
		if opt.Event != nil {
			opt.Event(Event{Path: "/", Action: Again, Err: errors.New("a prune has taken this backup for dead, as it does when a machine sleeps: it begins again")})
		}
	}
}

func runOnce(ctx context.Context, place Place, opt Options) (Report, error) {
	e := newEngine(ctx, place, &opt)
	var err error
	if e.keep, err = place.Begin(e.ctx); err != nil {
		return Report{}, err
	}
	rep, err := e.run(ctx)
	if err != nil {
		return rep, errors.Join(err, e.keep.Abort(ctx))
	}
	return rep, nil
}

// fill sets defaults.
func fill(opt *Options) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Name == "" {
		opt.Name = "default"
	}
	if opt.Readers == 0 {
		opt.Readers = runtime.GOMAXPROCS(0)
	}
	if opt.Checkpoint == 0 {
		opt.Checkpoint = 45 * time.Minute // keeps what a dead session can lose, and how long a prune may have to wait, small
	}
}

func newEngine(ctx context.Context, place Place, opt *Options) *engine {
	ctx, cancel := context.WithCancelCause(ctx)
	e := &engine{buffers: scratch.NewShelf(opt.Readers, int(place.Chunking().Min)), ctx: ctx, cancel: cancel, opt: opt, place: place, stack: newStack(), started: opt.Now(),
		cutter: chunk.NewCutter(place.Chunking(), opt.Readers), small: int64(place.Chunking().Min)}
	e.links = links{small: e.small, groups: map[snapshot.LinkGroup]*link{}}
	return e
}

// run does the whole capture with a keeper that has begun.
func (e *engine) run(ctx context.Context) (Report, error) {
	same := sameJob(e.known(e.keep.Commits()), e.opt.Host, e.opt.Name)
	e.parents = chooseParents(same)
	j := &job{e: e, sequence: nextSequence(same)}
	var err error
	if j.roots, err = e.openRoots(); err != nil {
		return Report{}, err
	}
	defer j.close()
	j.walk()
	for _, st := range e.opt.Streams {
		if e.ctx.Err() == nil {
			j.streams = append(j.streams, e.stream(st))
		}
	}
	if ctx.Err() != nil {
		return j.interrupted(ctx)
	}
	if err := context.Cause(e.ctx); err != nil {
		return Report{}, err
	}
	return j.commit(e.ctx)
}

func nextSequence(same []snapshot.Snapshot) uint64 {
	if len(same) == 0 {
		return 1
	}
	return same[len(same)-1].Sequence + 1
}

// A job is a capture's sources and what they came to.
type job struct {
	e        *engine
	roots    []*rootRun
	streams  []*streamRun
	sequence uint64
}

// walk reads all roots, with a checkpoint now and then.
func (j *job) walk() {
	var tasks []func()
	for _, run := range j.roots {
		if run.err == nil {
			tasks = append(tasks, j.e.task(run))
		}
	}
	j.e.stack.push(tasks...)
	stop := j.checkpoints()
	defer stop()
	var workers sync.WaitGroup
	for range j.e.opt.Readers {
		workers.Go(j.e.stack.work)
	}
	workers.Wait()
}

func (j *job) close() {
	for _, run := range j.roots {
		run.close()
	}
}

// tree puts the top of the tree together and saves it. The caller holds the
// gate, or is alone.
func (j *job) tree(ctx context.Context) (snapshot.Entry, error) {
	root := &top{entry: snapshot.Entry{Type: snapshot.Dir, Mode: 0o755}}
	for _, run := range j.roots {
		en, ok, err := run.sofar(ctx)
		if err != nil {
			return en, err
		}
		if !ok {
			continue
		}
		if run.at == "/" {
			root.entry, root.leaf = en, true
			continue
		}
		root.place(run.at, en, run.above())
	}
	for _, run := range j.streams {
		if run.ready {
			root.place(run.At, run.entry, nil)
		}
	}
	return root.save(ctx, rawSaver{j.e})
}

// above returns the entries of the directories over a root, where it mirrors
// its own path.
func (run *rootRun) above() []snapshot.Entry {
	if run.at != run.source {
		return nil
	}
	list, err := run.tree.Parents()
	if err != nil {
		return nil // they are still made, with plain modes
	}
	return list
}

// commit makes the snapshot real.
func (j *job) commit(ctx context.Context) (Report, error) {
	if err := j.nothing(); err != nil {
		return Report{}, err
	}
	rep := j.report()
	if e := j.e; e.opt.SkipIfUnchanged && len(e.parents) > 0 && j.unchanged() {
		rep.Unchanged, rep.Snapshot = true, e.parents[0].Snapshot
		return rep, e.keep.Abort(ctx)
	}
	m, err := j.manifest(ctx)
	if err != nil {
		return rep, err
	}
	rep.Snapshot, err = j.send(ctx, m)
	rep.Elapsed = j.e.opt.Now().Sub(j.e.started)
	return rep, err
}

// nothing returns an error if no source could be read.
func (j *job) nothing() error {
	var why []error
	for _, run := range j.roots {
		if run.ready {
			return nil
		}
		why = append(why, fmt.Errorf("%s: %w", run.Path, says(run.err)))
	}
	for _, run := range j.streams {
		if run.ready {
			return nil
		}
		why = append(why, fmt.Errorf("%s: %w", run.Spec, run.err))
	}
	return fmt.Errorf("%w: %w", ErrNothing, errors.Join(why...))
}

// says is an error in words.
func says(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it does not exist")
	}
	return err
}

// unchanged reports whether every source is as in the first parent, which must
// be complete.
func (j *job) unchanged() bool {
	p := j.e.parents[0]
	if p.State != snapshot.Complete || len(j.streams) > 0 || len(p.Sources) != len(j.roots) || j.e.notes.errors > 0 {
		return false
	}
	for _, run := range j.roots {
		if !run.ready || !run.same {
			return false
		}
	}
	return true
}

func (j *job) report() Report {
	e := j.e
	r := Report{New: e.fresh.Load(), Changed: e.changed.Load(), Unmodified: e.unmodified.Load(), Dirs: e.dirs.Load(),
		Elapsed: e.opt.Now().Sub(e.started)}
	if len(e.parents) > 0 {
		r.Parent = e.parents[0].ID
	}
	return r
}

// manifest saves the tree and describes it.
func (j *job) manifest(ctx context.Context) (*snapshot.Manifest, error) {
	e, o := j.e, j.e.opt
	root, err := j.tree(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.keep.Flush(ctx); err != nil {
		return nil, err
	}
	stats := e.keep.Stats()
	now := snapshot.TimeOf(o.Now())
	m := &snapshot.Manifest{Version: 1, Host: o.Host, Name: o.Name, Sequence: j.sequence,
		Captured: snapshot.TimeOf(e.started), Finished: now, Received: now, Effective: now,
		Root: root.Tree, Tags: o.Tags, Sources: j.sources(), Items: root.Items, Files: root.Files, Bytes: root.Size,
		NewBytes: stats.NewBytes, Stored: stats.Stored, User: o.User, Program: o.Program, Excludes: o.Excludes}
	if !o.Time.IsZero() {
		m.Effective = snapshot.TimeOf(o.Time)
	}
	if len(e.parents) > 0 {
		m.Parent = e.parents[0].ID
	}
	e.notes.copyTo(m)
	m.State = j.state(m)
	m.Top, err = j.top()
	return m, err
}

// top returns the entry of "/" itself, if that is a root: no listing holds it.
func (j *job) top() ([]byte, error) {
	for _, run := range j.roots {
		if run.at == "/" && run.ready {
			return j.e.topEntry(run.entry)
		}
	}
	return nil, nil
}

// state is incomplete if a source failed.
func (j *job) state(m *snapshot.Manifest) snapshot.State {
	for _, s := range m.Sources {
		if s.Error != "" {
			return snapshot.Incomplete
		}
	}
	if m.Errors > 0 {
		return snapshot.WithErrors
	}
	return snapshot.Complete
}

// topEntry encodes the entry of "/". It stands in the manifest, where there is
// no room for attributes of any size.
func (e *engine) topEntry(en snapshot.Entry) ([]byte, error) {
	en.Name = "root"
	b, err := snapshot.EncodeEntry(&en)
	if err == nil {
		return b, nil
	}
	e.notes.add(snapshot.Warning{Path: "/", Text: "its extended attributes are left out: " + err.Error(), Item: true})
	en.Xattrs = nil
	return snapshot.EncodeEntry(&en)
}

func (j *job) sources() []snapshot.Source {
	var list []snapshot.Source
	for _, run := range j.roots {
		s := snapshot.Source{Kind: "path", Spec: run.Path, At: run.at, Nanos: run.took.Nanoseconds()}
		switch {
		case run.err != nil:
			s.Error = says(run.err).Error()
		case !run.ready:
			s.Error = "not finished"
		}
		list = append(list, s)
	}
	for _, run := range j.streams {
		s := snapshot.Source{Kind: run.Kind, Spec: run.Spec, At: run.At, Nanos: run.took}
		if run.err != nil {
			s.Error = run.err.Error()
		}
		list = append(list, s)
	}
	for _, st := range j.e.opt.Streams[len(j.streams):] {
		list = append(list, snapshot.Source{Kind: st.Kind, Spec: st.Spec, At: st.At, Error: "not begun"})
	}
	return list
}

// send commits a manifest.
func (j *job) send(ctx context.Context, m *snapshot.Manifest) (snapshot.Snapshot, error) {
	payload, err := snapshot.EncodeManifest(m)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	c, err := j.e.keep.Commit(ctx, payload)
	return snapshot.Snapshot{ID: c.ID, Manifest: *m}, err
}
