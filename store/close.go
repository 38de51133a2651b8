package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"coffer/index"
)

// closeOpen closes the newest generation, if it is open: everybody who comes by
// may. full says that it also looks for objects that nobody names.
func (s *Store) closeOpen(ctx context.Context, opt PruneOptions, full bool, rep *PruneReport) error {
	t, err := s.turn(ctx)
	if err != nil || !t.open() {
		return err
	}
	if rep == nil {
		rep = new(PruneReport)
	}
	rep.Generation = t.newest
	c := &closer{s: s, n: t.newest, opt: opt, full: full, rep: rep}
	err = c.run(ctx)
	if vanished(err) { // somebody else may have closed it and swept
		if now, turnErr := s.turn(ctx); turnErr == nil && now.closed >= t.newest {
			return nil
		}
	}
	return err
}

// A closer closes generation n.
type closer struct {
	s    *Store
	n    uint64
	opt  PruneOptions
	full bool
	rep  *PruneReport

	v     *view // generation n, open
	packs map[index.Pack]bool
	p     *packer
	list  listing
	asks  map[string][]string
	notes []namedNote // all, if there are many
}

func (c *closer) run(ctx context.Context) (err error) {
	registered, err := c.s.decideAll(ctx, c.n-1, c.opt)
	if err != nil {
		return err
	}
	// Requests to forget are read before the commits, so that one that names
	// none of them has been served; notes, so that none is about a later one.
	gen, err := c.s.getGeneration(ctx, c.n)
	if err != nil {
		return err
	}
	if c.asks, err = c.s.readAsks(ctx, gen.Void...); err != nil {
		return err
	}
	if c.notes, err = c.s.manyNotes(ctx); err != nil {
		return err
	}
	if c.v, err = c.s.readView(ctx, c.n); err != nil {
		return err
	}
	defer c.v.release()
	if c.v.done != nil {
		return nil
	}
	if err := c.v.older.has(c.n-1, registered, c.v.Void); err != nil {
		return err
	}
	c.full = c.full || c.v.Condemned > 0
	c.p = newPacker(c.s)
	if err := c.p.name(c.n); err != nil {
		return err
	}
	done := closing{Version: recordVersion, Number: c.n, Segments: c.v.newSegments()}
	if err := c.rescue(ctx, &done); err != nil {
		return err
	}
	if done.Catalogue, err = c.catalogue(ctx); err != nil {
		return err
	}
	if done.Delete, err = c.garbage(ctx, done); err != nil {
		return err
	}
	return c.finish(ctx, done)
}

// newSegments returns the segments of the commits that the view's generation
// does not cover.
func (v *view) newSegments() []segmentRef {
	var list []segmentRef
	for _, f := range v.uncovered {
		list = append(list, f.Segments...)
	}
	return list
}

func (c *closer) finish(ctx context.Context, done closing) error {
	plain, err := cbor.Marshal(done)
	if err != nil {
		return fmt.Errorf("encode the closing of generation %d: %w", c.n, err)
	}
	err = c.s.vital(func() error {
		_, err := c.s.publish(ctx, closingName(c.n), plain)
		return err
	})
	if err != nil {
		return err
	}
	c.rep.Copied += c.p.stored.Load()
	c.rep.Freed -= c.p.stored.Load()
	// Whoever has won, what stands there is what counts.
	if done, err = c.s.getClosing(ctx, c.n); err != nil {
		return fmt.Errorf("the closing was written and cannot be read back, nothing is deleted: %w", err)
	}
	if err := c.s.sweep(ctx, done.Delete, c.list, c.opt, c.rep); err != nil {
		return err
	}
	c.s.reserve(c.stored)
	return nil
}

func (c *closer) stored() int64 {
	n := int64(0)
	for p := range c.packs {
		n += int64(p.Size)
	}
	return n
}

