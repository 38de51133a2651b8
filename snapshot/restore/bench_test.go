package restore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

// A fakeStore has the data of every chunk ready: the ID says where it begins and
// how long it is. It costs nothing, so what a benchmark shows is restore.
type fakeStore struct {
	snapshottest.Mem
	data []byte
}

func (s *fakeStore) id(serial, length int) chunk.ID {
	var id chunk.ID
	binary.LittleEndian.PutUint64(id[:], uint64(serial))
	binary.LittleEndian.PutUint32(id[8:], uint32(length))
	return id
}

func (s *fakeStore) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for half := range 2 {
		wg.Go(func() {
			for i := half * len(ids) / 2; i < (half+1)*len(ids)/2; i++ {
				n := binary.LittleEndian.Uint32(ids[i][8:])
				if err := fn(i, s.data[:n], nil); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// sourceTree is like a checkout of a large program: 48,600 files, 831 MiB, ten
// to a directory.
func sourceTree(b *testing.B, s *fakeStore, files int) chunk.ID {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	s.data = make([]byte, 1<<20)
	k := taker{t: b, mem: &s.Mem}
	var dirs, entries []*snapshot.Entry
	mtime := snapshot.Time{Sec: 1_700_000_000, Nsec: 5}
	for i := range files {
		size := min(int(r.ExpFloat64()*17_930)+1, len(s.data))
		entries = append(entries, &snapshot.Entry{
			Name: fmt.Sprintf("file%02d", i%10), Type: snapshot.File, Mode: 0o644, MTime: mtime, Size: int64(size),
			Content: []snapshot.Ref{{ID: s.id(i, size), Length: uint32(size)}},
		})
		if len(entries) == 10 {
			dirs = append(dirs, &snapshot.Entry{
				Name: fmt.Sprintf("dir%06d", i/10), Type: snapshot.Dir, Mode: 0o755, MTime: mtime, Tree: k.listing(entries),
			})
			entries = entries[:0]
		}
	}
	return k.listing(dirs)
}

func BenchmarkSmallFiles(b *testing.B) {
	const files = 48_600
	var s fakeStore
	root := sourceTree(b, &s, files)
	for _, dir := range []string{"/dev/shm", os.TempDir()} {
		b.Run(filepath.Base(dir), func(b *testing.B) {
			benchmark(b, &s, root, dir)
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/files, "us/file")
		})
	}
}

func BenchmarkLargeFile(b *testing.B) {
	var s fakeStore
	s.data = make([]byte, 1<<20)
	e := &snapshot.Entry{Name: "large", Type: snapshot.File, Mode: 0o600, Size: 1 << 30}
	for i := range 1024 {
		e.Content = append(e.Content, snapshot.Ref{ID: s.id(i, 1<<20), Length: 1 << 20})
	}
	k := taker{t: b, mem: &s.Mem}
	root := k.listing([]*snapshot.Entry{e})
	b.SetBytes(1 << 30)
	benchmark(b, &s, root, "/dev/shm")
}

func benchmark(b *testing.B, s snapshot.Streamer, root chunk.ID, dir string) {
	b.ReportAllocs()
	var used time.Duration
	defer func() { b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op") }()
	for b.Loop() {
		b.StopTimer()
		target, err := os.MkdirTemp(dir, "coffer-bench-")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		before := cpuTime(b)
		rep, err := Run(context.Background(), s, root, "/", target, Options{})
		if err != nil || rep.ProblemCount > 0 {
			b.Error(err, rep.Problems)
		}
		b.StopTimer()
		used += cpuTime(b) - before
		if err := os.RemoveAll(target); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// cpuTime is what the process has used: on a machine with other work, the time
// on the wall says little.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
