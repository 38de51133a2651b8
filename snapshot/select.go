package snapshot

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Compare orders snapshots by their effective time, then by sequence.
func Compare(a, b Snapshot) int {
	return cmp.Or(
		compareTimes(a.Effective, b.Effective),
		cmp.Compare(a.Sequence, b.Sequence),
		cmp.Compare(a.ID, b.ID),
	)
}

// A Filter narrows a list of snapshots. Its zero value lets all pass.
type Filter struct {
	Host  string
	Name  string
	Tags  []string // all of them
	Paths []string // each is what some source was given, or where it stands
}

// Match reports whether s passes.
func (f Filter) Match(s Snapshot) bool {
	if f.Host != "" && f.Host != s.Host || f.Name != "" && f.Name != s.Name {
		return false
	}
	for _, tag := range f.Tags {
		if !slices.Contains(s.Tags, tag) {
			return false
		}
	}
	for _, p := range f.Paths {
		if !slices.ContainsFunc(s.Sources, func(src Source) bool { return src.Spec == p || src.At == p }) {
			return false
		}
	}
	return true
}

// Apply returns those of all that pass, sorted by Compare.
func (f Filter) Apply(all []Snapshot) []Snapshot {
	var out []Snapshot
	for _, s := range all {
		if f.Match(s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, Compare)
	return out
}

// A SelectError says why an argument names no snapshot. It is fs.ErrNotExist.
type SelectError struct {
	Arg        string
	Candidates []string // IDs that it could mean, where it is ambiguous
	Forgotten  string   // ID of the snapshot that it means, where that was forgotten
	text       string
}

func (e *SelectError) Error() string { return e.text }

// Is reports whether target is fs.ErrNotExist.
func (e *SelectError) Is(target error) bool { return target == fs.ErrNotExist }

func noSnapshot(arg, format string, args ...any) error {
	return &SelectError{Arg: arg, text: fmt.Sprintf(format, args...) + ": run 'coffer snapshots' to list them"}
}

// minPrefix is how many digits of an ID are taken as an ID.
const minPrefix = 4

// Select finds the snapshot that a person means, and the path in it, "/" if
// none is given. The argument is one of
//
//	latest, latest~2         the newest one that passes the filter, or the 2nd before it
//	2026-11-20               the newest up to the end of that day, UTC
//	2026-11-20T10:00[:00]    the newest up to the end of that minute or second, UTC
//	2026-11-20T10:00:00Z     the same, RFC 3339
//	3fa9                     four or more digits of its ID
//
// and each may be followed by a colon and an absolute path. Incomplete
// snapshots are found by their ID only, for which the filter does not count.
// Those that are not Present are not found; one that an ID means is told in the
// error.
func Select(all []Snapshot, arg string, filter Filter) (Snapshot, string, error) {
	arg, subpath := splitPath(arg)
	s, err := selectOne(all, arg, filter)
	return s, subpath, err
}

func splitPath(arg string) (name, subpath string) {
	if name, p, ok := strings.Cut(arg, ":/"); ok {
		return name, cleanPath(p)
	}
	return strings.TrimSuffix(arg, ":"), "/"
}

func selectOne(all []Snapshot, arg string, filter Filter) (Snapshot, error) {
	if back, ok, err := parseLatest(arg); ok || err != nil {
		if err != nil {
			return Snapshot{}, err
		}
		return selectLatest(all, arg, back, filter)
	}
	if end, ok := parseDate(arg); ok {
		return selectBefore(all, arg, end, filter)
	}
	return selectID(all, arg)
}

// parseLatest reads "latest" and "latest~N".
func parseLatest(arg string) (back int, ok bool, err error) {
	rest, ok := strings.CutPrefix(arg, "latest")
	if !ok || rest == "" {
		return 0, ok, nil
	}
	back, err = strconv.Atoi(strings.TrimPrefix(rest, "~"))
	if rest[0] != '~' || err != nil || back < 0 {
		return 0, false, noSnapshot(arg, "%q names no snapshot, say 'latest' or 'latest~1'", arg)
	}
	return back, true, nil
}

// parseDate returns the first moment after the day, minute or second that arg
// names.
func parseDate(arg string) (end time.Time, ok bool) {
	for _, f := range []struct {
		layout string
		unit   time.Duration
	}{
		{"2006-01-02", 24 * time.Hour},
		{"2006-01-02T15:04", time.Minute},
		{"2006-01-02T15:04:05", time.Second},
		{time.RFC3339, time.Second},
	} {
		if t, err := time.Parse(f.layout, arg); err == nil {
			return endOf(t, f.unit), true
		}
	}
	return time.Time{}, false
}

// endOf leaves a fraction of a second, which RFC 3339 allows, exact.
func endOf(t time.Time, unit time.Duration) time.Time {
	if t.Nanosecond() != 0 {
		return t.Add(1)
	}
	return t.Add(unit)
}

// whole are the snapshots that words and dates can mean.
func whole(all []Snapshot, filter Filter) []Snapshot {
	return slices.DeleteFunc(filter.Apply(all), func(s Snapshot) bool { return s.State == Incomplete || !s.Present() })
}

func selectLatest(all []Snapshot, arg string, back int, filter Filter) (Snapshot, error) {
	found := whole(all, filter)
	if back >= len(found) {
		return Snapshot{}, noSnapshot(arg, "no snapshot matches %q, there are %d complete ones here", arg, len(found))
	}
	return found[len(found)-1-back], nil
}

func selectBefore(all []Snapshot, arg string, end time.Time, filter Filter) (Snapshot, error) {
	found := whole(all, filter)
	limit := TimeOf(end)
	i, _ := slices.BinarySearchFunc(found, limit, func(s Snapshot, t Time) int {
		return compareTimes(s.Effective, t)
	})
	if i == 0 {
		return Snapshot{}, noSnapshot(arg, "no complete snapshot is from %q or before", arg)
	}
	return found[i-1], nil
}

// selectID prefers what is present, for that is what people see: a forgotten
// snapshot whose ID begins alike does not make a prefix ambiguous.
func selectID(all []Snapshot, arg string) (Snapshot, error) {
	found, err := matchID(all, arg)
	if err != nil {
		return Snapshot{}, err
	}
	present := Present(found)
	switch {
	case len(found) == 0:
		return Snapshot{}, noSnapshot(arg, "no snapshot matches %q", arg)
	case len(present) == 1:
		return present[0], nil
	case len(present) > 1:
		return Snapshot{}, ambiguous(arg, present)
	case len(found) > 1:
		return Snapshot{}, ambiguous(arg, found)
	}
	return Snapshot{}, forgotten(arg, found[0].ID)
}

// matchID returns the snapshots whose ID begins with arg, or the one that has it
// whole.
func matchID(all []Snapshot, arg string) (found []Snapshot, err error) {
	prefix := strings.ToLower(arg)
	if len(prefix) < minPrefix || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, noSnapshot(arg,
			"%q names no snapshot, say 'latest', a date like 2026-11-20, or at least %d digits of an id", arg, minPrefix)
	}
	for _, s := range all {
		if s.ID == prefix {
			return []Snapshot{s}, nil
		}
		if strings.HasPrefix(s.ID, prefix) {
			found = append(found, s)
		}
	}
	return found, nil
}

