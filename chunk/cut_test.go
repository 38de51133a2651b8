package chunk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
)

// testParams are the defaults with the polynomial of restic/chunker's tests.
var testParams = Params{Polynomial: 0x3DA3358B4DC173, Min: defaultMin, Max: defaultMax, Bits: defaultBits}

func sized(minimum, bits, maximum int) Params {
	return Params{Polynomial: testParams.Polynomial, Min: uint32(minimum), Max: uint32(maximum), Bits: bits}
}

// smallParams cut small inputs in many ways. Some have room for whole blocks
// between two boundaries, some have not.
var smallParams = []Params{
	sized(65, 7, 66),
	sized(128, 6, 1000),
	sized(1000, 10, 8000),
	sized(500, 13, 50_000),
	sized(4096, 15, block+4096),
	sized(20_000, 14, 100_000),
	sized(block-1, 17, 400_000),
	sized(minLimit, 16, 4*minLimit),
}

type span struct{ off, n int64 }

// reference is what restic/chunker itself makes of data.
func reference(t testing.TB, p Params, data []byte) (spans []span) {
	t.Helper()
	c := chunker.New(bytes.NewReader(data), chunker.Pol(p.Polynomial), chunker.WithBuffer(make([]byte, 64<<10)),
		chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(p.Bits))
	for {
		got, err := c.Next(nil)
		if err == io.EOF {
			return spans
		}
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, span{int64(got.Start), int64(got.Length)})
	}
}

// A recorder notes chunks from many goroutines and compares their bytes.
type recorder struct {
	mu    sync.Mutex
	want  []byte
	spans []span
	wrong error
}

func (r *recorder) note(off int64, data []byte) error {
	same := off >= 0 && off+int64(len(data)) <= int64(len(r.want)) && bytes.Equal(data, r.want[off:][:len(data)])
	clear(data) // allowed, and must not harm anyone
	r.mu.Lock()
	defer r.mu.Unlock()
	if !same {
		r.wrong = fmt.Errorf("chunk at %d (%d bytes) holds other bytes", off, len(data))
	}
	r.spans = append(r.spans, span{off, int64(len(data))})
	return r.wrong
}

// sorted returns the chunks in order of their offsets.
func (r *recorder) sorted() []span {
	slices.SortFunc(r.spans, func(a, b span) int { return int(a.off - b.off) })
	return r.spans
}

func cut(t testing.TB, c *Cutter, data []byte, r io.Reader) []span {
	t.Helper()
	rec := &recorder{want: data}
	if err := c.Cut(t.Context(), r, rec.note); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(rec.spans, func(a, b span) int { return int(a.off - b.off) }) {
		t.Fatal("Cut called fn out of order")
	}
	return rec.spans
}

func cutAt(t testing.TB, c *Cutter, data []byte) []span {
	t.Helper()
	rec := &recorder{want: data}
	if err := c.CutAt(t.Context(), bytes.NewReader(data), int64(len(data)), rec.note); err != nil {
		t.Fatal(err)
	}
	return rec.sorted()
}

// check proves that spans are an allowed way to cut size bytes.
func check(t testing.TB, p Params, spans []span, size int) {
	t.Helper()
	var end int64
	for i, s := range spans {
		last := i == len(spans)-1
		if s.off != end || s.n == 0 || s.n > int64(p.Max) || s.n < int64(p.Min) && !last {
			t.Fatalf("chunk %d of %d is %+v after %d", i, len(spans), s, end)
		}
		end += s.n
	}
	if end != int64(size) {
		t.Fatalf("chunks hold %d bytes of %d", end, size)
	}
}

// same proves that Cut, CutAt and restic/chunker agree.
func same(t testing.TB, p Params, workers int, data []byte) {
	t.Helper()
	c := newCutter(p, workers)
	want := reference(t, p, data)
	check(t, p, want, len(data))
	if got := cut(t, c, data, bytes.NewReader(data)); !slices.Equal(got, want) {
		t.Fatalf("Cut of %d bytes with %+v:\n%v, want\n%v", len(data), p, got, want)
	}
	if got := cutAt(t, c, data); !slices.Equal(got, want) {
		t.Fatalf("CutAt of %d bytes by %d with %+v:\n%v, want\n%v", len(data), workers, p, got, want)
	}
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "INSERT INTO t VALUES (%d, 'row %x', NULL);\n", i, i*i)
	}
	return b.Bytes()[:n]
}

// inputs are n bytes each, from no structure to nothing else.
func inputs(n int) map[string][]byte {
	mixed := noise(1, n)
	clear(mixed[n/3 : n/2])
	return map[string][]byte{
		"noise":    noise(2, n),
		"zeros":    make([]byte, n),
		"repeated": bytes.Repeat(noise(3, 4099), n/4099+1)[:n],
		"period":   bytes.Repeat([]byte("ab"), n/2+1)[:n],
		"text":     text(n),
		"mixed":    mixed,
	}
}

