package buckettest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer/bucket"
)

func checkGetMissing(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/there", "x")
	for _, name := range []string{"missing", "d/missing", "e/f/missing", "d", "d/there/below"} {
		_, err := read(t, b, name, 0, -1)
		wantError(t, "get "+name, err, fs.ErrNotExist)
	}
}

func checkGetRange(t *testing.T, b bucket.Bucket) {
	const data = "0123456789"
	put(t, b, "d/digits", data)
	for off := int64(0); off <= 10; off++ {
		for n := int64(-1); off+n <= 10; n++ {
			want := data[off:]
			if n >= 0 {
				want = data[off : off+n]
			}
			if got, err := read(t, b, "d/digits", off, n); got != want || err != nil {
				t.Errorf("Get(%d, %d) = %q, %v, want %q", off, n, got, err, want)
			}
		}
	}
}

func checkGetBeyond(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/digits", "0123456789")
	put(t, b, "d/empty", "")
	for _, r := range [][2]int64{{0, 11}, {5, 6}, {10, 1}, {11, 1}, {11, -1}, {100, 5}, {9, 1<<63 - 1}} {
		_, err := read(t, b, "d/digits", r[0], r[1])
		wantError(t, fmt.Sprint("get of range ", r), err, io.ErrUnexpectedEOF)
	}
	_, err := read(t, b, "d/empty", 0, 1)
	wantError(t, "get of the first byte of none", err, io.ErrUnexpectedEOF)
	if _, err := read(t, b, "d/digits", -1, 1); err == nil {
		t.Error("get before the beginning succeeded")
	}
}

// checkGetTogether reads one object in many places at the same time.
func checkGetTogether(t *testing.T, b bucket.Bucket) {
	var data strings.Builder
	for i := range 4096 {
		fmt.Fprintf(&data, "%04x", i)
	}
	put(t, b, "d/together", data.String())
	var all sync.WaitGroup
	for i := range int64(8) {
		all.Go(func() {
			for off := i * 4; off < 16384; off += 1024 {
				got, err := read(t, b, "d/together", off, 4)
				if want := fmt.Sprintf("%04x", off/4); got != want || err != nil {
					t.Errorf("at %d: %q, %v", off, got, err)
				}
			}
		})
	}
	all.Wait()
}

// tree has the cases in which the order of names and that of a walk differ:
// "-" and "." sort before "/", digits and letters after.
func tree() []string {
	return []string{
		"a-b", "a.b/x", "a/b/x", "a/b-c/d", "a/b.c", "a/c/d", "a/c/e/f", "a0", "a_b/z",
		"config", "packs/0/aa", "packs/0/ab", "packs/1/aa", "packs/10/aa", "packs/2/aa",
	}
}

func plant(t *testing.T, b bucket.Bucket) []string {
	t.Helper()
	names := tree()
	slices.Sort(names)
	for i := range names { // neither in order nor in reverse
		put(t, b, names[(i*7)%len(names)], "x")
	}
	return names
}

func checkListOrder(t *testing.T, b bucket.Bucket) {
	wantNames(t, b, "", "")
	names := plant(t, b)
	wantNames(t, b, "", "", names...)
}

func checkListPrefixAfter(t *testing.T, b bucket.Bucket) {
	names := plant(t, b)
	prefixes := []string{"", "a", "a/", "a/b", "a/b-", "a/c", "a/c/e/f", "pack", "packs/", "packs/1", "packs/1/", "packs/1/a", "config", "zzz", "A"}
	afters := append([]string{"", "a/", "a/b", "a/c/", "a/c0", "packs", "packs/1", "packs/1/zz", "packs/", "zzz", "a\x00"}, names...)
	for _, prefix := range prefixes {
		for _, after := range afters {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, prefix) && name > after {
					want = append(want, name)
				}
			}
			wantNames(t, b, prefix, after, want...)
		}
	}
}

func checkListNothing(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/there", "x")
	for _, prefix := range []string{"e", "d/there/", "d/there/more", "/", "d//"} {
		wantNames(t, b, prefix, "")
	}
}

func checkListStop(t *testing.T, b bucket.Bucket) {
	names := plant(t, b)
	for stop := range names {
		var got []string
		for info, err := range b.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Name)
			if len(got) > stop {
				break
			}
		}
		if !slices.Equal(got, names[:stop+1]) {
			t.Errorf("stopped at %d: %q", stop, got)
		}
	}
	list := b.List(t.Context(), "a", "") // one sequence, twice
	for range 2 {
		n := 0
		for _, err := range list {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n == 0 {
			t.Error("a listing cannot be ranged over again")
		}
	}
}