func forgotten(arg, id string) error {
	return &SelectError{Arg: arg, Forgotten: id, text: fmt.Sprintf(
		"snapshot %s was forgotten: 'coffer undelete %s' brings it back until the next prune", id, id)}
}

// SelectForgotten finds the snapshot that was forgotten, by four or more digits
// of its ID. A held one is among them: it is still to be seen, and can still be
// brought back.
func SelectForgotten(all []Snapshot, arg string) (Snapshot, error) {
	matched, err := matchID(all, arg)
	if err != nil {
		return Snapshot{}, err
	}
	found := slices.DeleteFunc(slices.Clone(matched), func(s Snapshot) bool { return !s.Forgotten })
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Snapshot{}, ambiguous(arg, found)
	case len(matched) > 0:
		return Snapshot{}, noSnapshot(arg, "snapshot %s was not forgotten", matched[0].ID)
	}
	return Snapshot{}, noSnapshot(arg, "no snapshot matches %q that was forgotten and not pruned yet", arg)
}

func ambiguous(arg string, found []Snapshot) error {
	slices.SortFunc(found, Compare)
	e := &SelectError{Arg: arg}
	for _, s := range found {
		e.Candidates = append(e.Candidates, s.ID)
	}
	shown := e.Candidates[:min(len(e.Candidates), 5)]
	e.text = fmt.Sprintf("%q matches %d snapshots, give more digits of one of: %s", arg, len(found), strings.Join(shown, ", "))
	return e
}
