package rewrite

import (
	"context"
	"fmt"
	"path"
	"slices"

	"coffer/chunk"
	"coffer/snapshot"
)

// manifest saves the tree of t's snapshot without what is dropped, and
// describes it.
func (s *saver) manifest(ctx context.Context, w pages, t *task) (snapshot.Manifest, error) {
	m := t.snap.Manifest
	c := cutter{saver: s, ctx: ctx, session: w, judge: t.judge}
	root := snapshot.Entry{Type: snapshot.Dir, Tree: m.Root}
	if err := c.dir("/", t.judge.top(), &root); err != nil {
		return m, err
	}
	m.Root, m.Items, m.Files, m.Bytes = root.Tree, root.Items, root.Files, root.Size
	m.Rewrote, m.Original, m.Hold = t.snap.ID, "", nil
	m.Excludes = slices.Clone(m.Excludes)
	for _, p := range s.patterns {
		if !slices.Contains(m.Excludes, p.Text) {
			m.Excludes = append(m.Excludes, p.Text)
		}
	}
	m.Warnings = slices.DeleteFunc(slices.Clone(m.Warnings), func(w snapshot.Warning) bool { return t.judge.dropsPath(w.Path) })
	var err error
	m.Top, err = top(m.Top, &root)
	return m, err
}

// top puts what became of the tree into the entry of "/", if there is one.
func top(encoded []byte, root *snapshot.Entry) ([]byte, error) {
	if encoded == nil {
		return nil, nil
	}
	e, err := snapshot.DecodeEntry(encoded)
	if err != nil {
		return nil, fmt.Errorf("read the entry of /: %w", err)
	}
	take(e, root)
	return snapshot.EncodeEntry(e)
}

// take gives a directory the listing of another.
func take(e, from *snapshot.Entry) {
	e.Tree, e.Items, e.Files, e.Size = from.Tree, from.Items, from.Files, from.Size
}

// A cutter rewrites one tree.
type cutter struct {
	*saver
	ctx     context.Context
	session pages
	judge   *judge
}

// pages is what a session is to a tree.
type pages interface {
	snapshot.Loader
	snapshot.Saver
}

// dir rewrites the directory of e, which is at a path; in is the scope of its
// entries. A directory without a match stays as it is.
func (c *cutter) dir(at string, in scope, e *snapshot.Entry) error {
	here := placeOf(c.judge, at, e.Tree)
	if _, ok := c.dirty[here]; !ok {
		return nil
	}
	if known, ok := c.cut[here]; ok {
		take(e, &known)
		return nil
	}
	l := snapshot.NewListing(c.session)
	for sub, err := range snapshot.List(c.ctx, c.session, e.Tree, "") {
		if err != nil {
			return fmt.Errorf("list %q: %w", at, err)
		}
		if err := c.entry(l, path.Join(at, sub.Name), in, sub); err != nil {
			return err
		}
	}
	tree, sum, err := l.Close(c.ctx)
	if err != nil {
		return fmt.Errorf("save %q: %w", at, err)
	}
	take(e, entryOf(tree, sum))
	c.cut[here] = *entryOf(tree, sum)
	return nil
}

func entryOf(tree chunk.ID, sum snapshot.Totals) *snapshot.Entry {
	return &snapshot.Entry{Tree: tree, Items: sum.Items, Files: sum.Files, Size: sum.Bytes}
}

// entry adds an entry to its directory's new listing, unless it is dropped.
func (c *cutter) entry(l *snapshot.Listing, at string, in scope, e *snapshot.Entry) error {
	if in.drops(at, e.Type == snapshot.Dir) {
		return nil
	}
	if e.Type == snapshot.Dir {
		if err := c.dir(at, c.judge.enter(at, in), e); err != nil {
			return err
		}
	}
	if err := l.Add(c.ctx, e); err != nil {
		return fmt.Errorf("save %q: %w", at, err)
	}
	return nil
}
