package golden

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"coffer/chunk"
)

// polynomial is the one of the test vector in docs/format.md.
const polynomial = 0x3da3358b4dc173

// A rabin is the fingerprint of docs/format.md, "Where files are cut", bit by
// bit.
type rabin struct{ pol, digest uint64 }

// push appends a byte to the polynomial.
func (r *rabin) push(b byte) {
	r.digest = r.digest<<8 | uint64(b)
	degree := bits.Len64(r.pol) - 1
	for bit := 63; bit >= degree; bit-- {
		if r.digest>>bit&1 == 1 {
			r.digest ^= r.pol << (bit - degree)
		}
	}
}

// cuts returns where data is cut, by the document.
func cuts(p chunk.Params, data []byte) (ends []int) {
	var leave [256]uint64 // what each byte has become when it leaves the window
	for b := range leave {
		r := rabin{pol: p.Polynomial}
		r.push(byte(b))
		for range 64 {
			r.push(0)
		}
		leave[b] = r.digest
	}
	for begin := 0; begin < len(data); {
		end := min(begin+int(p.Max), len(data))
		r := rabin{pol: p.Polynomial}
		for n := begin + int(p.Min) - 64; n < end; n++ {
			r.push(data[n])
			if n >= begin+int(p.Min) {
				r.digest ^= leave[data[n-64]]
			}
			if n+1 >= begin+int(p.Min) && r.digest&(1<<p.Bits-1) == 0 {
				end = n + 1
			}
			if end == n+1 {
				break
			}
		}
		ends = append(ends, end)
		begin = end
	}
	return ends
}

// TestCutRule holds package chunk against the rule in docs/format.md.
func TestCutRule(t *testing.T) {
	r := rabin{pol: polynomial}
	for b := range byte(64) {
		r.push(b)
	}
	if r.digest != 0x44b76cac5cee3 {
		t.Errorf("F(00, 01, … 3f) = %#x is not the document's", r.digest)
	}
	p := chunk.Params{Polynomial: polynomial, Min: 64 << 10, Bits: 16, Max: 256 << 10}
	for name, data := range map[string][]byte{"noise": random(3, 3<<20), "zeros": make([]byte, 300<<10), "text": text(600 << 10)} {
		var got []int
		err := p.Cut(context.Background(), bytes.NewReader(data), func(off int64, data []byte) error {
			got = append(got, int(off)+len(data))
			return nil
		})
		if want := cuts(p, data); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: cut at %v, %v\nwant %v", name, got, err, want)
		}
	}
}

// TestVectors holds the document's test vectors against the text of the
// document, so that both change together or not at all.
func TestVectors(t *testing.T) {
	doc := document(t)
	for _, id := range []chunk.ID{chunk.Sum(chunk.Data, []byte("hello, world\n")), chunk.Sum(chunk.Tree, []byte("hello, world\n"))} {
		if !strings.Contains(doc, id.String()) {
			t.Errorf("docs/format.md does not have %s", id)
		}
	}
	for _, v := range vectors(t) {
		if !strings.Contains(doc, v) {
			t.Errorf("docs/format.md does not have %s", v)
		}
	}
}
