package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"coffer/snapshot"
	"coffer/source"
)

// A judge decides which paths of a snapshot are dropped. Snapshots of the same
// roots have the same judge.
type judge struct {
	number uint64
	whole  *source.Matcher // for what is in no root: paths in the snapshot
	roots  map[string]*source.Matcher
}

// A scope is the part of a snapshot that a directory is in: whose matcher counts
// for the entries below.
type scope struct {
	base    string // of the root, "" outside of all
	matcher *source.Matcher
}

// newJudge compiles the patterns for the roots at the given places.
func newJudge(number uint64, patterns []source.Pattern, places []string) (*judge, error) {
	j := &judge{number: number, roots: map[string]*source.Matcher{}}
	var err error
	if j.whole, err = source.Compile(patterns, ""); err != nil {
		return nil, err
	}
	for _, at := range places {
		if j.roots[at], err = source.Compile(patterns, at); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// placesOf returns where the roots of s stand, sorted.
func placesOf(s *snapshot.Snapshot) []string {
	var places []string
	for _, src := range s.Sources {
		if src.Kind == "path" {
			places = append(places, src.At)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// top is the scope of the entries of "/".
func (j *judge) top() scope { return j.enter("/", scope{matcher: j.whole}) }

// enter is the scope of what is below a directory that itself is in a scope.
func (j *judge) enter(dir string, in scope) scope {
	if m, ok := j.roots[dir]; ok {
		return scope{base: dir, matcher: m}
	}
	return in
}

// drops tells whether the entry at a path, in a directory of scope in, is
// dropped.
func (in scope) drops(path string, isDir bool) bool {
	return in.matcher.Excluded(strings.TrimPrefix(path, in.base), isDir)
}

// dropsPath tells whether the path, of an entry of unknown type, is dropped or
// lies below a directory that is.
func (j *judge) dropsPath(path string) bool {
	in := j.top()
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if in.drops(path[:i], true) {
			return true
		}
		in = j.enter(path[:i], in)
	}
	return len(path) > 1 && (in.drops(path, false) || in.drops(path, true))
}

// judgeOf returns the judge of a snapshot.
func (p *plan) judgeOf(s *snapshot.Snapshot) (*judge, error) {
	places := placesOf(s)
	name := strings.Join(places, "\x00")
	if j, ok := p.judges[name]; ok {
		return j, nil
	}
	j, err := newJudge(uint64(len(p.judges)), p.patterns, places)
	if err != nil {
		return nil, fmt.Errorf("compile the patterns: %w", err)
	}
	p.judges[name] = j
	return j, nil
}
