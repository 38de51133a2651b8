// Package buckettest holds what tests of buckets share: the conformance suite
// that every backend and every wrapper passes, a fault injector and a trace.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/bucket"
)

// Run checks every sentence of the contract of bucket.Bucket, and of
// bucket.Holder where the bucket is one. Make is called for every check and
// gives an empty bucket.
func Run(t *testing.T, make func(t *testing.T) bucket.Bucket) {
	checks := []struct {
		name  string
		check func(t *testing.T, b bucket.Bucket)
	}{
		{"Put", checkPut},
		{"PutTaken", checkPutTaken},
		{"PutBadName", checkPutBadName},
		{"PutShortBody", checkPutShortBody},
		{"PutAgain", checkPutAgain},
		{"PutOnceRace", checkPutOnceRace},
		{"GetMissing", checkGetMissing},
		{"GetRange", checkGetRange},
		{"GetBeyond", checkGetBeyond},
		{"GetTogether", checkGetTogether},
		{"ListOrder", checkListOrder},
		{"ListPrefixAfter", checkListPrefixAfter},
		{"ListNothing", checkListNothing},
		{"ListStop", checkListStop},
		{"ListSizes", checkListSizes},
		{"ListWhileDeleting", checkListWhileDeleting},
		{"Delete", checkDelete},
		{"Cancelled", checkCancelled},
		{"Settle", checkSettle},
		{"Held", checkHeld},
		{"HeldTaken", checkHeldTaken},
		{"HeldMissing", checkHeldMissing},
		{"HeldRace", checkHeldRace},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.check(t, make(t)) })
	}
}

// put puts or ends the test.
func put(t *testing.T, b bucket.Bucket, name string, data string) {
	t.Helper()
	if err := b.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, b bucket.Bucket, name string, off, n int64) (string, error) {
	t.Helper()
	data, err := Read(t.Context(), b, name, off, n)
	return string(data), err
}

// Read gets a range and reads it to its end.
func Read(ctx context.Context, b bucket.Bucket, name string, off, n int64) ([]byte, error) {
	r, err := b.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// Names lists names to the end or the first error.
func Names(ctx context.Context, b bucket.Bucket, prefix, after string) ([]string, error) {
	var names []string
	for info, err := range b.List(ctx, prefix, after) {
		if err != nil {
			return names, err
		}
		names = append(names, info.Name)
	}
	return names, nil
}

func wantNames(t *testing.T, b bucket.Bucket, prefix, after string, want ...string) {
	t.Helper()
	got, err := Names(t.Context(), b, prefix, after)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List(%q, %q):\n got %q\nwant %q", prefix, after, got, want)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want one that is %v", what, err, want)
	}
}

func checkPut(t *testing.T, b bucket.Bucket) {
	big := strings.Repeat("0123456789abcdef", 200_000)
	for name, data := range map[string]string{"a": "x", "dir/sub.d/empty": "", "dir/big-_.9": big, "...": "dots"} {
		put(t, b, name, data)
		got, err := read(t, b, name, 0, -1)
		if err != nil || got != data {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(data))
		}
	}
}

func checkPutTaken(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/taken", "first")
	for _, second := range []string{"second", "first", ""} {
		err := b.Put(t.Context(), "d/taken", strings.NewReader(second), int64(len(second)))
		wantError(t, "second put", err, fs.ErrExist)
	}
	if got, err := read(t, b, "d/taken", 0, -1); got != "first" || err != nil {
		t.Errorf("after the second put: %q, %v", got, err)
	}
}

func checkPutBadName(t *testing.T, b bucket.Bucket) {
	bad := []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "A", "a b", "ä", "a\x00", "a\\b", "a:b"}
	for _, name := range bad {
		if err := b.Put(t.Context(), name, strings.NewReader("x"), 1); err == nil {
			t.Errorf("put %q succeeded", name)
		}
	}
	wantNames(t, b, "", "")
}

