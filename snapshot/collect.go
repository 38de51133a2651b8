package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A Snapshot is a manifest with the ID that it goes by, and what became of it.
// It may have several commits: the one that made it, holds, and those that
// brought it back after it was forgotten. Original and Hold, which say such
// things of one commit, are empty in its Manifest.
type Snapshot struct {
	ID string
	Manifest
	Records   []string // IDs of its plain commits that nobody asked to forget, the newest first
	Holds     []Held   // holds that nobody asked to release, ended ones too
	Asked     []string // IDs of its commits that were asked for: what undelete brings back
	Forgotten bool     // no plain commit is left that nobody asked to forget
}

// Present reports whether s is to be seen: it is not forgotten, or it is held.
func (s Snapshot) Present() bool { return !s.Forgotten || len(s.Holds) > 0 }

// Present returns those of all that are not forgotten, or are held.
func Present(all []Snapshot) []Snapshot {
	var out []Snapshot
	for i := range all {
		if all[i].Present() {
			out = append(out, all[i])
		}
	}
	return out
}

// A Record is a commit as the store has it.
type Record struct {
	ID      string
	Payload []byte
	Asked   bool // somebody asked to forget it
}

// Collect puts the snapshots together that records and notes tell of, also the
// forgotten ones, sorted by Compare. A record that cannot be read does not hide
// the others: the error names it, and what is returned beside the error is
// good.
//
// The manifest of a snapshot with several commits is that of the newest plain
// one that nobody asked to forget, else of an asked one, else of a hold.
func Collect(records []Record, notes []Note) ([]Snapshot, error) {
	members, errs := decodeRecords(records)
	slices.SortFunc(members, compareMembers)
	all := make([]Snapshot, 0, len(members))
	for len(members) > 0 {
		n := 1
		for n < len(members) && members[n].snapshot() == members[0].snapshot() {
			n++
		}
		group, strange := sameRoot(members[:n])
		all = append(all, assemble(group))
		errs = append(errs, strange...)
		members = members[n:]
	}
	applyNotes(all, notes)
	slices.SortFunc(all, Compare)
	return all, joinSome(errs)
}

// A member is one commit of a snapshot.
type member struct {
	*Record
	m *Manifest
}

// snapshot is the ID that the member's snapshot goes by.
func (c member) snapshot() string { return cmp.Or(c.m.Original, c.ID) }

// rank says how much the manifest of a member counts, less is more.
func (c member) rank() int {
	switch {
	case c.m.Hold != nil:
		return 2
	case c.Asked:
		return 1
	}
	return 0
}

// compareMembers brings commits of one snapshot together, the one whose manifest
// counts first.
func compareMembers(a, b member) int {
	return cmp.Or(
		strings.Compare(a.snapshot(), b.snapshot()),
		cmp.Compare(a.rank(), b.rank()),
		compareTimes(b.m.Received, a.m.Received),
		strings.Compare(b.ID, a.ID),
	)
}

// sameRoot leaves out commits that claim to be a snapshot whose root is another
// one: the first commit knows best, and where that is gone the oldest.
func sameRoot(group []member) (good []member, errs []error) {
	first := group[0]
	for _, c := range group {
		if c.ID == c.snapshot() {
			first = c
			break
		}
		if compareTimes(c.m.Received, first.m.Received) < 0 {
			first = c
		}
	}
	for _, c := range group {
		if c.m.Root == first.m.Root {
			good = append(good, c)
			continue
		}
		errs = append(errs, fmt.Errorf("read commit %s: it says that it is snapshot %s, whose root is another one", c.ID, c.snapshot()))
	}
	return good, errs
}

// assemble makes a snapshot of its commits, the one whose manifest counts first.
func assemble(group []member) Snapshot {
	s := Snapshot{ID: group[0].snapshot(), Manifest: *group[0].m}
	s.Original, s.Hold = "", nil
	for _, c := range group {
		switch {
		case c.Asked:
			s.Asked = append(s.Asked, c.ID)
		case c.m.Hold != nil:
			s.Holds = append(s.Holds, Held{Record: c.ID, Hold: *c.m.Hold})
		default:
			s.Records = append(s.Records, c.ID)
		}
	}
	s.Forgotten = len(s.Records) == 0
	return s
}

// decodeRecords decodes on all processors: this is nearly all that listing a
// hundred thousand snapshots costs.
func decodeRecords(records []Record) ([]member, []error) {
	members, errs := make([]member, len(records)), make([]error, len(records))
	workers := min(runtime.GOMAXPROCS(0), len(records)/64+1)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w * len(records) / workers; i < (w+1)*len(records)/workers; i++ {
				members[i], errs[i] = decodeRecord(&records[i])
			}
		})
	}
	group.Wait()
	isNil := func(err error) bool { return err == nil }
	return slices.DeleteFunc(members, func(c member) bool { return c.m == nil }), slices.DeleteFunc(errs, isNil)
}

func decodeRecord(r *Record) (member, error) {
	m, err := DecodeManifest(r.Payload)
	if err != nil {
		return member{}, fmt.Errorf("read commit %s: %w", r.ID, err)
	}
	return member{Record: r, m: &m}, nil
}

// maxNamed is how many errors of one kind are told apart.
const maxNamed = 20

// joinSome joins errors, and only counts those beyond maxNamed.
func joinSome(errs []error) error {
	if more := len(errs) - maxNamed; more > 0 {
		errs = append(errs[:maxNamed:maxNamed], fmt.Errorf("and %d more like these", more))
	}
	return errors.Join(errs...)
}
