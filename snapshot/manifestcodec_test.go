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
