package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"
)

func newBox(t testing.TB, level Level) *Box {
	t.Helper()
	m, err := NewMaster(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBox(m.Keys(RepositoryID{1}), rand.Reader, level, 2)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func text(n int) []byte {
	var b bytes.Buffer
	r := mrand.New(mrand.NewPCG(1, 2))
	for b.Len() < n {
		fmt.Fprintf(&b, "line %d of some text that repeats itself %x\n", r.IntN(100), r.IntN(1<<16))
	}
	return b.Bytes()[:n]
}

func TestBlockRoundTrip(t *testing.T) {
	for _, level := range Levels() {
		box := newBox(t, level)
		for _, plain := range [][]byte{nil, {0}, text(100), text(300 << 10), noise(300 << 10), noise(4 << 20), make([]byte, 4<<20)} {
			sealed, err := box.SealBlock([]byte("before"), plain)
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", level, len(plain), err)
			}
			got, err := box.OpenBlock([]byte("x"), sealed[len("before"):], len(plain))
			if err != nil || !bytes.Equal(got[1:], plain) {
				t.Fatalf("%s, %d bytes: %v, equal %v", level, len(plain), err, bytes.Equal(got[1:], plain))
			}
			if len(sealed) > len(plain)+Overhead+len("before") {
				t.Errorf("%s: %d bytes grew to %d", level, len(plain), len(sealed))
			}
		}
	}
}

func TestBlockCompresses(t *testing.T) {
	sealed, err := newBox(t, Fastest).SealBlock(nil, text(256<<10))
	if err != nil || len(sealed) > 128<<10 {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	box := newBox(t, Fastest)
	sealed, err := box.SealBlock(nil, text(200))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := box.OpenBlock(nil, bad, 200); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := box.OpenBlock(nil, sealed[:n], 200); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func TestLimitBoundsMemory(t *testing.T) {
	box := newBox(t, Fastest)
	sealed, err := box.SealBlock(nil, make([]byte, 8<<20)) // a bomb: 8 MiB in a few hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.OpenBlock(nil, sealed, 1<<20); !errors.Is(err, ErrDamaged) {
		t.Fatalf("opened past its limit: %v", err)
	}
}

func TestRecordIsBoundToItsName(t *testing.T) {
	box := newBox(t, Fastest)
	sealed, err := box.SealRecord("fates/0/a", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := box.OpenRecord("fates/0/a", sealed, 100); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := box.OpenRecord("fates/0/b", sealed, 100); !errors.Is(err, ErrDamaged) {
		t.Fatalf("swapped record opened: %v", err)
	}
	if _, err := newBox(t, Fastest).OpenRecord("fates/0/a", sealed, 100); !errors.Is(err, ErrDamaged) {
		t.Fatalf("other keys opened it: %v", err)
	}
	if _, err := box.OpenBlock(nil, sealed, 100); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a record opened as a block: %v", err)
	}
}

func TestSlots(t *testing.T) {
	m, _ := NewMaster(rand.Reader)
	for _, kind := range []SlotKind{Password, KeyFile, Recovery, Open} {
		s, err := Wrap(rand.Reader, "a", m, Secret{kind, []byte("secret")}, "label", 7)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeSlot(b)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := got.Unwrap("a", Secret{kind, []byte("secret")}); err != nil || back != m {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := got.Unwrap("a", Secret{kind, []byte("Secret")}); !errors.Is(err, ErrWrongSecret) {
			t.Errorf("%s: wrong secret: %v", kind, err)
		}
		if _, err := got.Unwrap("b", Secret{kind, []byte("secret")}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: swapped slot: %v", kind, err)
		}
	}
}

// Keys of one master differ between repositories, but for the key of blocks.
func TestRecordsStayInTheirRepository(t *testing.T) {
	m, _ := NewMaster(rand.Reader)
	a, errA := NewBox(m.Keys(RepositoryID{1}), rand.Reader, Fastest, 1)
	b, errB := NewBox(m.Keys(RepositoryID{2}), rand.Reader, Fastest, 1)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	record, err := a.SealRecord("config", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.OpenRecord("config", record, 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("a record of another repository opened: %v", err)
	}
	block, err := a.SealBlock(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.OpenBlock(nil, block, 10); err != nil || string(got) != "x" {
		t.Errorf("a block does not travel: %v", err)
	}
}

func TestSlotsFieldsAreBound(t *testing.T) {
	m, _ := NewMaster(rand.Reader)
	secret := Secret{KeyFile, []byte("x")}
	good, err := Wrap(rand.Reader, "a", m, secret, "mine", 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Slot){func(s *Slot) { s.Label = "yours" }, func(s *Slot) { s.Created++ }} {
		s := *good
		change(&s)
		if _, err := s.Unwrap("a", secret); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestWeakenedSlotIsRefused(t *testing.T) {
	m, _ := NewMaster(rand.Reader)
	good, err := Wrap(rand.Reader, "a", m, Secret{Password, []byte("x")}, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, weaken := range []func(*Slot){
		func(s *Slot) { s.Time = 1 }, func(s *Slot) { s.Memory = 8 }, func(s *Slot) { s.Threads = 0 },
		func(s *Slot) { s.Memory = 1 << 31 }, func(s *Slot) { s.Time = 1 << 20 },
	} {
		s := *good
		weaken(&s)
		if _, err := s.Unwrap("a", Secret{Password, []byte("x")}); !errors.Is(err, ErrWeak) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestRecoveryKeyText(t *testing.T) {
	s, err := NewRecovery(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	textual := FormatRecovery(s)
	back, err := ParseRecovery(" " + strings.ToLower(strings.ReplaceAll(textual, "-", " ")) + "\n")
	if err != nil || !bytes.Equal(back.Value, s.Value) {
		t.Fatalf("%s: %v", textual, err)
	}
	typo := []byte(textual)
	typo[3] = map[bool]byte{true: 'B', false: 'A'}[typo[3] == 'A']
	if _, err := ParseRecovery(string(typo)); err == nil {
		t.Error("a typing error went unnoticed")
	}
}

func FuzzDecodeSlot(f *testing.F) {
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeSlot(b); err == nil && s.Kind != Password {
			_, _ = s.Unwrap("a", Secret{s.Kind, nil})
		}
	})
}

// FuzzDecode feeds the codec what an attacker with the keys could seal.
func FuzzDecode(f *testing.F) {
	box, err := NewBox(Master{}.Keys(RepositoryID{}), rand.Reader, Fastest, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{codecRaw, 1, 2})
	f.Add(box.encode(box.enc, nil, text(1000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if got, err := box.decode(nil, b, 1<<16); err == nil && len(got) > 1<<16 {
			t.Fatalf("%d bytes past the limit", len(got))
		}
	})
}

func BenchmarkSealBlock(b *testing.B) {
	for _, c := range []struct {
		name  string
		plain []byte
	}{{"text256K", text(256 << 10)}, {"noise1M", noise(1 << 20)}} {
		b.Run(c.name, func(b *testing.B) {
			box := newBox(b, Fastest)
			b.SetBytes(int64(len(c.plain)))
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = box.SealBlock(dst[:0], c.plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
