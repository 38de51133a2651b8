package chunk

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/restic/chunker"
)

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{4 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			h, data := NewHasher(), noise(0, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				h.Sum(Data, data)
			}
		})
	}
}

// candidates are the sizes that docs/decisions/0001-chunk-sizes.md compares.
var candidates = []Params{
	sized(256<<10, 18, 2<<20), sized(512<<10, 19, 4<<20), sized(512<<10, 20, 8<<20), sized(256<<10, 19, 4<<20),
}

func label(p Params) string { return fmt.Sprintf("%dK-%d-%dM", p.Min>>10, p.Bits, p.Max>>20) }

func nothing(int64, []byte) error { return nil }

func BenchmarkCut(b *testing.B) {
	data := noise(0, 256<<20)
	for _, p := range candidates {
		c := NewCutter(p, 1)
		b.Run(label(p), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_ = c.Cut(context.Background(), bytes.NewReader(data), nothing)
			}
		})
		b.Run(label(p)+"-restic", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				resticCut(p, data, nothing)
			}
		})
	}
}

// resticCut finds the same boundaries with restic/chunker alone.
func resticCut(p Params, data []byte, fn func(int64, []byte) error) {
	c := chunker.NewBase(chunker.Pol(p.Polynomial), chunker.WithBaseBoundaries(uint(p.Min), uint(p.Max)), chunker.WithBaseAverageBits(p.Bits))
	for len(data) > 0 {
		n := c.NextSplitPoint(data)
		if n < 0 {
			n = len(data)
		}
		_ = fn(0, data[:n])
		data = data[n:]
	}
}

// sealer does to a chunk what saving does, without compressing: hash, encrypt.
func sealer() func(int64, []byte) error {
	pool := sync.Pool{New: func() any {
		block, _ := aes.NewCipher(make([]byte, 32))
		aead, _ := cipher.NewGCM(block)
		return &sealing{NewHasher(), aead, make([]byte, 0, maxLimit)}
	}}
	return func(_ int64, data []byte) error {
		s := pool.Get().(*sealing)
		defer pool.Put(s)
		s.hasher.Sum(Data, data)
		s.aead.Seal(s.buf, make([]byte, 12), data, nil)
		return nil
	}
}

type sealing struct {
	hasher *Hasher
	aead   cipher.AEAD
	buf    []byte
}

// BenchmarkCutAt compares what CutAt does with the two other ways to cut one
// big file on several cores.
func BenchmarkCutAt(b *testing.B) {
	data := noise(0, 512<<20)
	run := func(name string, fn func(seal func(int64, []byte) error)) {
		b.Run(name, func(b *testing.B) {
			seal := sealer()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				fn(seal)
			}
		})
	}
	for _, workers := range []int{1, 2, 4} {
		c := NewCutter(testParams, workers)
		run(fmt.Sprintf("turns-%d", workers), func(seal func(int64, []byte) error) {
			_ = c.CutAt(context.Background(), bytes.NewReader(data), int64(len(data)), seal)
		})
	}
	// One goroutine finds boundaries with restic/chunker, the others seal.
	run("pipeline-restic", func(seal func(int64, []byte) error) {
		found := make(chan []byte)
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for c := range found {
					_ = seal(0, c)
				}
			})
		}
		resticCut(testParams, data, func(_ int64, c []byte) error { found <- c; return nil })
		close(found)
		wg.Wait()
	})
	// Workers that start at different offsets, if stitching cost nothing.
	stitched := func(cut func([]byte, func(int64, []byte) error)) func(func(int64, []byte) error) {
		return func(seal func(int64, []byte) error) {
			var wg sync.WaitGroup
			n := runtime.GOMAXPROCS(0)
			for i := range n {
				wg.Go(func() { cut(data[i*len(data)/n:(i+1)*len(data)/n], seal) })
			}
			wg.Wait()
		}
	}
	run("ideal-stitched-restic", stitched(func(d []byte, fn func(int64, []byte) error) { resticCut(testParams, d, fn) }))
	c := NewCutter(testParams, 1)
	run("ideal-stitched", stitched(func(d []byte, fn func(int64, []byte) error) {
		_ = c.Cut(context.Background(), bytes.NewReader(d), fn)
	}))
}

// BenchmarkEdits tells how well sizes deduplicate: it inserts three bytes at
// random places in 256 MiB and counts the bytes of chunks that are new. Each
// iteration draws other places.
func BenchmarkEdits(b *testing.B) {
	data := noise(0, 256<<20)
	for _, p := range candidates {
		old := idsOf(p, data)
		for _, edits := range []int{16, 128} {
			b.Run(fmt.Sprintf("%s/%d", label(p), edits), func(b *testing.B) {
				fresh := 0
				for i := range b.N {
					for id, n := range idsOf(p, edited(data, edits, uint64(i))) {
						if _, ok := old[id]; !ok {
							fresh += n
						}
					}
				}
				b.ReportMetric(float64(fresh)/float64(b.N*edits)/1024, "newKiB/edit")
				b.ReportMetric(float64(len(data))/1024/float64(len(old)), "meanKiB")
			})
		}
	}
}

func idsOf(p Params, data []byte) map[ID]int {
	ids, h := map[ID]int{}, NewHasher()
	_ = NewCutter(p, 1).Cut(context.Background(), bytes.NewReader(data), func(_ int64, c []byte) error {
		ids[h.Sum(Data, c)] = len(c)
		return nil
	})
	return ids
}

func edited(data []byte, edits int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(5, seed))
	places := make([]int, edits)
	for i := range places {
		places[i] = rnd.IntN(len(data))
	}
	slices.Sort(places)
	out := make([]byte, 0, len(data)+3*edits)
	from := 0
	for _, at := range places {
		out = append(append(out, data[from:at]...), "new"...)
		from = at
	}
	return append(out, data[from:]...)
}
