package snapshot_test

import (
	"context"
	"fmt"
	"testing"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

// plainFile is a file as most are: one chunk, no attributes.
func plainFile(i int) *snapshot.Entry {
	return &snapshot.Entry{
		Name: fmt.Sprintf("some-file-%07d.go", i), Type: snapshot.File, Mode: 0o644, UID: 1000, GID: 1000,
		User: "alice", Group: "alice", Links: 1, Size: 5000, Inode: uint64(1234567 + i),
		MTime:   snapshot.Time{Sec: 1700000000 + int64(i), Nsec: 123456789},
		CTime:   snapshot.Time{Sec: 1700000001, Nsec: 987654321},
		Content: []snapshot.Ref{{ID: chunk.ID{byte(i), byte(i >> 8), 3, 4}, Length: 5000}},
	}
}

var (
	_ snapshot.Saver    = (*snapshottest.Mem)(nil)
	_ snapshot.Streamer = (*snapshottest.Mem)(nil)
)

func plainListing(tb testing.TB, m snapshot.Saver, n int) chunk.ID {
	tb.Helper()
	l := snapshot.NewListing(m)
	for i := range n {
		if err := l.Add(context.Background(), plainFile(i)); err != nil {
			tb.Fatal(err)
		}
	}
	id, _, err := l.Close(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

const benchEntries = 10000

func perEntry(b *testing.B) {
	b.ReportMetric(float64(b.N)*benchEntries/b.Elapsed().Seconds(), "entries/s")
}

// nullSaver hashes and drops, so that what is measured is the listing.
type nullSaver struct{ h *chunk.Hasher }

func (s nullSaver) Save(_ context.Context, k chunk.Kind, data []byte) (chunk.ID, error) {
	return s.h.Sum(k, data), nil
}

func BenchmarkEncodePage(b *testing.B) {
	files := make([]*snapshot.Entry, benchEntries)
	for i := range files {
		files[i] = plainFile(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		l := snapshot.NewListing(nullSaver{chunk.NewHasher()})
		for _, e := range files {
			if err := l.Add(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := l.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	perEntry(b)
}

func BenchmarkDecodePage(b *testing.B) {
	var m snapshottest.Mem
	tree := plainListing(b, &m, benchEntries)
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range snapshot.List(b.Context(), &m, tree, "") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perEntry(b)
}

func BenchmarkReach(b *testing.B) {
	var m snapshottest.Mem
	tree := plainListing(b, &m, benchEntries)
	for b.Loop() {
		err := snapshot.Reach(b.Context(), &m, tree, func(chunk.Kind, chunk.ID) bool { return true })
		if err != nil {
			b.Fatal(err)
		}
	}
	perEntry(b)
}

func BenchmarkLookupMillion(b *testing.B) {
	var m snapshottest.Mem
	const n = 1000000
	tree := plainListing(b, &m, n)
	i := 0
	for b.Loop() {
		i = (i + 7919) % n
		if _, err := snapshot.Lookup(b.Context(), &m, tree, plainFile(i).Name); err != nil {
			b.Fatal(err)
		}
	}
}
