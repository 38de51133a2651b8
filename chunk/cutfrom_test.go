package chunk

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
)

// A stream that is cut by several workers has the chunks that it has for one.
func TestCutFrom(t *testing.T) {
	data := noise(7, 3_000_000)
	for _, p := range smallParams {
		var mu sync.Mutex
		got := map[int64][]byte{}
		c := newCutter(p, 4)
		err := c.CutFrom(context.Background(), iotest.HalfReader(bytes.NewReader(data)), func(off int64, b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got[off] = bytes.Clone(b)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var want []int64
		err = c.Cut(context.Background(), bytes.NewReader(data), func(off int64, b []byte) error {
			want = append(want, off)
			if !bytes.Equal(got[off], b) {
				t.Fatalf("chunk at %d differs", off)
			}
			return nil
		})
		if err != nil || len(want) != len(got) || !slices.IsSorted(want) {
			t.Fatalf("%v: %d chunks, want %d", err, len(got), len(want))
		}
	}
}
