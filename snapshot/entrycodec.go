package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"coffer/chunk"
)

// EncodeEntry returns the canonical bytes of e, as they stand in a listing.
// Equal entries give equal bytes. An entry whose bulk is too large to stand in
// a listing is refused: Listing.Add spills it.
func EncodeEntry(e *Entry) ([]byte, error) {
	var b bytes.Buffer
	if err := encodeEntry(&b, e); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func encodeEntry(b *bytes.Buffer, e *Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if e.bulk() > maxInline {
		return fmt.Errorf("entry %q: its bulk is too large for a listing", e.Name)
	}
	w := toWire(e)
	if err := codecs().enc.MarshalToBuffer(&w, b); err != nil {
		return fmt.Errorf("encode entry %q: %w", e.Name, err)
	}
	return nil
}

// DecodeEntry reads what EncodeEntry wrote, and accepts nothing else.
func DecodeEntry(data []byte) (*Entry, error) {
	var w wireEntry
	if err := decode(codecs().strict, data, &w); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	var e Entry
	var d entryDecoder
	if err := d.entry(&e, &w); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	return &e, nil
}

// typeShift puts the type above the permissions, as in st_mode: one number less
// is 5 % of the time that decoding takes.
const typeShift = 12

func toWire(e *Entry) wireEntry {
	w := wireEntry{
		Name: e.Name, Mode: uint32(e.Type)<<typeShift | e.Mode, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group,
		MSec: e.MTime.Sec, MNsec: e.MTime.Nsec, CSec: e.CTime.Sec, CNsec: e.CTime.Nsec,
		Size: e.Size, Inode: e.Inode, FS: e.FS, Links: e.Links, LinkGroup: string(e.LinkGroup),
		Target: e.Target, Major: e.Major, Minor: e.Minor, Flags: e.Flags, Items: e.Items, Files: e.Files,
		Xattrs: e.Xattrs, SpillUp: e.Spill.Level,
	}
	if e.Tree != (chunk.ID{}) {
		w.Tree = e.Tree[:]
	}
	if e.Spilled() {
		w.Spill = joinIDs(nil, e.Spill.IDs)
	}
	if len(e.Holes) > 0 {
		w.Holes = appendHoles(nil, e.Holes)
	}
	w.Content, w.Lengths = joinRefs(e.Content)
	if len(w.Lengths) == 1 { // it can only be the size of the data, check has proved it
		w.Lengths = nil
	}
	return w
}

func joinRefs(refs []Ref) ([]byte, []uint32) {
	if len(refs) == 0 {
		return nil, nil
	}
	ids, lengths := make([]byte, 0, len(refs)*chunk.IDSize), make([]uint32, len(refs))
	for i := range refs {
		ids = append(ids, refs[i].ID[:]...)
		lengths[i] = refs[i].Length
	}
	return ids, lengths
}

// An entryDecoder turns the entries of one page into the form in memory. It
// shares owners' names and the space of references among them, because
// allocations are most of what decoding costs.
type entryDecoder struct {
	user, group string
	refs        []Ref
}

// entry fills e, which must be zero, from w.
func (d *entryDecoder) entry(e *Entry, w *wireEntry) error {
	*e = Entry{
		Name: w.Name, Type: Type(w.Mode >> typeShift), Mode: w.Mode & (1<<typeShift - 1), UID: w.UID, GID: w.GID,
		User: intern(&d.user, w.User), Group: intern(&d.group, w.Group),
		MTime: Time{Sec: w.MSec, Nsec: w.MNsec}, CTime: Time{Sec: w.CSec, Nsec: w.CNsec},
		Size: w.Size, Inode: w.Inode, FS: w.FS, Links: w.Links, LinkGroup: LinkGroup(w.LinkGroup),
		Target: w.Target, Major: w.Major, Minor: w.Minor, Flags: w.Flags, Items: w.Items, Files: w.Files,
		Xattrs: w.Xattrs,
	}
	if w.Mode>>typeShift > uint32(Socket) {
		return damaged("entry %q has mode %o", w.Name, w.Mode)
	}
	if err := d.lists(e, w); err != nil {
		return fmt.Errorf("entry %q: %w", w.Name, err)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if e.bulk() > maxInline {
		return damaged("the bulk of entry %q should have spilled", e.Name)
	}
	return nil
}

// lists decodes what w holds as joined bytes.
func (d *entryDecoder) lists(e *Entry, w *wireEntry) (err error) {
	if len(w.Tree) > 0 {
		if e.Tree, err = oneID(w.Tree); err != nil {
			return err
		}
	}
	if e.Holes, err = splitHoles(w.Holes); err != nil {
		return err
	}
	if len(w.Spill) > 0 || w.SpillUp != 0 {
		if e.Spill, err = spillOf(w); err != nil {
			return err
		}
	}
	if len(w.Content) == 0 && len(w.Lengths) == 0 {
		return nil
	}
	if e.Content, err = d.content(e, w); err != nil {
		return err
	}
	return nil
}

func oneID(b []byte) (chunk.ID, error) {
	if len(b) != chunk.IDSize || chunk.ID(b) == (chunk.ID{}) {
		return chunk.ID{}, damaged("the id of a listing is zero or has %d bytes", len(b))
	}
	return chunk.ID(b), nil
}

func spillOf(w *wireEntry) (Spill, error) {
	if len(w.Spill) == 0 {
		return Spill{}, damaged("a spill without pieces")
	}
	ids, err := splitIDs(w.Spill)
	return Spill{Level: w.SpillUp, IDs: ids}, err
}

// content decodes the references of a file. The length of a single chunk is
// not written, because it follows from the size.
func (d *entryDecoder) content(e *Entry, w *wireEntry) ([]Ref, error) {
	if len(w.Content) != chunk.IDSize {
		if len(w.Lengths) == 1 {
			return nil, damaged("the length of a single chunk should be left out")
		}
		return splitRefs(w.Content, w.Lengths, &d.refs)
	}
	if len(w.Lengths) != 0 {
		return nil, damaged("the length of a single chunk should be left out")
	}
	n, err := dataSize(e.Size, e.Holes)
	if err != nil || n <= 0 || n > math.MaxUint32 {
		return nil, damaged("one chunk cannot hold what size and holes say")
	}
	return splitRefs(w.Content, []uint32{uint32(n)}, &d.refs)
}

// splitRefs takes the space for the references from slab while that lasts.
func splitRefs(ids []byte, lengths []uint32, slab *[]Ref) ([]Ref, error) {
	n := len(lengths)
	if n == 0 || len(ids) != n*chunk.IDSize {
		return nil, damaged("%d bytes of chunk ids and %d lengths", len(ids), n)
	}
	if cap(*slab)-len(*slab) < n {
		*slab = make([]Ref, 0, max(n, 64))
	}
	at := len(*slab)
	*slab = (*slab)[:at+n]
	refs := (*slab)[at : at+n : at+n]
	for i := range refs {
		if lengths[i] == 0 {
			return nil, damaged("a chunk of content is empty")
		}
		refs[i] = Ref{ID: chunk.ID(ids[i*chunk.IDSize:][:chunk.IDSize]), Length: lengths[i]}
	}
	return refs, nil
}

// intern returns the last string again if it is the same one.
func intern(last *string, s string) string {
	if *last != s {
		*last = s
	}
	return *last
}

// appendHoles writes each hole as its distance from the end of the last one and
// its length.
func appendHoles(b []byte, holes []Extent) []byte {
	end := int64(0)
	for _, h := range holes {
		b = binary.AppendUvarint(b, uint64(h.Offset-end))
		b = binary.AppendUvarint(b, uint64(h.Length))
		end = h.Offset + h.Length
	}
	return b
}

func splitHoles(b []byte) ([]Extent, error) {
	var holes []Extent
	end := int64(0)
	for len(b) > 0 {
		gap, n, err := takeVarint(b)
		if err != nil {
			return nil, err
		}
		length, m, err := takeVarint(b[n:])
		if err != nil {
			return nil, err
		}
		if length == 0 || gap > math.MaxInt64-end || length > math.MaxInt64-end-gap {
			return nil, damaged("a hole is empty or out of range")
		}
		holes = append(holes, Extent{Offset: end + gap, Length: length})
		end += gap + length
		b = b[n+m:]
	}
	return holes, nil
}

// takeVarint reads an unsigned LEB128 number in its shortest form.
func takeVarint(b []byte) (int64, int, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > math.MaxInt64 || (n > 1 && b[n-1] == 0) {
		return 0, 0, fmt.Errorf("%w: %w", ErrDamaged, errVarint)
	}
	return int64(v), n, nil
}

var errVarint = errors.New("a number in a hole map is cut short, too large or not in its shortest form")