func checkPutShortBody(t *testing.T, b bucket.Bucket) {
	err := b.Put(t.Context(), "d/short", strings.NewReader("abc"), 4)
	if err == nil {
		t.Error("put of a body that ends early succeeded")
	}
	broken := errors.New("broken body")
	err = b.Put(t.Context(), "d/broken", &brokenBody{bytes.NewReader([]byte("abc")), broken}, 4)
	if err == nil {
		t.Error("put of a broken body succeeded")
	}
	wantNames(t, b, "", "")
}

// brokenBody fails where it should end.
type brokenBody struct {
	r   *bytes.Reader
	err error
}

func (b *brokenBody) Seek(off int64, whence int) (int64, error) { return b.r.Seek(off, whence) }

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// checkPutAgain has a body that has been read to its end already, as a retry
// finds it.
func checkPutAgain(t *testing.T, b bucket.Bucket) {
	body := bytes.NewReader([]byte("again"))
	for _, name := range []string{"d/1", "d/2"} {
		if err := b.Put(t.Context(), name, struct{ io.ReadSeeker }{body}, 5); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t, b, name, 0, -1); got != "again" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func checkPutOnceRace(t *testing.T, b bucket.Bucket) {
	const writers = 16
	for round := range 4 {
		name := fmt.Sprintf("race/%d/register", round)
		var winner atomic.Int64
		winner.Store(-1)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				data := strings.Repeat(fmt.Sprintf("%02d", w), 1000)
				err := b.Put(t.Context(), name, strings.NewReader(data), int64(len(data)))
				if err == nil && !winner.CompareAndSwap(-1, int64(w)) {
					t.Error("two writers won")
				}
				if err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
				if got, err := read(t, b, name, 0, -1); err != nil || len(got) != 2000 {
					t.Errorf("a loser or winner sees %d bytes, %v", len(got), err)
				}
			})
		}
		all.Wait()
		want := strings.Repeat(fmt.Sprintf("%02d", winner.Load()), 1000)
		if got, err := read(t, b, name, 0, -1); err != nil || got != want {
			t.Errorf("round %d: winner %d has not written what is there (%v)", round, winner.Load(), err)
		}
	}
}

// eventually waits a while for what may take effect late.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not so after 5 s: " + what)
		}
	}
}

func checkDelete(t *testing.T, b bucket.Bucket) {
	for _, name := range []string{"d/1", "d/2", "e/3"} {
		put(t, b, name, name)
	}
	for range 2 {
		if err := b.Delete(t.Context(), "d/1", "e/3", "d/never", "f/never/was"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Error("delete of nothing:", err)
	}
	eventually(t, "deleted objects are gone", func() bool {
		_, err1 := read(t, b, "d/1", 0, -1)
		_, err3 := read(t, b, "e/3", 0, -1)
		return errors.Is(err1, fs.ErrNotExist) && errors.Is(err3, fs.ErrNotExist)
	})
	wantNames(t, b, "", "", "d/2")
}

func checkCancelled(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/there", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, "put", b.Put(ctx, "d/new", strings.NewReader("x"), 1), context.Canceled)
	_, err := Read(ctx, b, "d/there", 0, -1)
	wantError(t, "get", err, context.Canceled)
	wantError(t, "delete", b.Delete(ctx, "d/there"), context.Canceled)
	_, err = Names(ctx, b, "", "")
	wantError(t, "list", err, context.Canceled)
	_, err = Names(ctx, b, "nothing/", "")
	wantError(t, "list of nothing", err, context.Canceled)
	wantNames(t, b, "", "", "d/there")
}

func checkSettle(t *testing.T, b bucket.Bucket) {
	put(t, b, "d/e/there", "x")
	if err := bucket.Settle(t.Context(), b, "d/e/there", "d/never", "never/was", "top"); err != nil {
		t.Error(err)
	}
}
