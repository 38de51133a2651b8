package chunk

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
)

// pattern is the input of BLAKE3's own test vectors: 0, 1, ... 250, 0, 1, ...
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// These IDs are part of the repository format. If one of them changes, no
// repository can be read any more.
func TestSumVectors(t *testing.T) {
	for _, v := range []struct {
		kind Kind
		in   []byte
		want string
	}{
		{Data, nil, "92ba1aca0804ce37212a325d8c99a767b99997e8c075dfa9911b878d7ff3b513"},
		{Tree, nil, "53ebb95a55d040ebbfdf6b1b7842c994a613f03489e665ba7a79aef7b5bba434"},
		{Data, []byte("coffer"), "03123f4cc9a6c5899b6f10ca7a4109385192879770b7e2bcd7fb9b2701278f95"},
		{Tree, []byte("coffer"), "e2c86472b7d4a9dd5e2f5894d5669ddac634b02483a8061d1f87ae9b188217d6"},
		{Data, pattern(1024), "1908f6b29b09b3ca534fcdbe14ee2e3441f30311f941541448ad08392dd9e856"},
		{Data, pattern(1025), "dcbff3304fc3a5ce8346144743637b1369b44f70717399a4690b2030a0d56fce"},
		{Tree, pattern(31744), "4e1cb1c1eecb54cbddb75f5f91c07b36deccc992917a5b5a64a0276a686967bc"},
		{Data, pattern(102400), "0702d9d6ee304defd0bc92b2fc502e72a229599257b54e1695266fe5dde39b45"},
		{Data, make([]byte, 4<<20), "cc5d2915b17add1952b98bf6d2e974923f5671ab41258553dd2bb475bc60fe4f"},
	} {
		if got := Sum(v.kind, v.in).String(); got != v.want {
			t.Errorf("Sum(%v, %d bytes) = %s, want %s", v.kind, len(v.in), got, v.want)
		}
	}
}

// The library agrees with the test vectors that BLAKE3's authors publish, so
// IDs can be computed with any other implementation.
func TestDeriveKeyIsBLAKE3(t *testing.T) {
	const context = "BLAKE3 2019-12-27 16:29:52 test vectors context"
	for n, want := range map[int]string{
		0: "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d",
		1: "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c",
	} {
		h := blake3.NewDeriveKey(context)
		_, _ = h.Write(pattern(n))
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("derived key of %d bytes: %s, want %s", n, got, want)
		}
	}
}

func TestHasherIsReusable(t *testing.T) {
	h := NewHasher()
	for n := range 70 {
		b := bytes.Repeat([]byte{byte(n)}, n*n*50)
		for _, k := range []Kind{Tree, Data} {
			if h.Sum(k, b) != Sum(k, b) {
				t.Fatalf("%v of %d bytes: a used Hasher differs from a new one", k, len(b))
			}
		}
	}
}

func TestParseID(t *testing.T) {
	id := Sum(Data, []byte("x"))
	got, err := ParseID(id.String())
	if err != nil || got != id {
		t.Fatalf("ParseID(%s) = %v, %v", id, got, err)
	}
	if !strings.HasPrefix(id.String(), id.Short()) || len(id.Short()) != 8 {
		t.Errorf("Short() = %s of %s", id.Short(), id)
	}
	for _, bad := range []string{"", "xy", id.Short(), id.String() + "00", strings.Repeat("g", 64)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) succeeded", bad)
		}
	}
}

func TestKind(t *testing.T) {
	for k, want := range map[Kind]string{Data: "data", Tree: "tree", 0: "kind(0)", 9: "kind(9)"} {
		if k.String() != want || k.Valid() != (k == Data || k == Tree) {
			t.Errorf("%d: %s, valid %v", k, k, k.Valid())
		}
	}
}
