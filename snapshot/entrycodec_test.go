package snapshot

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

// randomEntry makes an entry of any kind that is valid.
func randomEntry(r *rand.Rand, name string) *Entry {
	e := &Entry{
		Name: name, Type: Type(1 + r.IntN(7)), Mode: r.Uint32N(0o10000), UID: r.Uint32(), GID: r.Uint32N(70000),
		User: []string{"", "alice", "b\xffb"}[r.IntN(3)], Group: []string{"", "users"}[r.IntN(2)],
		MTime: randomTime(r), CTime: randomTime(r), Inode: r.Uint64(), FS: r.Uint32N(3), Links: r.Uint32N(3),
		Flags: r.Uint32N(2) * r.Uint32(),
	}
	if r.IntN(4) == 0 {
		e.LinkGroup = LinkGroup(fmt.Sprintf("0.%d", e.Inode))
	}
	for i := range r.IntN(3) {
		e.Xattrs = append(e.Xattrs, Xattr{Name: fmt.Appendf(nil, "user.%d", i), Value: bytes.Repeat([]byte{1}, r.IntN(40))})
	}
	switch e.Type {
	case File:
		randomContent(r, e, r.IntN(4), r.IntN(3))
	case Dir:
		e.Tree = randomID(r)
		e.Items, e.Files, e.Size = r.Uint64(), r.Uint64N(5), r.Int64()
	case Symlink:
		e.Target = "../\xfe/target"
		e.Size = int64(len(e.Target))
	case Block, Char:
		e.Major, e.Minor = r.Uint32(), r.Uint32()
	}
	return e
}

func randomTime(r *rand.Rand) Time {
	sec := []int64{0, -1, 1764000000, 1 << 40, math.MinInt64, math.MaxInt64, r.Int64()}
	return Time{Sec: sec[r.IntN(len(sec))], Nsec: []uint32{0, 1, 999999999}[r.IntN(3)]}
}

func randomID(r *rand.Rand) (id chunk.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// randomContent gives a file chunks and holes, and the size that they make.
func randomContent(r *rand.Rand, e *Entry, refs, holes int) {
	for range refs {
		ref := Ref{ID: randomID(r), Length: 1 + r.Uint32N(1<<22)}
		e.Content = append(e.Content, ref)
		e.Size += int64(ref.Length)
	}
	at := int64(0)
	for range holes {
		gap := min(int64(4096*r.IntN(2)), e.Size-at)
		h := Extent{Offset: at + gap, Length: 4096 * (1 + r.Int64N(1000))}
		e.Holes = append(e.Holes, h)
		e.Size += h.Length
		at = h.Offset + h.Length
	}
}

func TestEntryRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		e := randomEntry(r, fmt.Sprintf("n%d\xff\n", i))
		b, err := EncodeEntry(e)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		got, err := DecodeEntry(b)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %+v\nwant %+v", got, e)
		}
		if again, err := EncodeEntry(got); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, %v\nwant %x", again, err, b)
		}
	}
}

func TestEntryContradictions(t *testing.T) {
	good := func() *Entry {
		return &Entry{Name: "a", Type: File, Size: 5, Content: []Ref{{ID: chunk.ID{1}, Length: 5}}}
	}
	for name, breakIt := range map[string]func(*Entry){
		"empty name":     func(e *Entry) { e.Name = "" },
		"dot":            func(e *Entry) { e.Name = "." },
		"dot dot":        func(e *Entry) { e.Name = ".." },
		"slash":          func(e *Entry) { e.Name = "a/b" },
		"NUL":            func(e *Entry) { e.Name = "a\x00" },
		"long name":      func(e *Entry) { e.Name = strings.Repeat("a", maxName+1) },
		"no type":        func(e *Entry) { e.Type = 0 },
		"high type":      func(e *Entry) { e.Type = 8 },
		"mode":           func(e *Entry) { e.Mode = 0o10000 },
		"nsec":           func(e *Entry) { e.MTime.Nsec = 1e9 },
		"negative":       func(e *Entry) { e.Size = -1 },
		"too short":      func(e *Entry) { e.Size = 4 },
		"too long":       func(e *Entry) { e.Size = 6 },
		"empty chunk":    func(e *Entry) { e.Content = append(e.Content, Ref{}) },
		"hole beyond":    func(e *Entry) { e.Holes = []Extent{{Offset: 5, Length: 1}} },
		"hole overflow":  func(e *Entry) { e.Holes = []Extent{{Offset: 5, Length: math.MaxInt64}} },
		"hole empty":     func(e *Entry) { e.Holes = []Extent{{Offset: 5}} },
		"file as dir":    func(e *Entry) { e.Tree = chunk.ID{1} },
		"file as link":   func(e *Entry) { e.Target = "x" },
		"file as device": func(e *Entry) { e.Minor = 1 },
		"dir as file":    func(e *Entry) { e.Type = Dir },
		"xattr order":    func(e *Entry) { e.Xattrs = []Xattr{{Name: []byte("b")}, {Name: []byte("a")}} },
		"xattr twice":    func(e *Entry) { e.Xattrs = []Xattr{{Name: []byte("b")}, {Name: []byte("b")}} },
		"xattr unnamed":  func(e *Entry) { e.Xattrs = []Xattr{{}} },
		"both":           func(e *Entry) { e.Spill.IDs = []chunk.ID{{1}} },
	} {
		e := good()
		breakIt(e)
		if _, err := EncodeEntry(e); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	if _, err := EncodeEntry(good()); err != nil {
		t.Fatal(err)
	}
}

// TestEntryRefused has bytes that mean an entry, but are not the entry's bytes.
func TestEntryRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":           "",
		"not a map":         "00",
		"cut short":         "a20041",
		"more behind":       "a200416101194000" + "00",
		"long integer":      "a20041611801194000",
		"long length":       "a200580161" + "01194000",
		"indefinite":        "bf004161" + "01194000" + "ff",
		"keys descend":      "a20119400000" + "4161",
		"key twice":         "a300416101194000" + "01194000",
		"zero field":        "a30041610119400002" + "00",
		"empty field":       "a30041610119400004" + "40",
		"unknown field":     "a3004161011940001863" + "01",
		"text name":         "a200616101194000",
		"tag":               "a200c1416101194000",
		"float":             "a200416101f94000",
		"null":              "a300416101194000" + "02f6",
		"type 0":            "a200416101190fff",
		"type 8":            "a200416101198000",
		"negative mode":     "a20041610120",
		"spill up, no ids":  "a300416101191000" + "181a01",
		"half an id":        "a300416101191000" + "154101",
		"length of one":     "a5004161011910000a05" + "155820" + strings.Repeat("01", 32) + "16" + "8105",
		"varint not short":  "a4004161011910000a05" + "17" + "43808005",
		"varint cut":        "a4004161011910000a05" + "17" + "4180",
		"hole is empty":     "a4004161011910000a05" + "17" + "420000",
		"huge array":        "9affffffff",
		"nested":            strings.Repeat("81", 200) + "00",
		"tree id of zeroes": "a300416101192000" + "13" + "5820" + strings.Repeat("00", 32),
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, err := DecodeEntry(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
	if _, err := DecodeEntry([]byte("\xa2\x00\x41a\x01\x19\x40\x00")); err != nil {
		t.Errorf("the good one that these are made from: %v", err)
	}
}

// golden compares with bytes that must never change.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".hex")
	want, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && os.Getenv("COFFER_NEW_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got) != strings.TrimSpace(string(want)) {
		t.Errorf("%s: the format has changed:\ngot  %x\nwant %s", name, got, want)
	}
}

