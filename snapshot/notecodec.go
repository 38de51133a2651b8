package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// A StoredNote is a note as the store has it. One may carry several Notes.
type StoredNote struct {
	ID      string
	Payload []byte
}

const (
	notesVersion = 1
	maxNotes     = 16 << 20 // bytes of a payload
	maxNoteCount = 1 << 20  // in a payload
)

var errManyNotes = errors.New("the notes are too many for one object")

// wireNotes is the payload of a stored note.
type wireNotes struct {
	Version int        `cbor:"1,keyasint"`
	Notes   []wireNote `cbor:"2,keyasint"`
}

// wireNote is a Note. Its body is opaque, so that a program can carry along
// what it does not understand.
type wireNote struct {
	Kind uint64 `cbor:"1,keyasint"`
	ID   string `cbor:"2,keyasint,omitempty"`
	Body []byte `cbor:"3,keyasint"`
}

// wireTags is the body of a TagNote.
type wireTags struct {
	Snapshot string   `cbor:"1,keyasint"`
	Time     Time     `cbor:"2,keyasint"`
	By       string   `cbor:"3,keyasint,omitempty"`
	Set      bool     `cbor:"4,keyasint,omitempty"`
	Add      []string `cbor:"5,keyasint,omitempty"`
	Remove   []string `cbor:"6,keyasint,omitempty"`
}

// EncodeNotes returns the payload of one stored note that carries notes.
func EncodeNotes(notes ...Note) ([]byte, error) {
	if len(notes) == 0 {
		return nil, errors.New("encode notes: there are none")
	}
	list := slices.Clone(notes)
	for i := range list {
		list[i].Add, list[i].Remove = sortedTags(list[i].Add), sortedTags(list[i].Remove)
	}
	return encodeNotes(list)
}

func sortedTags(tags []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(tags)))
}

// encodeNotes returns nil for no notes.
func encodeNotes(notes []Note) ([]byte, error) {
	if len(notes) == 0 {
		return nil, nil
	}
	if len(notes) > maxNoteCount {
		return nil, fmt.Errorf("encode notes: %w", errManyNotes)
	}
	w := wireNotes{Version: notesVersion}
	for i := range notes {
		n, err := notes[i].wire()
		if err != nil {
			return nil, fmt.Errorf("encode note on snapshot %s: %w", notes[i].Snapshot, err)
		}
		w.Notes = append(w.Notes, n)
	}
	b, err := marshal(&w)
	if err != nil {
		return nil, fmt.Errorf("encode notes: %w", err)
	}
	if len(b) > maxNotes {
		return nil, fmt.Errorf("encode notes: %w", errManyNotes)
	}
	return b, nil
}

func (n *Note) wire() (wireNote, error) {
	if !n.Kind.known() {
		return wireNote{Kind: uint64(n.Kind), ID: n.ID, Body: n.Body}, nil
	}
	if err := n.check(); err != nil {
		return wireNote{}, err
	}
	body, err := marshal(&wireTags{Snapshot: n.Snapshot, Time: n.Time, By: n.By, Set: n.Set, Add: n.Add, Remove: n.Remove})
	return wireNote{Kind: uint64(TagNote), ID: n.ID, Body: body}, err
}

// DecodeNotes returns the notes that stored ones carry. One that cannot be read
// does not hide the others: the error names it, and what is returned beside the
// error is good.
func DecodeNotes(stored []StoredNote) ([]Note, error) {
	var all []Note
	var errs []error
	for _, s := range stored {
		list, err := decodeNotes(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, list...)
	}
	return all, joinSome(errs)
}

func decodeNotes(s StoredNote) ([]Note, error) {
	w, err := decodeWireNotes(s.Payload)
	if err != nil {
		return nil, fmt.Errorf("read note %s: %w", s.ID, err)
	}
	notes := make([]Note, len(w.Notes))
	for i := range w.Notes {
		if notes[i], err = w.Notes[i].note(s.ID); err != nil {
			return nil, fmt.Errorf("read note %s: %w", s.ID, err)
		}
	}
	return notes, nil
}

func decodeWireNotes(data []byte) (w wireNotes, err error) {
	if len(data) > maxNotes {
		return w, damaged("%d bytes are more than %d", len(data), maxNotes)
	}
	if err := checkVersion(data, notesVersion); err != nil {
		return w, err
	}
	return w, decodeWhole(codecs().notes, data, &w)
}

// note is the Note that w stands for, in a stored note of the given ID.
func (w *wireNote) note(id string) (Note, error) {
	n := Note{ID: w.ID, Kind: NoteKind(w.Kind)}
	if n.ID == "" {
		n.ID = id
	}
	if w.Kind == 0 {
		return n, damaged("a note of kind 0")
	}
	if !n.Kind.known() {
		n.Body = w.Body
		return n, nil
	}
	var t wireTags
	if err := decodeWhole(codecs().notes, w.Body, &t); err != nil {
		return n, err
	}
	n.Snapshot, n.Time, n.By, n.Set, n.Add, n.Remove = t.Snapshot, t.Time, t.By, t.Set, t.Add, t.Remove
	if err := n.check(); err != nil {
		return n, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, nil
}

// decodeWhole decodes what is small or rare enough to prove its form by writing
// it again.
func decodeWhole(mode cbor.DecMode, data []byte, v any) error {
	if err := mode.Unmarshal(data, v); err != nil {
		return damaged("%v", err)
	}
	again, err := marshal(v)
	if err == nil && !bytes.Equal(again, data) {
		err = damaged("it is not in canonical form")
	}
	return err
}
