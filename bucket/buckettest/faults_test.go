package buckettest_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
)

func TestConformance(t *testing.T) {
	t.Run("Faults", func(t *testing.T) {
		buckettest.Run(t, func(*testing.T) bucket.Bucket { return buckettest.NewFaults().Wrap(mem.New()) })
	})
	t.Run("Trace", func(t *testing.T) {
		buckettest.Run(t, func(*testing.T) bucket.Bucket { return new(buckettest.Trace).Wrap(mem.New()) })
	})
}

const data = "0123456789"

func put(t *testing.T, b bucket.Bucket, name string) error {
	t.Helper()
	return b.Put(t.Context(), name, strings.NewReader(data), int64(len(data)))
}

func get(t *testing.T, b bucket.Bucket, name string) (string, error) {
	t.Helper()
	got, err := buckettest.Read(t.Context(), b, name, 0, -1)
	return string(got), err
}

func TestPutFaults(t *testing.T) {
	mine := errors.New("500")
	for _, c := range []struct {
		fault buckettest.Fault
		err   error
		there string // "" for absent
	}{
		{buckettest.FailBefore, mine, ""},
		{buckettest.FailAfter, mine, data},
		{buckettest.Absent, nil, ""},
		{buckettest.Short, nil, "01234"},
		{buckettest.Flip, nil, "0123446789"},
		{buckettest.CrashBefore, buckettest.ErrCrashed, ""},
		{buckettest.CrashAfter, buckettest.ErrCrashed, data},
	} {
		inner := mem.New()
		f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Call: 1, Fault: c.fault, Err: mine})
		b := f.Wrap(inner)
		if err := put(t, b, "good"); err != nil {
			t.Errorf("fault %d: the call before: %v", c.fault, err)
		}
		if err := put(t, b, "bad"); !errors.Is(err, c.err) {
			t.Errorf("fault %d: put: %v", c.fault, err)
		}
		got, err := get(t, inner, "bad")
		if got != c.there || errors.Is(err, fs.ErrNotExist) != (c.there == "") {
			t.Errorf("fault %d: there is %q, %v", c.fault, got, err)
		}
		crashed := errors.Is(c.err, buckettest.ErrCrashed)
		if err := put(t, b, "next"); (err != nil) != crashed {
			t.Errorf("fault %d: the call after: %v", c.fault, err)
		}
		if f.Fired() != 1 {
			t.Errorf("fault %d fired %d times", c.fault, f.Fired())
		}
	}
}

func TestGetFaults(t *testing.T) {
	inner := mem.New()
	if err := put(t, inner, "a"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fault buckettest.Fault
		err   error
		got   string
	}{
		{buckettest.FailBefore, buckettest.ErrInjected, ""},
		{buckettest.FailAfter, buckettest.ErrInjected, "01234"},
		{buckettest.Absent, fs.ErrNotExist, ""},
		{buckettest.Short, nil, "01234"},
		{buckettest.Flip, nil, "0123446789"},
		{buckettest.CrashBefore, buckettest.ErrCrashed, ""},
		{buckettest.CrashAfter, buckettest.ErrCrashed, "01234"},
	} {
		b := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Get, Fault: c.fault}).Wrap(inner)
		if got, err := get(t, b, "a"); got != c.got || !errors.Is(err, c.err) {
			t.Errorf("fault %d: %q, %v", c.fault, got, err)
		}
	}
	if got, err := get(t, inner, "a"); got != data || err != nil {
		t.Errorf("the object itself has changed: %q, %v", got, err)
	}
}

func TestListFaults(t *testing.T) {
	inner := mem.New()
	for _, name := range []string{"x/1", "x/2", "x/3", "y"} {
		if err := put(t, inner, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		fault buckettest.Fault
		err   error
		got   string
	}{
		{buckettest.FailBefore, buckettest.ErrInjected, ""},
		{buckettest.FailAfter, buckettest.ErrInjected, "x/1 x/2 x/3"},
		{buckettest.Absent, nil, ""},
		{buckettest.Short, nil, "x/1 x/3"},
		{buckettest.CrashBefore, buckettest.ErrCrashed, ""},
	} {
		b := buckettest.NewFaults(buckettest.Rule{Prefix: "x/", Call: 0, Times: -1, Fault: c.fault}).Wrap(inner)
		if names, err := buckettest.Names(t.Context(), b, "y", ""); len(names) != 1 || err != nil {
			t.Errorf("fault %d hit another prefix: %q, %v", c.fault, names, err)
		}
		names, err := buckettest.Names(t.Context(), b, "x/", "")
		if got := strings.Join(names, " "); got != c.got || !errors.Is(err, c.err) {
			t.Errorf("fault %d: %q, %v", c.fault, got, err)
		}
	}
}

func TestCrashEndsHolds(t *testing.T) {
	inner := mem.New()
	f := buckettest.NewFaults()
	h, _ := bucket.As[bucket.Holder](f.Wrap(inner))
	release, err := h.PutHeld(t.Context(), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := inner.Held(t.Context(), "s"); !held || err != nil {
		t.Fatalf("Held = %v, %v", held, err)
	}
	if err := f.Crash(); err != nil {
		t.Fatal(err)
	}
	if held, err := inner.Held(t.Context(), "s"); held || err != nil {
		t.Errorf("after the crash: Held = %v, %v", held, err)
	}
	if _, err := h.Held(t.Context(), "s"); !errors.Is(err, buckettest.ErrCrashed) {
		t.Errorf("a call after the crash: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

func TestTrace(t *testing.T) {
	var tr buckettest.Trace
	b := tr.Wrap(mem.New())
	if err := put(t, b, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, b, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, b, "missing"); err == nil {
		t.Fatal("no error")
	}
	if _, err := buckettest.Names(t.Context(), b, "", ""); err != nil {
		t.Fatal(err)
	}
	calls := tr.Calls()
	if len(calls) != 4 || tr.Count() != 4 || tr.Count(buckettest.Get) != 2 ||
		tr.Bytes(buckettest.Put) != 10 || tr.Bytes(buckettest.Get) != 10 ||
		!errors.Is(calls[2].Err, fs.ErrNotExist) || calls[3].Items != 1 {
		t.Errorf("%+v", calls)
	}
}
