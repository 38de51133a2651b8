package snapshot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"coffer/chunk"
	"coffer/snapshot/snapshottest"
)

func TestFS(t *testing.T) {
	var m snapshottest.Mem
	root := tree(t, &m, "home/a/x.txt=hello world", "home/a/y=", "home/b/", "link->/home/a", "up/rel->../home/a/x.txt", "z=1")
	fsys := FS(t.Context(), &m, root)
	if err := fstest.TestFS(fsys, "home/a/x.txt", "home/a/y", "home/b", "link", "up/rel", "z"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"link/x.txt": "hello world", "up/rel": "hello world", "link/../b/../../z": ""} {
		b, err := fs.ReadFile(fsys, name)
		if want == "" && !errors.Is(err, fs.ErrInvalid) || want != "" && (err != nil || string(b) != want) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if err := fstest.TestFS(FS(t.Context(), &m, chunk.ID{})); err != nil {
		t.Errorf("empty: %v", err)
	}
}

func TestFSLinks(t *testing.T) {
	var m snapshottest.Mem
	root := tree(t, &m, "loop->loop", "a->b", "b->a", "gone->nowhere", "out->../../../z", "z=1", "\xff=2")
	fsys := FS(t.Context(), &m, root)
	for _, name := range []string{"loop", "a", "gone", "z/x"} {
		if _, err := fs.Stat(fsys, name); err == nil {
			t.Errorf("%s: found", name)
		}
	}
	if b, err := fs.ReadFile(fsys, "out"); err != nil || string(b) != "1" {
		t.Errorf("above the root is the root: %q, %v", b, err)
	}
	if b, err := fs.ReadFile(fsys, "\xff"); err != nil || string(b) != "2" {
		t.Errorf("a name that is not UTF-8: %q, %v", b, err)
	}
	if info, err := fs.Lstat(fsys, "loop"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Error(info, err)
	}
	if target, err := fs.ReadLink(fsys, "gone"); err != nil || target != "nowhere" {
		t.Error(target, err)
	}
}

// TestReaderHoles has chunks that reach over holes, and holes at both ends.
func TestReaderHoles(t *testing.T) {
	var m snapshottest.Mem
	r := rand.New(rand.NewPCG(9, 9))
	for range 50 {
		e := &Entry{Name: "f", Type: File}
		var data, want []byte
		for range r.IntN(5) {
			part := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, 1+r.IntN(50))
			id, _ := m.Save(t.Context(), chunk.Data, part)
			e.Content = append(e.Content, Ref{ID: id, Length: uint32(len(part))})
			data = append(data, part...)
		}
		for len(data) > 0 || r.IntN(2) == 0 {
			if r.IntN(2) == 0 {
				h := Extent{Offset: int64(len(want)), Length: 1 + r.Int64N(30)}
				e.Holes = append(e.Holes, h)
				want = append(want, make([]byte, h.Length)...)
			}
			n := r.IntN(len(data) + 1)
			want = append(want, data[:n]...)
			data = data[n:]
		}
		e.Size = int64(len(want))
		if err := iotest.TestReader(NewReader(t.Context(), &m, e), want); err != nil {
			t.Fatalf("%+v: %v", e.Holes, err)
		}
	}
}

func TestReaderLies(t *testing.T) {
	var m snapshottest.Mem
	id, _ := m.Save(t.Context(), chunk.Data, []byte("12345"))
	r := NewReader(t.Context(), &m, &Entry{Name: "f", Type: File, Size: 6, Content: []Ref{{ID: id, Length: 6}}})
	if _, err := io.ReadAll(r); !errors.Is(err, ErrDamaged) {
		t.Errorf("a chunk that is too short: %v", err)
	}
	r = NewReader(t.Context(), &m, &Entry{Name: "f", Type: File, Size: 6, Content: []Ref{{ID: chunk.ID{1}, Length: 6}}})
	if _, err := io.ReadAll(r); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `"f"`) {
		t.Errorf("a chunk that is not there: %v", err)
	}
}