func TestCutIsResticChunker(t *testing.T) {
	for _, p := range append(smallParams, testParams) {
		n := min(60*int(p.Max), 4<<20)
		for name, data := range inputs(n) {
			t.Run(fmt.Sprintf("%d-%d-%d/%s", p.Min, p.Bits, p.Max, name), func(t *testing.T) {
				t.Parallel()
				for _, workers := range []int{1, 2, 5} {
					same(t, p, workers, data)
				}
			})
		}
	}
}

// Sizes around everything that the code compares a size with.
func TestCutSizes(t *testing.T) {
	data, zeros := noise(4, 1<<20), make([]byte, 1<<20)
	for _, p := range smallParams {
		for _, near := range []int{0, window, 4096, int(p.Min), int(p.Max), block, readAhead, int(p.Min) + block, int(p.Min) + readAhead, 2 * int(p.Max)} {
			for n := max(0, near-2); n <= near+2; n++ {
				same(t, p, 2, data[:n])
				same(t, p, 3, zeros[:n])
			}
		}
	}
}

func TestCutRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		minimum := 65 + rnd.IntN(1<<rnd.IntN(16))
		p := sized(minimum, 4+rnd.IntN(14), minimum+1+rnd.IntN(1<<rnd.IntN(19)))
		data := noise(byte(rnd.Int()), rnd.IntN(min(1<<20, 1000*minimum)))
		if at := rnd.IntN(len(data) + 1); rnd.IntN(2) == 0 {
			clear(data[at:min(len(data), at+rnd.IntN(300_000))])
		}
		same(t, p, 1+rnd.IntN(8), data)
	}
}

// However a reader portions its bytes, the chunks are the same.
func TestCutReaders(t *testing.T) {
	data := noise(5, 600_000)
	for _, p := range smallParams {
		c, want := newCutter(p, 1), reference(t, p, data)
		for name, r := range map[string]io.Reader{
			"one byte":     iotest.OneByteReader(bytes.NewReader(data)),
			"half":         iotest.HalfReader(bytes.NewReader(data)),
			"data and err": iotest.DataErrReader(bytes.NewReader(data)),
			"random":       &portions{bytes.NewReader(data), rand.New(rand.NewPCG(3, 4))},
		} {
			if got := cut(t, c, data, r); !slices.Equal(got, want) {
				t.Errorf("%s, %+v: %v, want %v", name, p, got, want)
			}
		}
	}
}

// portions reads between nothing and all that is asked for.
type portions struct {
	r   io.Reader
	rnd *rand.Rand
}

func (p *portions) Read(b []byte) (int, error) { return p.r.Read(b[:p.rnd.IntN(len(b)+1)]) }

func TestCutConcurrently(t *testing.T) {
	c := newCutter(smallParams[5], 4)
	data := noise(6, 1<<20)
	want := reference(t, smallParams[5], data)
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			if got := cutAt(t, c, data); !slices.Equal(got, want) {
				t.Error("CutAt differs when others cut too")
			}
		})
	}
	wg.Wait()
}

// Where the defaults cut is part of the format: were it to change, nothing new
// would deduplicate against anything old.
func TestBoundaryVectors(t *testing.T) {
	var got []int64
	for _, s := range cutAt(t, NewCutter(testParams, 2), noise(0, 16<<20)) {
		got = append(got, s.n)
	}
	want := []int64{1658047, 593107, 638888, 842024, 662559, 828516, 904605, 730462, 1121351, 1688349, 2963211, 849220, 1150539, 1211985, 934353}
	if !slices.Equal(got, want) {
		t.Errorf("lengths are\n%v, want\n%v", got, want)
	}
	count := 0
	err := testParams.Cut(context.Background(), bytes.NewReader(noise(0, 16<<20)), func(_ int64, data []byte) error {
		if count < len(want) && len(data) != int(want[count]) {
			t.Errorf("Params.Cut: chunk %d has %d bytes", count, len(data))
		}
		count++
		return nil
	})
	if err != nil || count != len(want) {
		t.Errorf("Params.Cut: %d chunks, %v", count, err)
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("coffer"), uint16(65), uint8(6), uint32(100), uint16(3000), uint8(2))
	f.Add(noise(7, 3000), uint16(500), uint8(13), uint32(40_000), uint16(90), uint8(3))
	f.Add(make([]byte, 200), uint16(0), uint8(0), uint32(0), uint16(500), uint8(0))
	f.Fuzz(func(t *testing.T, unit []byte, minimum uint16, bits uint8, extra uint32, repeat uint16, workers uint8) {
		low := window + 1 + int(minimum)
		p := sized(low, int(bits%20), low+1+int(extra%(1<<16)))
		n := min(len(unit)*(1+int(repeat)), 1<<17)
		data := make([]byte, 0, n)
		for i := 0; len(data) < n; i++ { // repeats, but never for long
			unit[i*7%len(unit)] += byte(i)
			data = append(data, unit...)
		}
		same(t, p, int(workers%9), data[:n])
	})
}
