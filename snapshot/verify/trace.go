package verify

import (
	"context"
	"errors"
	"fmt"
	"path"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

var (
	errMissing = errors.New("no pack holds it")
	errLost    = errors.New("it is lost, as an earlier repair has found")
)

// trace finds which snapshots and paths need what is damaged. It goes through
// every page once more to learn what lies above damage, and then only there.
func (r *run) trace(ctx context.Context, snaps []snapshot.Snapshot) error {
	t := tracer{run: r, ctx: ctx, above: map[[16]byte]bool{}}
	for _, s := range snaps {
		before := r.rep.BadPaths
		if err := t.snapshot(s); err != nil {
			return err
		}
		if r.rep.BadPaths > before {
			r.rep.BadSnapshots = append(r.rep.BadSnapshots, s.ID)
		}
	}
	r.found.report(&r.rep)
	r.rep.Damaged = append(r.rep.Damaged, t.paths...)
	r.rep.DamagedTotal += r.rep.BadPaths
	return nil
}

type tracer struct {
	*run
	ctx   context.Context
	id    string            // of the snapshot
	above map[[16]byte]bool // tree chunks that were looked at: does damage lie at or below them?
	paths []Damage
}

func (t *tracer) snapshot(s snapshot.Snapshot) error {
	t.id = s.ID
	if err := t.listing("/", s.Root); err != nil || len(s.Top) == 0 {
		return err
	}
	top, err := snapshot.DecodeEntry(s.Top)
	if err != nil {
		t.add(Damage{Snapshot: t.id, Path: "/", Err: err.Error()})
		return nil
	}
	top.Content, top.Tree = nil, chunk.ID{} // its tree is the root
	return t.entry("/", top)
}

// report notes that a path cannot be restored because of a chunk.
func (t *tracer) report(at string, id chunk.ID, f finding) {
	t.add(Damage{Pack: f.pack, Chunk: id.String(), Snapshot: t.id, Path: at, Err: f.err.Error()})
}

func (t *tracer) add(d Damage) {
	t.rep.BadPaths++
	if len(t.paths) < MaxListed {
		t.paths = append(t.paths, d)
	}
	if t.opt.Path != nil {
		t.opt.Path(d)
	}
}

// bad returns what is wrong with a chunk that a snapshot needs, if anything.
func (t *tracer) bad(id chunk.ID) (finding, bool, error) {
	if f, ok := t.found.chunks[id]; ok {
		f.used = true
		t.found.chunks[id] = f
		return f, true, nil
	}
	if len(t.found.lost) == 0 {
		return finding{}, false, nil
	}
	name, err := t.store.PackOf(t.ctx, id)
	why, lost := t.found.lost[name]
	return finding{pack: name, err: why}, lost, err
}

// tainted reports whether damage lies at or below a tree chunk.
func (t *tracer) tainted(id chunk.ID) (bool, error) {
	if id == (chunk.ID{}) || len(t.found.chunks)+len(t.found.lost) == 0 {
		return false, nil
	}
	key := [16]byte(id[:16])
	if known, ok := t.above[key]; ok {
		return known, nil
	}
	result, err := t.look(id)
	t.above[key] = result
	return result, err
}

func (t *tracer) look(id chunk.ID) (bool, error) {
	if _, bad, err := t.bad(id); bad || err != nil {
		return bad, err
	}
	trees, refs, err := t.refs(id)
	if err != nil {
		return true, t.ctx.Err() // found only now; listing reports it
	}
	result := false
	for _, id := range refs {
		_, bad, err := t.bad(id)
		if err != nil {
			return false, err
		}
		result = result || bad
	}
	for _, id := range trees { // all of them, for those who come by another way
		bad, err := t.tainted(id)
		if err != nil {
			return false, err
		}
		result = result || bad
	}
	return result, nil
}

func (t *tracer) refs(id chunk.ID) (trees, refs []chunk.ID, err error) {
	data, err := t.store.Load(t.ctx, chunk.Tree, id)
	if err != nil {
		return nil, nil, err
	}
	return snapshot.PageRefs(data)
}

// listing goes through a directory that may have damage in it.
func (t *tracer) listing(at string, tree chunk.ID) error {
	if bad, err := t.tainted(tree); !bad || err != nil {
		return err
	}
	for e, err := range snapshot.List(t.ctx, t.store, tree, "") {
		if err != nil {
			return t.unlistable(at, tree, err)
		}
		if err := t.entry(path.Join(at, e.Name), e); err != nil {
			return err
		}
	}
	return nil
}

// unlistable reports a directory of which not all entries can be had.
func (t *tracer) unlistable(at string, tree chunk.ID, err error) error {
	if t.ctx.Err() != nil {
		return t.ctx.Err()
	}
	var d *store.DamageError
	if errors.As(err, &d) && d.Chunk != (chunk.ID{}) {
		t.report(at, d.Chunk, finding{pack: d.Pack, err: fmt.Errorf("its listing ends here: %w", d.Err)})
		return nil
	}
	t.report(at, tree, finding{err: fmt.Errorf("its listing ends here: %w", err)})
	return nil
}

func (t *tracer) entry(at string, e *snapshot.Entry) error {
	if e.Type == snapshot.Dir {
		if err := t.listing(at, e.Tree); err != nil {
			return err
		}
	}
	id, f, bad, err := t.content(e)
	if bad {
		t.report(at, id, f)
	}
	return err
}

// content returns the first damaged chunk of an entry's own, be it content or
// what holds its attributes.
func (t *tracer) content(e *snapshot.Entry) (chunk.ID, finding, bool, error) {
	for _, ref := range e.Content {
		if f, bad, err := t.bad(ref.ID); bad || err != nil {
			return ref.ID, f, bad, err
		}
	}
	for _, id := range e.Spill.IDs {
		if id, f, bad, err := t.spilled(id); bad || err != nil {
			return id, f, bad, err
		}
	}
	return chunk.ID{}, finding{}, false, nil
}

// spilled looks for damage at and below a piece of an entry, or a list of them.
func (t *tracer) spilled(id chunk.ID) (chunk.ID, finding, bool, error) {
	if f, bad, err := t.bad(id); bad || err != nil {
		return id, f, bad, err
	}
	if tainted, err := t.tainted(id); !tainted || err != nil {
		return id, finding{}, false, err
	}
	trees, refs, err := t.refs(id)
	if err != nil {
		return id, finding{err: err}, t.ctx.Err() == nil, t.ctx.Err()
	}
	for _, id := range refs {
		if f, bad, err := t.bad(id); bad || err != nil {
			return id, f, bad, err
		}
	}
	for _, id := range trees {
		if id, f, bad, err := t.spilled(id); bad || err != nil {
			return id, f, bad, err
		}
	}
	return id, finding{}, false, nil
}
