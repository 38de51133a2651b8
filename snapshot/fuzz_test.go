package snapshot

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

func FuzzEntry(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		b, err := EncodeEntry(randomEntry(r, "name"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		again, err := EncodeEntry(e)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x decodes, but encodes as %x, %v", data, again, err)
		}
	})
}

// FuzzTreeChunk feeds all that reads tree chunks.
func FuzzTreeChunk(f *testing.F) {
	var m snapshottest.Mem
	save := func(entries ...*Entry) {
		l := NewListing(&m)
		for _, e := range entries {
			if err := l.Add(context.Background(), e); err != nil {
				f.Fatal(err)
			}
		}
		if _, _, err := l.Close(context.Background()); err != nil {
			f.Fatal(err)
		}
	}
	save(goldenEntries()...)
	save(bigEntry(1000, 5, 3))
	for key := range m.Keys() {
		data, _ := m.Load(context.Background(), key.Kind, key.ID)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodePage(data); err == nil {
			checkPageAgain(t, p, data)
		}
		if _, err := decodePiece(data); err == nil {
			checkPieceAgain(t, data)
		}
		_, _ = decodePieceList(data)
		_, _, _ = PageRefs(data)
		var m snapshottest.Mem
		m.Set(chunk.Tree, chunk.ID{}, data)
		e := &Entry{Name: "x", Type: File, Size: 5, Spill: Spill{IDs: []chunk.ID{{}}}}
		_ = Fill(context.Background(), &m, e)
	})
}

func checkPageAgain(t *testing.T, p *page, data []byte) {
	t.Helper()
	n := len(p.entries) + len(p.children)
	b := bytes.NewBuffer(appendHead(header(kindListing, p.level), majorArray, uint64(n)))
	for i := range p.entries {
		if err := encodeEntry(b, &p.entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range p.children {
		item, err := marshal(wireChild{Last: c.last, ID: c.id[:]})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(item)
	}
	if !bytes.Equal(b.Bytes(), data) {
		t.Fatalf("page %x is encoded as %x", data, b.Bytes())
	}
}

func checkPieceAgain(t *testing.T, data []byte) {
	t.Helper()
	p, err := decodePiece(data)
	if err != nil {
		t.Fatal(err)
	}
	w := wirePiece{Holes: appendHoles(nil, p.Holes), Xattrs: p.Xattrs}
	w.Content, w.Lengths = joinRefs(p.Content)
	b, err := marshal(&w)
	if err != nil || !bytes.Equal(append(header(kindBulk, 0), b...), data) {
		t.Fatalf("piece %x is encoded as %x, %v", data, b, err)
	}
}

func FuzzManifest(f *testing.F) {
	b, err := EncodeManifest(fullManifest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeManifest(data)
		if err != nil {
			return
		}
		again, err := EncodeManifest(&m)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x decodes, but encodes as %x, %v", data, again, err)
		}
	})
}

// FuzzSelect looks for panics in what people type.
func FuzzSelect(f *testing.F) {
	for _, s := range []string{"latest~1", "2026-11-20T10:00:/a", "abcd", "latest:/..", "2026-11-20T10:00:00.5+01:00"} {
		f.Add(s)
	}
	all := []Snapshot{{ID: "abcd1234"}, {ID: "abcd5678"}}
	f.Fuzz(func(t *testing.T, arg string) {
		if _, p, err := Select(all, arg, Filter{}); err == nil && p[0] != '/' {
			t.Fatalf("path %q", p)
		}
	})
}
