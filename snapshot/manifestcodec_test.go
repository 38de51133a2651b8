package snapshot

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"coffer/chunk"
)

func fullManifest() *Manifest {
	return &Manifest{
		Version: ManifestVersion, Host: "web\xff", Name: "default", State: WithErrors, Sequence: 7,
		Captured: Time{Sec: 1795132800, Nsec: 1}, Finished: Time{Sec: 1795132860}, Received: Time{Sec: 1795132861},
		Effective: Time{Sec: -5, Nsec: 999999999}, Root: chunk.ID{9, 8}, Parent: "00ff", Tags: []string{"daily", "x"},
		Sources: []Source{{Kind: "path", Spec: "/home", At: "/home", Nanos: 1e9}, {Kind: "command", Spec: "pg_dump", At: "/db.sql", Error: "exit 1"}},
		Items:   10, Files: 5, Bytes: 1 << 40, NewBytes: 100, Stored: 50,
		Warnings: []Warning{{Path: "/home/\xfe", Text: "permission denied", Item: true}}, Errors: 1, Warned: 1,
		User: "root", Program: "coffer 0.1.0", Excludes: []string{"*.tmp"},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for name, m := range map[string]*Manifest{"manifest": fullManifest(), "manifest-least": {Version: 1, State: Complete}} {
		b, err := EncodeManifest(m)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
		got, err := DecodeManifest(b)
		if err != nil || !reflect.DeepEqual(&got, m) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		for i := range b {
			if _, err := DecodeManifest(b[:i]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s cut at %d: %v", name, i, err)
			}
		}
		if _, err := DecodeManifest(append(b, 0)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
}

func TestManifestVersion(t *testing.T) {
	m := fullManifest()
	m.Version = 2
	if _, err := EncodeManifest(m); err == nil {
		t.Error("version 2 is encoded")
	}
	_, err := DecodeManifest([]byte{0xa2, 1, 2, 0x18, 99, 0})
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "use a newer coffer") {
		t.Errorf("version 2: %v", err)
	}
	m.Version = 0
	if b, err := EncodeManifest(m); err != nil {
		t.Error(err)
	} else if got, err := DecodeManifest(b); err != nil || got.Version != ManifestVersion {
		t.Errorf("version %d, %v", got.Version, err)
	}
}

func TestManifestBounds(t *testing.T) {
	m := fullManifest()
	m.Warnings = make([]Warning, MaxWarnings+5)
	b, err := EncodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeManifest(b); err != nil || len(got.Warnings) != MaxWarnings || len(m.Warnings) != MaxWarnings+5 {
		t.Errorf("%d warnings kept, %v", len(got.Warnings), err)
	}
	m.State = 4
	if _, err := EncodeManifest(m); err == nil {
		t.Error("state 4 is encoded")
	}
}

const someID, otherID = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"

func TestManifestOrigin(t *testing.T) {
	held := fullManifest()
	held.Original, held.Rewrote = someID, otherID
	held.Hold = &Hold{Reason: "audit\xff", Until: Time{Sec: 1800000000}, By: "root@web", Added: Time{Sec: 1795132800, Nsec: 5}}
	least := &Manifest{Version: 1, State: Complete, Original: someID, Hold: &Hold{}}
	for name, m := range map[string]*Manifest{"manifest-hold": held, "manifest-hold-least": least} {
		b, err := EncodeManifest(m)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
		got, err := DecodeManifest(b)
		if err != nil || !reflect.DeepEqual(&got, m) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		for i := range b {
			if _, err := DecodeManifest(b[:i]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s cut at %d: %v", name, i, err)
			}
		}
	}
}

func TestManifestOriginBounds(t *testing.T) {
	for name, breakIt := range map[string]func(*Manifest){
		"short id":     func(m *Manifest) { m.Original = someID[1:] },
		"long id":      func(m *Manifest) { m.Rewrote = someID + "0" },
		"upper case":   func(m *Manifest) { m.Original = strings.ToUpper(someID) },
		"no digit":     func(m *Manifest) { m.Rewrote = "x" + someID[1:] },
		"path":         func(m *Manifest) { m.Original = "../" + someID[3:] },
		"hold on none": func(m *Manifest) { m.Original = "" },
		"long reason":  func(m *Manifest) { m.Hold.Reason = strings.Repeat("a", maxHoldText+1) },
		"long by":      func(m *Manifest) { m.Hold.By = strings.Repeat("a", maxHoldText+1) },
		"until nsec":   func(m *Manifest) { m.Hold.Until.Nsec = 1e9 },
		"added nsec":   func(m *Manifest) { m.Hold.Added.Nsec = 1e9 },
	} {
		m := fullManifest()
		m.Original, m.Hold = someID, &Hold{}
		breakIt(m)
		if _, err := EncodeManifest(m); err == nil {
			t.Errorf("%s is encoded", name)
		}
		b, err := marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeManifest(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s is decoded: %v", name, err)
		}
	}
	null := append([]byte{0xb0}, mustEncode(t, &Manifest{State: Complete})[1:]...) // 15 fields, and one more
	if _, err := DecodeManifest(append(null, 0x18, 27, 0xf6)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a hold that is null is decoded: %v", err)
	}
}

func mustEncode(t testing.TB, m *Manifest) []byte {
	t.Helper()
	b, err := EncodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
