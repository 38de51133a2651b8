package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Note says something about a snapshot that is not in its manifest, because
// it came later: a commit is never changed. So far that is its tags. Notes of
// other kinds, of programs newer than this one, are kept as they are.
type Note struct {
	ID       string // of the stored note that it came in first; empty in a new one
	Kind     NoteKind
	Snapshot string // ID
	Time     Time   // of the writer; the order in which notes count, and then that of their IDs
	By       string
	Set      bool     // Add are all its tags, whatever it had
	Add      []string // sorted by EncodeNotes
	Remove   []string

	Body []byte // where this package does not know the kind: all it says but ID and Kind
}

// A NoteKind says what a Note is about. The values are part of the format.
type NoteKind uint64

// TagNote is about tags; a Kind of 0 is taken for it.
const TagNote NoteKind = 1

func (k NoteKind) known() bool { return k == 0 || k == TagNote }

// Limits of notes.
const (
	maxTag    = 1024
	maxNoteBy = 1024
	maxNoteID = 128
)

// check looks at a note of a known kind.
func (n *Note) check() error {
	switch {
	case len(n.ID) > maxNoteID || len(n.By) > maxNoteBy:
		return errors.New("its id or writer is too long")
	case !isID(n.Snapshot):
		return fmt.Errorf("%q is no id of a snapshot", n.Snapshot)
	case n.Time.Nsec >= 1e9:
		return errors.New("its time has a second or more of nanoseconds")
	case n.Set && len(n.Remove) > 0:
		return errors.New("it sets all tags and removes some")
	case !n.Set && len(n.Add)+len(n.Remove) == 0:
		return errors.New("it changes nothing")
	}
	return n.checkTags()
}

func (n *Note) checkTags() error {
	for _, list := range [][]string{n.Add, n.Remove} {
		for i, tag := range list {
			if tag == "" || len(tag) > maxTag {
				return fmt.Errorf("a tag is empty or longer than %d bytes", maxTag)
			}
			if i > 0 && list[i-1] >= tag {
				return errors.New("its tags are not in ascending order")
			}
		}
	}
	for _, tag := range n.Add {
		if _, both := slices.BinarySearch(n.Remove, tag); both {
			return fmt.Errorf("it adds and removes the tag %q", tag)
		}
	}
	return nil
}

// compareNotes is the order in which notes count. Those that were stored
// together stay as they stood.
func compareNotes(a, b Note) int {
	return cmp.Or(compareTimes(a.Time, b.Time), strings.Compare(a.ID, b.ID))
}

// applyNotes changes the tags of snapshots as notes say.
func applyNotes(all []Snapshot, notes []Note) {
	if len(notes) == 0 {
		return
	}
	at := make(map[string]int, len(all))
	for i := range all {
		at[all[i].ID] = i
	}
	for id, list := range bySnapshot(notes) {
		if i, ok := at[id]; ok {
			all[i].Tags = tagsAfter(all[i].Tags, list)
		}
	}
}

// bySnapshot sorts the notes about tags, those of each snapshot in their order.
func bySnapshot(notes []Note) map[string][]Note {
	lists := map[string][]Note{}
	for _, n := range notes {
		if n.Kind.known() {
			lists[n.Snapshot] = append(lists[n.Snapshot], n)
		}
	}
	for _, list := range lists {
		slices.SortStableFunc(list, compareNotes)
	}
	return lists
}

// tagsAfter returns the tags that notes leave, sorted: an order that came from
// the notes would change when they are folded.
func tagsAfter(tags []string, notes []Note) []string {
	tags = slices.Clone(tags)
	for _, n := range notes {
		if n.Set {
			tags = nil
		}
		tags = slices.DeleteFunc(tags, func(t string) bool { return slices.Contains(n.Remove, t) })
		tags = append(tags, n.Add...)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// FoldNotes returns one payload that says the same as the stored notes, for
// prune to put in their place, and the IDs of those that it stands for. Of notes
// about snapshots for which exists is false nothing is left. A stored note that
// this program cannot read is not touched, and the error names it; what is
// returned beside the error is good. The payload is nil where nothing is left
// to say.
//
// exists must know all commits that were there after the notes were listed:
// then a note cannot be older than what it speaks of. The payload may be stored
// before the others are deleted, for saying a thing twice changes nothing; and
// it keeps its meaning whatever other notes there are.
func FoldNotes(stored []StoredNote, exists func(id string) bool) (payload []byte, folded []string, err error) {
	var notes []Note
	var good []StoredNote
	var errs []error
	for _, s := range stored {
		list, err := decodeNotes(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		notes, good = append(notes, list...), append(good, s)
	}
	payload, err = encodeNotes(foldAll(notes, exists))
	if errors.Is(err, errManyNotes) && len(good) > 1 { // half of them says the same as that half
		half, folded, err := FoldNotes(good[:len(good)/2], exists)
		return half, folded, errors.Join(joinSome(errs), err)
	}
	if err != nil {
		return nil, nil, errors.Join(joinSome(errs), err)
	}
	return payload, idsOf(good), joinSome(errs)
}

func idsOf(stored []StoredNote) []string {
	ids := make([]string, len(stored))
	for i := range stored {
		ids[i] = stored[i].ID
	}
	return ids
}

// foldAll leaves out what has no effect.
func foldAll(notes []Note, exists func(id string) bool) []Note {
	var out []Note
	for id, list := range bySnapshot(notes) {
		if exists(id) {
			out = append(out, foldTags(list)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Note) int {
		return cmp.Or(compareNotes(a, b), strings.Compare(a.Snapshot, b.Snapshot))
	})
	return append(out, unknownNotes(notes)...)
}

// foldTags keeps the last word on every tag, and with it the time at which it
// was said: a note that comes to light later may still belong in between.
func foldTags(list []Note) []Note {
	spoken := map[string]bool{}
	fresh := func(tags []string) (out []string) {
		for _, t := range tags {
			if !spoken[t] {
				out = append(out, t)
				spoken[t] = true
			}
		}
		return out
	}
	var out []Note
	for _, n := range slices.Backward(list) {
		n.Add, n.Remove = fresh(n.Add), fresh(n.Remove)
		if n.Set || len(n.Add)+len(n.Remove) > 0 {
			out = append(out, n)
		}
		if n.Set {
			break
		}
	}
	slices.Reverse(out)
	return out
}

// unknownNotes returns each note of a kind that is not known once.
func unknownNotes(notes []Note) []Note {
	var out []Note
	for _, n := range notes {
		if !n.Kind.known() {
			out = append(out, n)
		}
	}
	same := func(a, b Note) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Body, b.Body))
	}
	slices.SortStableFunc(out, same)
	return slices.CompactFunc(out, func(a, b Note) bool { return same(a, b) == 0 })
}
