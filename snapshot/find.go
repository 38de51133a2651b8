package snapshot

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"coffer/chunk"
)

// A Query says which entries Find shall find: those that pass all that is set.
type Query struct {
	Name          string // glob for the last element of the path
	Path          string // glob for the whole path, with ** for any directories
	Types         []Type
	MinSize       int64     // above 0, only files pass
	MaxSize       *int64    // nil for no limit; else only files pass
	After, Before time.Time // of the mtime: not before After, and before Before
}

// Find calls fn for each entry below root that passes q, in the order of Walk
// and with the meaning that Walk gives to errors of fn. It does not look into
// directories that the path glob excludes.
func Find(ctx context.Context, l Loader, root chunk.ID, q Query, fn func(path string, e *Entry) error) error {
	q.Path = strings.TrimPrefix(q.Path, "/")
	for _, glob := range []string{q.Name, q.Path} {
		if !doublestar.ValidatePattern(glob) {
			return fmt.Errorf("find: %q is no valid pattern", glob)
		}
	}
	return Walk(ctx, l, root, "/", func(p string, e *Entry) error {
		if p == "/" {
			return nil
		}
		if q.match(p, e) {
			if err := fn(p, e); err != nil {
				return err
			}
		}
		if e.Type == Dir && !q.below(p) {
			return fs.SkipDir
		}
		return nil
	})
}

func (q *Query) match(p string, e *Entry) bool {
	if len(q.Types) > 0 && !slices.Contains(q.Types, e.Type) {
		return false
	}
	if q.Name != "" && !doublestar.MatchUnvalidated(q.Name, e.Name) {
		return false
	}
	if q.Path != "" && !doublestar.MatchUnvalidated(q.Path, p[1:]) {
		return false
	}
	return q.matchSize(e) && q.matchTime(e)
}

// matchSize looks at files alone once a size is asked for: that of a
// directory is a sum, and says nothing about it.
func (q *Query) matchSize(e *Entry) bool {
	if q.MinSize <= 0 && q.MaxSize == nil {
		return true
	}
	return e.Type == File && e.Size >= q.MinSize && (q.MaxSize == nil || e.Size <= *q.MaxSize)
}

func (q *Query) matchTime(e *Entry) bool {
	t := e.MTime.AsTime()
	return (q.After.IsZero() || !t.Before(q.After)) && (q.Before.IsZero() || t.Before(q.Before))
}

// below reports whether the path glob can match something below directory p,
// by matching its own elements against as many of the glob's.
func (q *Query) below(p string) bool {
	if q.Path == "" {
		return true
	}
	globs := strings.Split(q.Path, "/")
	names := strings.Split(p[1:], "/")
	for i, name := range names {
		switch {
		case i >= len(globs):
			return false
		case strings.Contains(globs[i], "**") || strings.ContainsAny(globs[i], "{}\\"):
			return true // may stand for more than one element
		case !doublestar.MatchUnvalidated(globs[i], name):
			return false
		}
	}
	return len(globs) > len(names)
}
