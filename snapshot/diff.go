package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"coffer/chunk"
)

// A ChangeKind says what happened to a path between two snapshots.
type ChangeKind string

// The kinds of change.
const (
	Added    ChangeKind = "added"
	Removed  ChangeKind = "removed"
	Modified ChangeKind = "modified" // other content, target or device
	Retyped  ChangeKind = "type"     // a file became a directory or the like
	Metadata ChangeKind = "metadata" // the same content, other attributes
)

// A Change is one path that is not the same in two snapshots.
type Change struct {
	Path   string
	Kind   ChangeKind
	Old    *Entry   // nil where added
	New    *Entry   // nil where removed
	Fields []string // what differs, see Fields; nil where added or removed
}

// Diff calls fn for each path that differs between the listings a and b, in
// the order of Walk. It loads only what differs: equal directories and equal
// pages of a directory are not looked at. A directory is itself a change if it
// was added, removed or its own metadata differ; if fn then returns fs.SkipDir,
// what is below it is left out. fs.SkipAll ends the comparison.
func Diff(ctx context.Context, l Loader, a, b chunk.ID, fn func(Change) error) error {
	d := differ{ctx: ctx, loader: l, fn: fn}
	err := d.dirs("/", a, b)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

type differ struct {
	ctx    context.Context
	loader Loader
	fn     func(Change) error
}

// dirs compares two listings side by side.
func (d *differ) dirs(at string, a, b chunk.ID) error {
	if a == b {
		return nil
	}
	old, now := newSide(a), newSide(b)
	for len(old) > 0 || len(now) > 0 {
		if err := d.step(at, &old, &now); err != nil {
			return err
		}
	}
	return nil
}

// step settles the first page or name of either side.
func (d *differ) step(at string, old, now *side) error {
	a, b := old.head(), now.head()
	if a.isPage() && b.isPage() && a.id == b.id {
		old.pop()
		now.pop()
		return nil
	}
	switch order := compareHeads(a, b); {
	case order < 0 && a.isPage():
		return d.expand(at, old)
	case order > 0 && b.isPage():
		return d.expand(at, now)
	case order < 0:
		return d.alone(at, Removed, old.pop().entry)
	case order > 0:
		return d.alone(at, Added, now.pop().entry)
	}
	return d.both(at, old.pop().entry, now.pop().entry)
}

func (d *differ) expand(at string, s *side) error {
	if err := s.expand(d.ctx, d.loader); err != nil {
		return fmt.Errorf("list %q: %w", at, err)
	}
	return nil
}

// alone reports an entry that one side has, with all below it.
func (d *differ) alone(at string, kind ChangeKind, e *Entry) error {
	p := path.Join(at, e.Name)
	c := Change{Path: p, Kind: kind, Old: e}
	if kind == Added {
		c.Old, c.New = nil, e
	}
	err := d.fn(c)
	if err == nil && e.Type == Dir {
		err = d.below(p, kind, e.Tree)
	}
	return skipDir(err)
}

// below reports all of a listing as added or removed.
func (d *differ) below(at string, kind ChangeKind, tree chunk.ID) error {
	if kind == Added {
		return d.dirs(at, chunk.ID{}, tree)
	}
	return d.dirs(at, tree, chunk.ID{})
}

func skipDir(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

// both reports how an entry changed, and what changed below it.
func (d *differ) both(at string, a, b *Entry) error {
	p := path.Join(at, a.Name)
	fields, err := Fields(d.ctx, d.loader, a, b)
	if err != nil {
		return fmt.Errorf("compare %q: %w", p, err)
	}
	if len(fields) > 0 {
		err = d.fn(Change{Path: p, Kind: kindOf(fields), Old: a, New: b, Fields: fields})
	}
	if err == nil && (a.Type == Dir || b.Type == Dir) {
		err = d.dirs(p, a.Tree, b.Tree) // zero where it is no directory
	}
	return skipDir(err)
}

func kindOf(fields []string) ChangeKind {
	if fields[0] == "type" {
		return Retyped
	}
	isContent := func(f string) bool { return f == "size" || f == "content" || f == "target" || f == "device" }
	if slices.ContainsFunc(fields, isContent) {
		return Modified
	}
	return Metadata
}

// A node is a page that is not loaded yet, or an entry.
type node struct {
	id    chunk.ID
	span  span
	entry *Entry
}

func (n *node) isPage() bool { return n != nil && n.entry == nil }

// A side is what is left of a listing, the next node last.
type side []node

func newSide(tree chunk.ID) side {
	if tree == (chunk.ID{}) {
		return nil
	}
	return side{{id: tree, span: span{top: true, level: maxLevel + 1}}}
}

func (s side) head() *node {
	if len(s) == 0 {
		return nil
	}
	return &s[len(s)-1]
}

func (s *side) pop() node {
	n := *s.head()
	*s = (*s)[:len(*s)-1]
	return n
}

// expand puts what is in the page at the head in its place.
func (s *side) expand(ctx context.Context, l Loader) error {
	n := s.pop()
	p, err := loadPage(ctx, l, n.id, n.span)
	if err != nil {
		return err
	}
	for i := len(p.children) - 1; i >= 0; i-- {
		*s = append(*s, node{id: p.children[i].id, span: n.span.below(p, i)})
	}
	for i := len(p.entries) - 1; i >= 0; i-- {
		*s = append(*s, node{entry: &p.entries[i]})
	}
	return nil
}

// compareHeads says which head to settle first. For an entry beside a page, it
// is the entry if the page can only hold greater names, because the page may
// turn out to be equal to one that the other side has not come to.
func compareHeads(a, b *node) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	case a.isPage() && b.isPage():
		return comparePages(a.span, b.span)
	case a.isPage():
		return -compareToPage(b.entry.Name, a.span)
	case b.isPage():
		return compareToPage(a.entry.Name, b.span)
	}
	return strings.Compare(a.entry.Name, b.entry.Name)
}

// comparePages takes the page that begins first, and of two the higher one, to
// bring both sides to one level.
func comparePages(a, b span) int {
	if a.lo != b.lo {
		return strings.Compare(a.lo, b.lo)
	}
	if a.level < b.level {
		return 1
	}
	return -1
}

func compareToPage(name string, s span) int {
	if name <= s.lo {
		return -1
	}
	return 1
}
