package chunk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

var errBroken = errors.New("broken")

// brokenAt is a file that cannot be read beyond some place.
type brokenAt struct {
	data []byte
	at   int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.at {
		return copy(p, b.data[off:]), nil
	}
	return copy(p, b.data[min(off, b.at):b.at]), errBroken
}

// A read error is returned as it is, after exactly the chunks that end before it.
func TestReadError(t *testing.T) {
	data := noise(8, 900_000)
	for _, p := range smallParams {
		all := reference(t, p, data)
		for _, at := range []int64{0, 1, int64(p.Min), block, 3*block + 7, 400_000, all[len(all)/2].off, all[len(all)/2].off - 1} {
			want := slices.Clone(all)
			for want[len(want)-1].off+want[len(want)-1].n > at {
				if want = want[:len(want)-1]; len(want) == 0 {
					break
				}
			}
			rec, recAt := &recorder{want: data}, &recorder{want: data}
			c := newCutter(p, 3)
			err := c.Cut(t.Context(), io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(errBroken)), rec.note)
			errAt := c.CutAt(t.Context(), brokenAt{data, at}, int64(len(data)), recAt.note)
			if err != errBroken || errAt != errBroken {
				t.Errorf("broken at %d: %v, %v", at, err, errAt)
			}
			if !slices.Equal(rec.spans, want) || !slices.Equal(recAt.sorted(), want) {
				t.Errorf("%+v broken at %d: %d and %d chunks, want %d", p, at, len(rec.spans), len(recAt.spans), len(want))
			}
		}
	}
}

// A file that shrank is cut at its real end; one that grew, at the size given.
func TestCutAtSize(t *testing.T) {
	data := noise(9, 700_000)
	for _, p := range smallParams {
		c := newCutter(p, 3)
		for _, size := range []int64{0, 1, 64, 100_000, 699_999, 700_000, 700_001, 1 << 40} {
			have := data[:min(size, 700_000)]
			rec := &recorder{want: have}
			err := c.CutAt(t.Context(), bytes.NewReader(data), size, rec.note)
			if short := size > 700_000; errors.Is(err, ErrShort) != short || (err != nil) != short {
				t.Errorf("size %d: %v", size, err)
			}
			if !slices.Equal(rec.sorted(), reference(t, p, have)) {
				t.Errorf("size %d with %+v: other chunks", size, p)
			}
		}
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestNoProgress(t *testing.T) {
	r := io.MultiReader(bytes.NewReader(noise(1, 5000)), stuck{})
	if err := newCutter(smallParams[1], 1).Cut(t.Context(), r, (&recorder{want: noise(1, 5000)}).note); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

// fn's error comes back as it is, also if it is io.EOF, and stops the others.
func TestFnError(t *testing.T) {
	data := bytes.NewReader(noise(2, 8<<20))
	c := newCutter(smallParams[5], 4)
	for _, want := range []error{errBroken, io.EOF} {
		var calls, running atomic.Int64
		fn := func(int64, []byte) error {
			running.Add(1)
			defer running.Add(-1)
			if calls.Add(1) == 5 {
				return want
			}
			return nil
		}
		if err := c.CutAt(t.Context(), data, data.Size(), fn); err != want || running.Load() != 0 {
			t.Errorf("CutAt: %v, want %v, with %d calls left", err, want, running.Load())
		}
		if calls.Load() > 5+4*(1+readAhead/20_000) {
			t.Errorf("%d chunks after the error", calls.Load()-5)
		}
		calls.Store(0)
		if err := c.Cut(t.Context(), io.NewSectionReader(data, 0, data.Size()), fn); err != want || calls.Load() != 5 {
			t.Errorf("Cut: %v after %d calls", err, calls.Load())
		}
	}
}

// endless is a file without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error)            { return len(p), nil }
func (endless) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }

// A cancelled call ends by itself; synctest fails if a goroutine stays behind.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(testParams, 4)
		for _, call := range []func(ctx context.Context, fn func(int64, []byte) error) error{
			func(ctx context.Context, fn func(int64, []byte) error) error { return c.Cut(ctx, endless{}, fn) },
			func(ctx context.Context, fn func(int64, []byte) error) error {
				return c.CutAt(ctx, endless{}, 1<<60, fn)
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			var calls atomic.Int64
			err := call(ctx, func(int64, []byte) error {
				if calls.Add(1) == 10 {
					cancel()
				}
				return nil
			})
			if err != context.Canceled || calls.Load() > 14 {
				t.Errorf("%v after %d calls", err, calls.Load())
			}
			if err := call(ctx, nil); err != context.Canceled {
				t.Errorf("cancelled before the call: %v", err)
			}
		}
	})
}

// However many calls there are, only so many hold a buffer; those that wait can
// be cancelled, and those that work end.
func TestBuffersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(testParams, 8)
		data := noise(3, 2<<20)
		gate := make(chan struct{})
		var inFn, failed atomic.Int64
		fn := func(int64, []byte) error {
			inFn.Add(1)
			<-gate
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		start := func(ctx context.Context) {
			if c.CutAt(ctx, bytes.NewReader(data), int64(len(data)), fn) != nil {
				failed.Add(1)
			}
		}
		for range 40 {
			go start(t.Context())
		}
		synctest.Wait()
		if got := inFn.Load() * defaultMax; got != cutterMemory {
			t.Errorf("%d bytes of buffers are in use, want %d", got, cutterMemory)
		}
		go start(ctx)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if failed.Load() != 1 {
			t.Error("a call that waits for a buffer cannot be cancelled")
		}
		close(gate)
		synctest.Wait()
		if failed.Load() != 1 || len(c.slots) != 0 {
			t.Errorf("%d calls failed, %d buffers are still in use", failed.Load(), len(c.slots))
		}
	})
}
