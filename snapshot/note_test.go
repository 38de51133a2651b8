package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func someNotes() []Note {
	return []Note{
		{Snapshot: someID, Time: Time{Sec: 1795132800, Nsec: 5}, By: "root@web\xff", Add: []string{"a", "b"}, Remove: []string{"c"}},
		{Snapshot: otherID, Time: Time{Sec: -1}, Set: true},
		{ID: "old", Snapshot: otherID, Time: Time{Sec: 3}, Set: true, Add: []string{"x"}},
		{Kind: 77, Body: []byte("anything at all")},
	}
}

func mustEncodeNotes(t testing.TB, notes ...Note) []byte {
	t.Helper()
	b, err := EncodeNotes(notes...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNotesRoundTrip(t *testing.T) {
	b := mustEncodeNotes(t, someNotes()...)
	golden(t, "notes", b)
	got, err := DecodeNotes([]StoredNote{{ID: "new", Payload: b}})
	want := someNotes()
	for i := range want {
		if want[i].ID == "" {
			want[i].ID = "new"
		}
		if want[i].Kind == 0 {
			want[i].Kind = TagNote
		}
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for i := range b {
		if _, err := DecodeNotes([]StoredNote{{Payload: b[:i]}}); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, other := range [][]byte{append(bytes.Clone(b), 0), bytes.Replace(b, []byte{0x41, 'a'}, []byte{0x41, 'b'}, 1)} {
		if _, err := DecodeNotes([]StoredNote{{Payload: other}}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%x: %v", other, err)
		}
	}
}

func TestNotesBounds(t *testing.T) {
	for name, n := range map[string]Note{
		"no snapshot":   {Add: []string{"a"}},
		"no id":         {Snapshot: "abcd", Add: []string{"a"}},
		"nothing":       {Snapshot: someID},
		"empty tag":     {Snapshot: someID, Add: []string{""}},
		"long tag":      {Snapshot: someID, Remove: []string{strings.Repeat("a", maxTag+1)}},
		"long writer":   {Snapshot: someID, Add: []string{"a"}, By: strings.Repeat("a", maxNoteBy+1)},
		"both":          {Snapshot: someID, Add: []string{"a", "b"}, Remove: []string{"b"}},
		"set, remove":   {Snapshot: someID, Set: true, Remove: []string{"b"}},
		"nanoseconds":   {Snapshot: someID, Set: true, Time: Time{Nsec: 1e9}},
		"very long id ": {Snapshot: someID, Set: true, ID: strings.Repeat("a", maxNoteID+1)},
	} {
		if _, err := EncodeNotes(n); err == nil {
			t.Errorf("%s is encoded", name)
		}
		body, err := marshal(&wireTags{Snapshot: n.Snapshot, Time: n.Time, By: n.By, Set: n.Set, Add: n.Add, Remove: n.Remove})
		if err != nil {
			t.Fatal(err)
		}
		b, err := marshal(&wireNotes{Version: 1, Notes: []wireNote{{Kind: 1, ID: n.ID, Body: body}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeNotes([]StoredNote{{ID: "it", Payload: b}}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "read note it") {
			t.Errorf("%s is decoded: %v", name, err)
		}
	}
	if _, err := EncodeNotes(); err == nil {
		t.Error("no notes are encoded")
	}
	unsorted := Note{Snapshot: someID, Add: []string{"b", "a", "b"}}
	got, err := DecodeNotes([]StoredNote{{Payload: mustEncodeNotes(t, unsorted)}})
	if err != nil || fmt.Sprint(got[0].Add) != "[a b]" || unsorted.Add[0] != "b" {
		t.Errorf("%v, %v, %v", got, err, unsorted)
	}
}

// future is a payload of a version that does not exist yet.
var future = []byte{0xa1, 1, 2}

func TestDecodeNotesGoesOn(t *testing.T) {
	good := mustEncodeNotes(t, someNotes()...)
	got, err := DecodeNotes([]StoredNote{{"a", good}, {"b", []byte("rot")}, {"c", future}, {"d", good}})
	if len(got) != 8 || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "read note b") || !strings.Contains(err.Error(), "use a newer coffer") {
		t.Errorf("%d notes, %v", len(got), err)
	}
}

// randomNotes makes stored notes in which times, IDs and tags collide often.
func randomNotes(r *rand.Rand, n int, from string) (stored []StoredNote) {
	tags := func() (list []string) {
		for _, t := range []string{"a", "b", "c"} {
			if r.IntN(3) == 0 {
				list = append(list, t)
			}
		}
		return list
	}
	for i := range n {
		var notes []Note
		for range 1 + r.IntN(3) {
			note := Note{Snapshot: fullID(fmt.Sprint(r.IntN(4))), Time: Time{Sec: r.Int64N(5)}, Add: tags(), Set: r.IntN(4) == 0}
			if !note.Set {
				note.Remove = slices.DeleteFunc(tags(), func(t string) bool { return slices.Contains(note.Add, t) })
			}
			if note.check() == nil {
				notes = append(notes, note)
			}
		}
		if len(notes) > 0 {
			b, _ := EncodeNotes(notes...) // they were checked
			stored = append(stored, StoredNote{ID: fmt.Sprintf("%s%d", from, i), Payload: b})
		}
	}
	return stored
}

// tagsOf returns what notes make of four snapshots.
func tagsOf(t *testing.T, stored []StoredNote) string {
	t.Helper()
	notes, err := DecodeNotes(stored)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	for i := range 4 {
		records = append(records, Record{ID: fullID(fmt.Sprint(i)), Payload: mustEncode(t, &Manifest{State: Complete, Tags: []string{"c", "b"}})})
	}
	all, err := Collect(records, notes)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range all {
		out = append(out, fmt.Sprint(s.Tags))
	}
	return strings.Join(out, " ")
}

func always(string) bool { return true }

// TestFoldNotes: folded notes mean the same, beside any others, beside what they
// stand for, and when they are folded again.
func TestFoldNotes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		a, b := randomNotes(r, r.IntN(12), "m"), randomNotes(r, r.IntN(6), []string{"l", "mb", "n"}[r.IntN(3)])
		payload, folded, err := FoldNotes(a, always)
		if err != nil || len(folded) != len(a) || (payload == nil) != (len(a) == 0) {
			t.Fatal(folded, err)
		}
		var short []StoredNote
		if payload != nil {
			short = []StoredNote{{ID: string(rune('a' + r.IntN(26))), Payload: payload}}
		}
		want := tagsOf(t, slices.Concat(a, b))
		for _, other := range [][]StoredNote{slices.Concat(short, b), slices.Concat(b, short), slices.Concat(a, short, b), slices.Concat(short, a, b)} {
			if got := tagsOf(t, other); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
		again, _, err := FoldNotes(slices.Concat(a, short), always)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("folded again: %x, want %x, %v", again, payload, err)
		}
	}
}

func TestFoldNotesKeepsLittle(t *testing.T) {
	var stored []StoredNote
	for i := range 1000 {
		n := Note{Snapshot: fullID(fmt.Sprint(i % 2)), Time: Time{Sec: int64(i)}, Add: []string{"a"}}
		if i/2%2 == 1 {
			n.Add, n.Remove = nil, n.Add
		}
		stored = append(stored, StoredNote{ID: fmt.Sprint(i), Payload: mustEncodeNotes(t, n)})
	}
	payload, folded, err := FoldNotes(stored, func(id string) bool { return id == fullID("1") })
	if err != nil || len(folded) != 1000 || len(payload) > 200 {
		t.Errorf("%d bytes for %d, %v", len(payload), len(folded), err)
	}
	notes, err := DecodeNotes([]StoredNote{{Payload: payload}})
	if err != nil || len(notes) != 1 || notes[0].Snapshot != fullID("1") || notes[0].ID != "999" || notes[0].Time.Sec != 999 {
		t.Errorf("%+v, %v", notes, err)
	}
	payload, folded, err = FoldNotes(stored, func(string) bool { return false })
	if payload != nil || len(folded) != 1000 || err != nil {
		t.Errorf("of snapshots that are gone %x is left, %v", payload, err)
	}
}

// TestFoldNotesUnknown: what this program does not know is not its to fold.
func TestFoldNotesUnknown(t *testing.T) {
	one := Note{Kind: 77, Body: []byte{0xff, 0}}
	stored := []StoredNote{
		{"a", mustEncodeNotes(t, one, Note{Kind: 5, Body: []byte("x")})},
		{"b", mustEncodeNotes(t, one)}, // the same words, said again
		{"c", []byte("rot")}, {"d", future},
	}
	payload, folded, err := FoldNotes(stored, func(string) bool { return false })
	if !slices.Equal(folded, []string{"a", "b"}) || err == nil || !strings.Contains(err.Error(), "read note c") || !strings.Contains(err.Error(), "read note d") {
		t.Errorf("%v, %v", folded, err)
	}
	want := []Note{{ID: "a", Kind: 5, Body: []byte("x")}, {ID: "a", Kind: 77, Body: one.Body}, {ID: "b", Kind: 77, Body: one.Body}}
	for range 3 { // also beside those that it stands for, after a crash
		got, err := DecodeNotes([]StoredNote{{"new", payload}})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v", got, err)
		}
		if payload, _, err = FoldNotes(append(stored[:2:2], StoredNote{"new", payload}), always); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFoldNotesTooMany: what does not fit into one object is folded in part.
func TestFoldNotesTooMany(t *testing.T) {
	var stored []StoredNote
	body := bytes.Repeat([]byte{1}, 3<<20)
	for i := range 9 {
		stored = append(stored, StoredNote{ID: fmt.Sprint(i), Payload: mustEncodeNotes(t, Note{Kind: 7, Body: body})})
	}
	payload, folded, err := FoldNotes(stored, always)
	if err != nil || fmt.Sprint(folded) != "[0 1 2 3]" || len(payload) < 12<<20 {
		t.Errorf("%d bytes for %v, %v", len(payload), folded, err)
	}
}

func FuzzNotes(f *testing.F) {
	f.Add(mustEncodeNotes(f, someNotes()...))
	f.Add(future)
	f.Fuzz(func(t *testing.T, data []byte) {
		stored := []StoredNote{{ID: "x", Payload: data}}
		if _, err := DecodeNotes(stored); err != nil {
			return
		}
		payload, _, err := FoldNotes(stored, always)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeNotes([]StoredNote{{ID: "y", Payload: payload}}); payload != nil && err != nil {
			t.Fatal(err)
		}
	})
}