// catalogue adds the commits that the generation does not cover.
func (c *closer) catalogue(ctx context.Context) (refs []pieceRef, err error) {
	var fresh []settled
	for _, f := range c.v.uncovered {
		fresh = append(fresh, settled{ID: f.id, Generation: c.n - 1, Payload: f.Payload})
	}
	if len(fresh) == 0 {
		return c.v.Catalogue, nil
	}
	err = c.s.vital(func() (err error) {
		refs, err = c.p.extendCatalogue(ctx, c.v.Catalogue, fresh, nil)
		return err
	})
	return refs, err
}

// maxDelete bounds the names in one closing; what is left over has its turn in
// the next.
const maxDelete = 200_000

// garbage returns the names of all objects of earlier generations that nothing
// needs any more.
func (c *closer) garbage(ctx context.Context, done closing) (names []string, err error) {
	if c.list, err = c.s.listAll(ctx, c.full); err != nil {
		return nil, err
	}
	if err := c.list.holds(slices.Concat(c.v.segments, done.Segments), done.Catalogue, maps.Keys(c.packs)); err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, r := range slices.Concat(c.v.segments, done.Segments) {
		named[r.Name] = true
	}
	for _, r := range slices.Concat(done.Catalogue, c.v.Catalogue) {
		named[r.Name], named[r.Name+copySuffix] = true, true
	}
	for p := range c.packs {
		named[packName(p)] = true
	}
	prefixes := []string{"index/", "catalogue/"}
	if c.full {
		prefixes = append(prefixes, "packs/")
	}
	for _, prefix := range prefixes {
		for _, name := range c.list.under(prefix, c.n-1) {
			if !named[name] {
				names = append(names, name)
			}
		}
	}
	names = append(names, c.records()...)
	slices.Sort(names)
	names = slices.Concat(c.served(), c.void(), c.foldNotes(ctx), names)
	return names[:min(len(names), maxDelete)], nil
}

// records returns the registrations, fates and beats that nobody looks at any
// more: a session of the generation before this one may still list the fates
// of the one before that.
func (c *closer) records() []string {
	if c.n < 2 {
		return nil
	}
	return slices.Concat(c.list.under("sessions/", c.n-2), c.list.under("fates/", c.n-2), c.list.under("beats/", c.n-2))
}

// void returns the records that repair found damaged and nobody looks at any
// more. Fates are not among them: they go with all others of their generation.
func (c *closer) void() []string {
	return slices.DeleteFunc(slices.Clone(c.v.Void), func(name string) bool {
		return !strings.HasPrefix(name, askPrefix) && !strings.HasPrefix(name, notePrefix) && !strings.HasPrefix(name, "sessions/")
	})
}

// served returns the requests to forget that name nothing that is still there.
func (c *closer) served() []string {
	valid := make(map[string]bool, len(c.v.commits))
	for _, k := range c.v.commits {
		valid[k.ID] = true
	}
	var names []string
	for name, list := range c.asks {
		if !slices.ContainsFunc(list, func(id string) bool { return valid[id] }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sweepBatch is how many objects are deleted between two looks at the context.
const sweepBatch = 500

// sweep deletes names. Whoever is cut off here leaves the rest to the next.
func (s *Store) sweep(ctx context.Context, names []string, l listing, opt PruneOptions, rep *PruneReport) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := generationOf(name)
		_, there := l.objects[name]
		return err == nil && !there
	})
	total := int64(len(names))
	for len(names) > 0 {
		n := min(len(names), sweepBatch)
		if err := s.bucket.Delete(ctx, names[:n]...); err != nil {
			return fmt.Errorf("delete what nothing needs: %w", err)
		}
		for _, name := range names[:n] {
			rep.Removed.add(l.objects[name])
			rep.Freed += l.objects[name]
		}
		names = names[n:]
		opt.Event(PruneEvent{Step: "delete", Done: total - int64(len(names)), Total: total})
	}
	return nil
}
