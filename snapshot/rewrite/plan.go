package rewrite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/source"
)

// A plan is what is known of directories and pages: which have a match. It is
// all that grows with the repository, some 40 bytes for each page.
type plan struct {
	patterns []source.Pattern
	judges   map[string]*judge
	clean    map[place]struct{}        // pages and directories without a match
	dirty    map[place]snapshot.Totals // directories with one: what is dropped below
}

func newPlan(patterns []source.Pattern) *plan {
	return &plan{patterns: patterns, judges: map[string]*judge{}, clean: map[place]struct{}{}, dirty: map[place]snapshot.Totals{}}
}

// A place is a page of a directory at a path, for one judge: as patterns look at
// paths, the same directory may have a match in one place and none in another.
// Half a hash is enough: two that agree take 2^64 attempts to make.
type place [16]byte

func placeOf(j *judge, at string, page chunk.ID) place {
	b := make([]byte, 0, 8+chunk.IDSize+len(at))
	b = binary.LittleEndian.AppendUint64(b, j.number)
	b = append(b, page[:]...)
	sum := sha256.Sum256(append(b, at...))
	return place(sum[:])
}

// look returns what is dropped of a snapshot with the given root.
func (p *plan) look(ctx context.Context, l snapshot.Loader, j *judge, root chunk.ID) (snapshot.Totals, error) {
	w := planWalk{plan: p, ctx: ctx, loader: l, judge: j}
	return w.dir("/", j.top(), root)
}

type planWalk struct {
	*plan
	ctx    context.Context
	loader snapshot.Loader
	judge  *judge
}

// dir returns what is dropped below the directory at a path; its scope is that
// of its entries.
func (w *planWalk) dir(at string, in scope, tree chunk.ID) (snapshot.Totals, error) {
	here := placeOf(w.judge, at, tree)
	if dropped, ok := w.dirty[here]; ok {
		return dropped, nil
	}
	dropped, err := w.pages(at, in, tree)
	if err == nil {
		w.remember(here, dropped)
	}
	return dropped, err
}

// remember keeps what is dropped of a directory, or that a page is clean.
func (w *planWalk) remember(here place, dropped snapshot.Totals) {
	if dropped.Items == 0 {
		w.clean[here] = struct{}{}
	} else {
		w.dirty[here] = dropped
	}
}

// pages looks at the pages of a directory that are not known to be clean.
func (w *planWalk) pages(at string, in scope, tree chunk.ID) (dropped snapshot.Totals, err error) {
	clean := func(page chunk.ID) bool {
		_, ok := w.clean[placeOf(w.judge, at, page)]
		return ok
	}
	var below error // says itself where it happened
	err = snapshot.Pages(w.ctx, w.loader, tree, clean, func(page chunk.ID, entries []snapshot.Entry) error {
		var sum snapshot.Totals
		if sum, below = w.page(at, in, entries); below != nil {
			return below
		}
		if sum.Items == 0 {
			w.remember(placeOf(w.judge, at, page), sum)
		}
		add(&dropped, sum)
		return nil
	})
	if err != nil && below == nil {
		err = fmt.Errorf("list %q: %w", at, err)
	}
	return dropped, err
}

// page returns what is dropped of some entries, with all that is below them.
func (w *planWalk) page(at string, in scope, entries []snapshot.Entry) (dropped snapshot.Totals, err error) {
	for i := range entries {
		e := &entries[i]
		p := path.Join(at, e.Name)
		if in.drops(p, e.Type == snapshot.Dir) {
			dropped.Add(e)
			continue
		}
		if e.Type != snapshot.Dir {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return dropped, err
		}
		below, err := w.dir(p, w.judge.enter(p, in), e.Tree)
		if err != nil {
			return dropped, err
		}
		add(&dropped, below)
	}
	return dropped, nil
}
