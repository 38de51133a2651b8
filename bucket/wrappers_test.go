package bucket_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
)

func TestCountedConformance(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket {
		return bucket.Counted(mem.New(), new(bucket.Counter))
	})
}

func TestCounted(t *testing.T) {
	var c bucket.Counter
	b := bucket.Counted(mem.New(), &c)
	h, ok := bucket.As[bucket.Holder](b)
	if !ok {
		t.Fatal("the Holder is lost")
	}
	if err := b.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PutHeld(t.Context(), "b", []byte("xyz")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Held(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "a", strings.NewReader("0"), 1); err == nil {
		t.Fatal("put over a taken name")
	}
	if _, err := buckettest.Read(t.Context(), b, "a", 2, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := buckettest.Names(t.Context(), b, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	want := bucket.Counts{Puts: 3, Gets: 1, Lists: 1, Deletes: 1, Probes: 1, Sent: 13, Got: 5, Listed: 2, Deleted: 3}
	if got := c.Counts(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadOnly(t *testing.T) {
	inner := mem.New()
	if _, err := inner.PutHeld(t.Context(), "d/held", []byte("x")); err != nil {
		t.Fatal(err)
	}
	b := bucket.ReadOnly(inner)
	h, ok := bucket.As[bucket.Holder](b)
	if !ok {
		t.Fatal("the Holder is lost")
	}
	_, putHeld := h.PutHeld(t.Context(), "d/other", nil)
	for what, err := range map[string]error{
		"put":      b.Put(t.Context(), "d/new", strings.NewReader(""), 0),
		"put held": putHeld,
		"delete":   b.Delete(t.Context(), "d/held"),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if held, err := h.Held(t.Context(), "d/held"); !held || err != nil {
		t.Errorf("Held = %v, %v", held, err)
	}
	if got, err := buckettest.Read(t.Context(), b, "d/held", 0, -1); string(got) != "x" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
	if got, err := buckettest.Names(t.Context(), b, "", ""); len(got) != 1 || err != nil {
		t.Errorf("List = %q, %v", got, err)
	}
	if _, ok := bucket.As[*mem.Bucket](b); ok {
		t.Error("the writable bucket can be reached")
	}
}

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"", "a", "a/b", ".", "..", "a/../b", "...", "/a", "a/", "A", "a\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		want := fs.ValidPath(name) && name != "." && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == ""
		for _, c := range []byte(name) {
			want = want && strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789._-/", c) >= 0
		}
		if got := bucket.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	})
}
