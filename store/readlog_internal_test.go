package store

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"coffer/index"
)

func TestReadLogBytes(t *testing.T) {
	l := readLog{}
	for i := range uint32(50) {
		l.add(index.Pack{Generation: uint64(i % 3), SID: [16]byte{byte(i % 5)}, Seq: i, Size: 7}, int64(1000+i%4))
	}
	b := l.encode()
	if len(b) != 4*readHead+50*readSize || !bytes.Equal(b, l.encode()) {
		t.Errorf("%d bytes", len(b))
	}
	got := readLog{}
	if err := got.decode(b, time.Unix(2000, 0)); err != nil || !maps.Equal(got, l) {
		t.Errorf("%d of %d, %v", len(got), len(l), err)
	}
	for n := 1; n < len(b); n++ {
		if (readLog{}).decode(b[:n], time.Unix(2000, 0)) == nil && n != cutAt(b, n) {
			t.Errorf("cut at %d is no damage", n)
		}
	}
}

// cutAt returns n if a group ends there.
func cutAt(b []byte, n int) int {
	at := 0
	for at < n {
		at += readHead + int(b[at+8])*readSize
	}
	return at
}

func TestFoldReads(t *testing.T) {
	p := func(n uint32) index.Pack { return index.Pack{Seq: n} }
	one, two := readLog{p(1): 10, p(2): 20, p(3): 30}, readLog{p(1): 15, p(2): 5, p(4): 99}
	notes := []note{{Reads: one.encode()}, {Reads: two.encode()}, {Reads: []byte("nonsense")}, {}}
	got := readLog{}
	if err := got.decode(foldReads(notes, func(q index.Pack) bool { return q.Seq != 3 }, time.Unix(50, 0)), time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	if want := (readLog{p(1): 15, p(2): 20}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add(readLog{index.Pack{Seq: 1}: 5}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		l := readLog{}
		if err := l.decode(b, time.Unix(1<<40, 0)); err != nil {
			return
		}
		again := readLog{}
		if err := again.decode(l.encode(), time.Unix(1<<40, 0)); err != nil || !maps.Equal(again, l) {
			t.Errorf("%d of %d, %v", len(again), len(l), err)
		}
	})
}