func goldenEntries() []*Entry {
	t := Time{Sec: 1795132800, Nsec: 123456789}
	return []*Entry{
		{Name: "a-dir", Type: Dir, Mode: 0o2755, UID: 1000, GID: 100, User: "alice", Group: "users", MTime: t, CTime: t,
			Size: 1234567, Inode: 99, Links: 3, Tree: chunk.ID{1, 2, 3}, Items: 17, Files: 12},
		{Name: "b-file", Type: File, Mode: 0o644, MTime: Time{Sec: -1, Nsec: 5}, Size: 10, Links: 1,
			Content: []Ref{{ID: chunk.ID{4}, Length: 10}}},
		{Name: "c-sparse", Type: File, Mode: 0o600, MTime: t, Size: 1<<40 + 30, FS: 1, Links: 2, LinkGroup: "1.77",
			Holes:   []Extent{{Offset: 5, Length: 1 << 39}, {Offset: 1<<39 + 300, Length: 1<<40 + 30 - (1<<39 + 320)}},
			Content: []Ref{{ID: chunk.ID{5}, Length: 300}, {ID: chunk.ID{6}, Length: 20}}},
		{Name: "d-link", Type: Symlink, Mode: 0o777, Target: "\xff/x", Size: 3,
			Xattrs: []Xattr{{Name: []byte("security.capability"), Value: []byte{1, 0}}, {Name: []byte("user.empty"), Value: []byte{}}}},
		{Name: "e-dev", Type: Block, Mode: 0o660, Major: 259, Minor: 1 << 20, Flags: 0x10},
		{Name: "f-spilled", Type: File, Size: 1 << 50, Spill: Spill{Level: 1, IDs: []chunk.ID{{7}, {8}}}},
	}
}

func TestGoldenPage(t *testing.T) {
	var m snapshottest.Mem
	l := NewListing(&m)
	for _, e := range goldenEntries() {
		if err := l.Add(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	id, _, err := l.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	page, err := m.Load(context.Background(), chunk.Tree, id)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "page", page)
	i := 0
	for e, err := range List(context.Background(), &m, id, "") {
		if err != nil || !reflect.DeepEqual(e, goldenEntries()[i]) {
			t.Errorf("entry %d: %+v, %v", i, e, err)
		}
		i++
	}
}

func TestGoldenBulk(t *testing.T) {
	ids := []chunk.ID{{1}, {2}}
	for name, p := range map[string]*wirePiece{
		"piece-xattrs":  {Xattrs: []Xattr{{Name: []byte("user.a"), Value: []byte("b")}}},
		"piece-holes":   {Holes: appendHoles(nil, []Extent{{Offset: 1, Length: 300}})},
		"piece-content": {Content: joinIDs(nil, ids), Lengths: []uint32{1, 70000}},
	} {
		b, err := marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(header(kindBulk, 0), b...))
	}
	child, err := marshal([]wireChild{{Last: "m", ID: ids[0][:]}, {Last: "z\xff", ID: ids[1][:]}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "branch", append(header(kindListing, 1), child...))
	list := joinIDs(appendHead(header(kindBulk, 1), majorBytes, 64), ids)
	golden(t, "list", list)
}