func checkListSizes(t *testing.T, b bucket.Bucket) {
	sizes := map[string]int64{"s/0": 0, "s/1": 1, "s/big": 300_000}
	for name, size := range sizes {
		put(t, b, name, strings.Repeat("x", int(size)))
	}
	for info, err := range b.List(t.Context(), "s/", "") {
		if err != nil || info.Size != sizes[info.Name] {
			t.Errorf("%s: size %d, %v, want %d", info.Name, info.Size, err, sizes[info.Name])
		}
	}
}

// checkListWhileDeleting: what is deleted meanwhile may be there or not; the
// rest has to be, and it is no error.
func checkListWhileDeleting(t *testing.T, b bucket.Bucket) {
	for i := range 40 {
		put(t, b, fmt.Sprintf("d/%d/%02d", i%4, i), "x")
	}
	var seen []string
	for info, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, info.Name)
		if len(seen) > 10 {
			continue
		}
		if err := b.Delete(t.Context(), fmt.Sprintf("d/3/%02d", 4*len(seen)-1), info.Name); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.IsSorted(seen) || len(seen) < 30 || len(seen) > 40 {
		t.Errorf("%d names: %q", len(seen), seen)
	}
}

func holder(t *testing.T, b bucket.Bucket) bucket.Holder {
	t.Helper()
	h, ok := bucket.As[bucket.Holder](b)
	if !ok {
		t.Skip("not a Holder")
	}
	return h
}

func wantHeld(t *testing.T, h bucket.Holder, name string, want bool) {
	t.Helper()
	held, err := h.Held(t.Context(), name)
	if err != nil || held != want {
		t.Errorf("Held(%s) = %v, %v, want %v", name, held, err, want)
	}
}

func checkHeld(t *testing.T, b bucket.Bucket) {
	h := holder(t, b)
	release, err := h.PutHeld(t.Context(), "sessions/0/s", []byte("intent"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := h.PutHeld(t.Context(), "sessions/0/other", nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "sessions/0/plain", "x")
	if got, err := read(t, b, "sessions/0/s", 0, -1); got != "intent" || err != nil {
		t.Errorf("a held object reads %q, %v", got, err)
	}
	wantHeld(t, h, "sessions/0/s", true)
	wantHeld(t, h, "sessions/0/s", true)
	wantHeld(t, h, "sessions/0/plain", false)
	for range 2 {
		if err := release(); err != nil {
			t.Error("release:", err)
		}
		wantHeld(t, h, "sessions/0/s", false)
	}
	wantHeld(t, h, "sessions/0/other", true)
	if err := other(); err != nil {
		t.Error(err)
	}
	wantNames(t, b, "", "", "sessions/0/other", "sessions/0/plain", "sessions/0/s")
}

func checkHeldTaken(t *testing.T, b bucket.Bucket) {
	h := holder(t, b)
	put(t, b, "s/plain", "x")
	_, err := h.PutHeld(t.Context(), "s/plain", []byte("y"))
	wantError(t, "PutHeld", err, fs.ErrExist)
	wantHeld(t, h, "s/plain", false)
	release, err := h.PutHeld(t.Context(), "s/held", []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.PutHeld(t.Context(), "s/held", []byte("z"))
	wantError(t, "PutHeld", err, fs.ErrExist)
	wantHeld(t, h, "s/held", true)
	if err := release(); err != nil {
		t.Error(err)
	}
}

func checkHeldMissing(t *testing.T, b bucket.Bucket) {
	h := holder(t, b)
	_, err := h.Held(t.Context(), "s/missing")
	wantError(t, "Held", err, fs.ErrNotExist)
}

// checkHeldRace looks all the time for an object that appears without a hold.
func checkHeldRace(t *testing.T, b bucket.Bucket) {
	h := holder(t, b)
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for i := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				held, err := h.Held(t.Context(), fmt.Sprint("s/", i))
				switch {
				case err == nil && !held:
					t.Error("an object can be seen without its hold")
					return
				case err == nil && i < 19:
					i++
				case err != nil && !errors.Is(err, fs.ErrNotExist):
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		release, err := h.PutHeld(t.Context(), fmt.Sprint("s/", i), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := release(); err != nil {
				t.Error(err)
			}
		}()
	}
	close(done)
	all.Wait()
}
