package snapshot

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"sort"
	"strings"

	"coffer/chunk"
)

// List streams the entries of a directory whose names come after a name, or all
// of them if that is "", in the order of the names' bytes. It loads only the
// pages that it needs. Each entry belongs to the caller. An error ends it.
func List(ctx context.Context, l Loader, tree chunk.ID, after string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if tree == (chunk.ID{}) {
			return
		}
		r := lister{ctx: ctx, loader: l, after: after, yield: yield}
		if err := r.page(tree, span{top: true}); err != nil {
			yield(nil, err)
		}
	}
}

// A lister streams one listing.
type lister struct {
	ctx    context.Context
	loader Loader
	after  string
	yield  func(*Entry, error) bool
	done   bool // the caller wants no more
}

func (r *lister) page(id chunk.ID, s span) error {
	p, err := loadPage(r.ctx, r.loader, id, s)
	if err != nil {
		return err
	}
	if p.level == 0 {
		r.entries(p)
		return nil
	}
	for i := p.childAfter(r.after); i < len(p.children) && !r.done; i++ {
		if err := r.page(p.children[i].id, s.below(p, i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *lister) entries(p *page) {
	for i := p.entryAfter(r.after); i < len(p.entries) && !r.done; i++ {
		r.done = !r.yield(&p.entries[i], nil)
	}
}

// childAfter is the first child with a name greater than after.
func (p *page) childAfter(after string) int {
	return sort.Search(len(p.children), func(i int) bool { return p.children[i].last > after })
}

// entryAfter is the first entry with a name greater than after.
func (p *page) entryAfter(after string) int {
	return sort.Search(len(p.entries), func(i int) bool { return p.entries[i].Name > after })
}

// Lookup returns the entry of a name in a directory, or an error that is
// fs.ErrNotExist. It loads one page for each level.
func Lookup(ctx context.Context, l Loader, tree chunk.ID, name string) (*Entry, error) {
	for s := (span{top: true}); tree != (chunk.ID{}); {
		p, err := loadPage(ctx, l, tree, s)
		if err != nil {
			return nil, err
		}
		if p.level == 0 {
			return p.find(name)
		}
		i := sort.Search(len(p.children), func(i int) bool { return p.children[i].last >= name })
		if i == len(p.children) {
			break
		}
		s, tree = s.below(p, i), p.children[i].id
	}
	return nil, notFound(name)
}

func (p *page) find(name string) (*Entry, error) {
	i := sort.Search(len(p.entries), func(i int) bool { return p.entries[i].Name >= name })
	if i == len(p.entries) || p.entries[i].Name != name {
		return nil, notFound(name)
	}
	return &p.entries[i], nil
}

func notFound(name string) error { return fmt.Errorf("find %q: %w", name, fs.ErrNotExist) }

// Resolve returns the entry at a path below the listing root. It follows no
// symlinks. "/" and "" are the root itself: a directory that no listing has an
// entry for, with name "/" and no metadata but mode 0755. An error is
// fs.ErrNotExist if there is no such path.
func Resolve(ctx context.Context, l Loader, root chunk.ID, at string) (*Entry, error) {
	at = cleanPath(at)
	e := rootEntry(root)
	for name := range strings.SplitSeq(strings.TrimPrefix(at, "/"), "/") {
		if name == "" {
			break
		}
		if e.Type != Dir {
			return nil, fmt.Errorf("find %q: %q is not a directory: %w", at, e.Name, fs.ErrNotExist)
		}
		next, err := Lookup(ctx, l, e.Tree, name)
		if err != nil {
			return nil, fmt.Errorf("open %q in the snapshot: %w", at, err)
		}
		e = next
	}
	return e, nil
}

// cleanPath makes a path absolute, without dots, doubled and final slashes.
func cleanPath(p string) string { return path.Clean("/" + p) }

func rootEntry(root chunk.ID) *Entry {
	return &Entry{Name: "/", Type: Dir, Mode: 0o755, Tree: root}
}
