package source

import (
	"errors"
	"fmt"
	"strings"
)

// A Pattern names files to leave out of a backup, in the manner of gitignore
// and rsync. Where these two differ, rsync's way holds, for a backup has no
// directory that every pattern with a slash could belong to:
//
//	name       a file or directory of that name, at any depth
//	a/b        b in a directory a, at any depth (git: only at the top)
//	/a/b       only at the root of the backup, and the absolute path /a/b
//	a/         only directories
//	*  ?       any bytes, any one character, but not "/"
//	[a-z]      one of a class; [!a-z] or [^a-z] none of it; [[:digit:]]
//	**         as a whole part of the path: any number of directories
//	a/**       all in a, but not a itself
//	!pattern   takes in again what an earlier pattern left out
//	\          takes the meaning from the character that follows
//
// The last pattern that matches decides. Nothing below a directory that is
// left out is looked at, so it cannot be taken in again; leave out "a/*" rather
// than "a" for that.
type Pattern struct {
	Text   string
	Fold   bool   // upper and lower case are the same
	Origin string // where it was written, for messages; may be empty
}

// A Matcher decides which paths below one root are left out. A nil Matcher
// leaves out none. It may be used from several goroutines.
type Matcher struct {
	rules []rule
	folds bool // some rule wants the path in lower case
}

// A rule is a compiled Pattern.
type rule struct {
	negate   bool
	dirOnly  bool
	fold     bool
	anchored bool
	last     glob     // the part that the last element must match
	paths    [][]glob // the path must match one of them; nil: last suffices
}

// Compile makes a Matcher for the root at the absolute path root, or "" where
// only paths relative to a root matter. With no patterns it is nil.
func Compile(patterns []Pattern, root string) (*Matcher, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m := new(Matcher)
	for _, p := range patterns {
		r, err := compileRule(p, root)
		if err != nil {
			return nil, patternError(p, err)
		}
		m.rules = append(m.rules, r)
		m.folds = m.folds || r.fold
	}
	return m, nil
}

func patternError(p Pattern, err error) error {
	if p.Origin != "" {
		return fmt.Errorf("read pattern %q in %s: %w", p.Text, p.Origin, err)
	}
	return fmt.Errorf("read pattern %q: %w", p.Text, err)
}

func compileRule(p Pattern, root string) (rule, error) {
	text, r := p.Text, rule{fold: p.Fold}
	text, r.negate = strings.CutPrefix(text, "!")
	text, r.dirOnly = strings.CutSuffix(text, "/")
	text, r.anchored = strings.CutPrefix(text, "/")
	if r.fold {
		text, root = lower(text), lower(root)
	}
	parts, err := compileParts(text, r.fold)
	if err != nil {
		return r, err
	}
	r.last = parts[len(parts)-1]
	switch {
	case r.anchored:
		r.paths = append(below(parts, root), parts)
	case len(parts) > 1:
		r.paths = [][]glob{append([]glob{{kind: deep}}, parts...)}
	}
	return r, nil
}

func compileParts(text string, fold bool) ([]glob, error) {
	var parts []glob
	for _, part := range strings.Split(text, "/") {
		switch part {
		case "":
			continue
		case ".", "..":
			return nil, fmt.Errorf("%q is no name of a file", part)
		}
		g, err := compileGlob(part, fold)
		if err != nil {
			return nil, err
		}
		parts = append(parts, g)
	}
	if len(parts) == 0 {
		return nil, errors.New("it is empty")
	}
	return parts, nil
}

// below turns a pattern for absolute paths into those that say the same of
// paths below root. There may be several, as "**" can end before or in root. A
// pattern for root itself, or for what holds it, gives none: what was asked for
// by name is not left out.
func below(parts []glob, root string) [][]glob {
	head, rest := cutPath(strings.TrimPrefix(root, "/"))
	if head == "" || len(parts) == 0 {
		return nil
	}
	var found [][]glob
	step := func(next []glob) {
		if rest != "" {
			found = append(found, below(next, rest)...)
		} else if len(next) > 0 {
			found = append(found, next)
		}
	}
	if parts[0].kind == deep {
		step(parts)
		return append(found, below(parts[1:], root)...)
	}
	if parts[0].match(head) {
		step(parts[1:])
	}
	return found
}

// Excluded tells whether path, relative to the root and separated by slashes,
// is left out. It looks at path alone: the caller does not go into directories
// that are left out.
func (m *Matcher) Excluded(path string, isDir bool) bool {
	if m == nil {
		return false
	}
	path = strings.TrimPrefix(path, "/")
	folded := path
	if m.folds {
		folded = lower(path)
	}
	base, foldedBase := lastPart(path), lastPart(folded)
	for i := len(m.rules) - 1; i >= 0; i-- {
		r := &m.rules[i]
		hit := false
		if r.fold {
			hit = r.match(folded, foldedBase, isDir)
		} else {
			hit = r.match(path, base, isDir)
		}
		if hit {
			return !r.negate
		}
	}
	return false
}

// match tries the last element first: it settles nearly all cases.
func (r *rule) match(path, base string, isDir bool) bool {
	if r.dirOnly && !isDir || path == "" {
		return false
	}
	if r.last.kind != deep && !r.last.match(base) {
		return false
	}
	if r.paths == nil {
		return true
	}
	for _, parts := range r.paths {
		if matchPath(parts, path) {
			return true
		}
	}
	return false
}

// matchPath goes back to the last "**" alone where parts do not fit: what an
// earlier one took cannot matter any more.
func matchPath(parts []glob, path string) bool {
	i, deepAt, deepPath := 0, -1, ""
	for path != "" {
		if i < len(parts) && parts[i].kind == deep {
			if deepAt, deepPath = i, path; i == len(parts)-1 {
				return true
			}
			i++
			continue
		}
		head, tail := cutPath(path)
		switch {
		case i < len(parts) && parts[i].match(head):
			i, path = i+1, tail
		case deepAt >= 0:
			_, deepPath = cutPath(deepPath)
			i, path = deepAt+1, deepPath
		default:
			return false
		}
	}
	return i == len(parts)
}

func cutPath(path string) (head, tail string) {
	head, tail, _ = strings.Cut(path, "/")
	return head, tail
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
