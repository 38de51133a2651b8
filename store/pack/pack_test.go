package pack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"coffer/chunk"
)

func blocks(n int) []Block {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Block, n)
	for i := range out {
		out[i].Sealed = r.Uint32N(1 << 20)
		out[i].Chunks = make([]Chunk, r.IntN(5))
		for j := range out[i].Chunks {
			c := &out[i].Chunks[j]
			c.ID, c.Length, c.Form = chunk.Sum(chunk.Data, []byte{byte(i), byte(j)}), r.Uint32N(1<<20), Form(r.IntN(2))
			out[i].Plain += c.Length
		}
	}
	return out
}

func TestTrailerRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300} {
		want := blocks(n)
		got, err := DecodeTrailer(EncodeTrailer(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d blocks: %v", n, err)
		}
	}
}

func TestTrailerCutAnywhereIsDamage(t *testing.T) {
	b := EncodeTrailer(blocks(20))
	for i := range b {
		if _, err := DecodeTrailer(b[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := DecodeTrailer(append(b, 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a byte too many: %v", err)
	}
}

func TestHeaderGolden(t *testing.T) {
	h := Header{Kind: chunk.Tree, SID: SID{1, 2, 3}, Seq: 0x01020304}
	b := AppendHeader(nil, h)
	const want = "434f465041434b0a0100020001000000010203000000000000000000000000000403020100000000"
	if hex.EncodeToString(b) != want || len(b) != HeaderSize {
		t.Errorf("header is %x", b)
	}
	if got, err := ParseHeader(b); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range b {
		if i >= 16 && i < 36 {
			continue // sid and seq may be anything; they are checked against the name
		}
		bad := bytes.Clone(b)
		bad[i] ^= 0xff
		if _, err := ParseHeader(bad); err == nil {
			t.Errorf("byte %d may be anything", i)
		}
	}
}

func TestFooter(t *testing.T) {
	b := append(AppendFooterHead(nil, 100, 50), make([]byte, HashSize)...)
	if f, err := ParseFooter(b, 206); err != nil || f.TrailerOffset != 100 || f.TrailerLength != 50 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, size := range []int64{205, 207, 0, MaxSize + 1} {
		if _, err := ParseFooter(b, size); !errors.Is(err, ErrDamaged) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func FuzzDecodeTrailer(f *testing.F) {
	f.Add(EncodeTrailer(blocks(3)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeTrailer(b)
		if err != nil {
			return
		}
		if again, err := DecodeTrailer(EncodeTrailer(got)); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("not stable: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(AppendHeader(nil, Header{Kind: chunk.Data}), int64(100))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		_, _ = ParseHeader(b)
		if ft, err := ParseFooter(b, size); err == nil && ft.TrailerOffset+ft.TrailerLength > size {
			t.Fatal("trailer past the end")
		}
	})
}
