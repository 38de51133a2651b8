package index_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"coffer/chunk"
	"coffer/index"
)

// Run it twice with a directory: the first run builds the table and the second
// has a memory that nothing else has been in.
//
//	go test ./index -run - -bench Synthetic -index.chunks 50000000 -index.dir /var/tmp/table
var (
	chunks = flag.Int("index.chunks", 200_000, "chunks in the synthetic index")
	dir    = flag.String("index.dir", "", "where its table is kept; a temporary directory if empty")
)

// perSegment is about what a backup writes in 45 minutes.
const perSegment = 1_000_000

// syntheticID is the n-th chunk of the synthetic index.
func syntheticID(n uint64) (id chunk.ID) {
	r := rand.NewPCG(n, 99)
	for i := 0; i < len(id); i += 8 {
		binary.LittleEndian.PutUint64(id[i:], r.Uint64())
	}
	return id
}

// syntheticSegment has chunks of 13 KB, 20 to a block, 130 blocks to a pack.
func syntheticSegment(b *testing.B, number, n int) *index.Segment {
	var packs []index.Pack
	var blocks []index.Block
	entries := make([]index.Entry, n)
	for i := range entries {
		if i%20 == 0 {
			if len(blocks)%130 == 0 {
				packs = append(packs, index.Pack{SID: [16]byte{byte(number), byte(number >> 8)}, Seq: uint32(len(packs)), Kind: chunk.Data, Size: 32 << 20})
			}
			blocks = append(blocks, index.Block{Pack: uint32(len(packs) - 1), Offset: uint32(len(blocks)%130) * 100_000, Sealed: 100_000, Plain: 260_000})
		}
		entries[i] = index.Entry{ID: syntheticID(uint64(number)*perSegment + uint64(i)), Block: uint32(len(blocks) - 1),
			Offset: uint32(i%20) * 13_000, Length: 13_000}
	}
	data, err := index.Encode(packs, blocks, entries)
	if err != nil {
		b.Fatal(err)
	}
	s, err := index.Decode(data)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// syntheticView attaches to the table and adds what it does not have.
func syntheticView(b *testing.B, where string) *index.View {
	open := func() (*index.Table, error) { return index.OpenTable(where, key) }
	var wants []index.Want
	for i := 0; i*perSegment < *chunks; i++ {
		wants = append(wants, index.Want{Name: strconv.Itoa(i)})
	}
	start := time.Now()
	v := index.NewView(open, 1)
	missing, err := v.Attach(open, wants)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("opened a table without %d of %d segments in %v", len(missing), len(wants), time.Since(start))
	for _, want := range missing {
		i, _ := strconv.Atoi(want.Name) // made just above
		if err := v.Add(want.Name, syntheticSegment(b, i, min(perSegment, *chunks-i*perSegment)), nil); err != nil || v.Trouble() != nil {
			b.Fatal(err, v.Trouble())
		}
	}
	if len(missing) > 0 {
		b.Logf("built in %v", time.Since(start))
	}
	return v
}

func BenchmarkSynthetic(b *testing.B) {
	where := *dir
	if where == "" {
		where = b.TempDir()
	}
	v := syntheticView(b, where)
	b.Run("Hit", func(b *testing.B) { lookups(b, v, 0, true) })
	b.Run("Miss", func(b *testing.B) { lookups(b, v, 1<<40, false) })
	b.Run("HitParallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, ok, err := v.Lookup(syntheticID(rand.Uint64N(uint64(*chunks)))); !ok || err != nil {
					b.Error(ok, err)
				}
			}
		})
	})
	b.Run("HitInOrder", func(b *testing.B) { // as a backup of unchanged files does
		for n := range uint64(b.N) {
			if _, ok, err := v.Lookup(syntheticID(n % uint64(*chunks))); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Log("memory: ", memory())
	if err := v.Close(); err != nil {
		b.Fatal(err)
	}
}

func lookups(b *testing.B, v *index.View, from uint64, want bool) {
	for range b.N {
		if _, ok, err := v.Lookup(syntheticID(from + rand.Uint64N(uint64(*chunks)))); ok != want || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
}

// memory is what the kernel says of this process; mapped files are in RSS.
func memory() string {
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	var out []string
	for line := range strings.Lines(string(status)) {
		for _, field := range []string{"VmHWM", "VmRSS", "RssAnon", "RssFile"} {
			if strings.HasPrefix(line, field) {
				out = append(out, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return fmt.Sprint(strings.Join(out, ", "))
}

// BenchmarkMemory is a repository small enough to need no table, in one segment
// or in many.
func BenchmarkMemory(b *testing.B) {
	for _, segments := range []int{1, 8, 1000} {
		b.Run(fmt.Sprint("segments=", segments), func(b *testing.B) {
			v := index.NewView(nil, 0)
			m := newMaker(1)
			var ids []chunk.ID
			for i := range segments {
				made := m.make(b, 100_000/segments, false)
				for id := range made.places {
					ids = append(ids, id)
				}
				if err := v.Add(fmt.Sprint(i), decode(b, made.data), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for i := range b.N {
				if _, ok, err := v.Lookup(ids[i%len(ids)]); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkEntries goes through all entries, as a prune does.
func BenchmarkEntries(b *testing.B) {
	s := syntheticSegment(b, 0, 500_000)
	for b.Loop() {
		sum(s)
	}
	perEntry(b, s.Len())
}

// BenchmarkMerge makes one segment of ten.
func BenchmarkMerge(b *testing.B) {
	var parts []index.Part
	for i := range 10 {
		parts = append(parts, index.Part{Segment: syntheticSegment(b, i, 50_000)})
	}
	b.ReportAllocs()
	for b.Loop() {
		merge(b, parts, 500_000)
	}
	perEntry(b, 500_000)
}

func perEntry(b *testing.B, entries int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(entries), "ns/entry")
}
