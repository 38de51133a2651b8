package snapshot

import (
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"coffer/chunk"
)

// readers is what the independent reader makes of the manifests in its input,
// one a line: what it thinks of each, and then the snapshots that they make.
const readers = `
import sys, types
sys.path.insert(0, "../testdata/reader")
import coffer_read
good = {}
for line in sys.stdin:
    id, payload = line.split()
    try:
        good[id] = coffer_read.manifest(id, bytes.fromhex(payload))
        print("good")
    except coffer_read.Damage as e:
        print("damaged", e)
for id, m in sorted(coffer_read.snapshots(types.SimpleNamespace(manifests=good, asked=set())).items()):
    print(id, m[2].decode())
`

// python runs the independent reader on records and returns its lines. Debian's
// packages that it needs are named in internal/golden.
func python(t *testing.T, records []Record) []string {
	t.Helper()
	var in strings.Builder
	for _, r := range records {
		fmt.Fprintf(&in, "%s %s\n", r.ID, hex.EncodeToString(r.Payload))
	}
	cmd := exec.Command("/usr/bin/python3", "-B", "-c", readers)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestReadersAgreeOnCommits: docs/format.md is enough to put snapshots together.
func TestReadersAgreeOnCommits(t *testing.T) {
	var records []Record
	for _, c := range []commitOf{
		{id: "a", host: "a1"},
		{id: "b", host: "b1"}, {id: "c", of: "b", host: "b2", received: 1}, {id: "d", of: "b", host: "held", hold: "r", received: 5},
		{id: "e", of: "f", host: "f1", hold: "old"}, {id: "9", of: "f", host: "f2", hold: "new", received: 4},
		{id: "8", of: "a", host: "evil", root: 1, received: 9},
	} {
		records = append(records, c.record(t))
	}
	var want []string
	for range records {
		want = append(want, "good")
	}
	all, err := Collect(records, nil)
	if err == nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, id := range []string{"a", "b", "f"} {
		for _, s := range all {
			if s.ID == fullID(id) {
				want = append(want, s.ID+" "+s.Host)
			}
		}
	}
	if got := python(t, records); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestReadersAgreeOnDamage(t *testing.T) {
	good := Manifest{Version: 1, State: Complete, Root: chunk.ID{1}, Original: someID, Rewrote: otherID, Hold: &Hold{Reason: "r", By: "b"}}
	var records []Record
	for _, breakIt := range []func(*Manifest){
		func(m *Manifest) { m.Original = someID[1:] },
		func(m *Manifest) { m.Original = strings.ToUpper(someID) },
		func(m *Manifest) { m.Rewrote = otherID + "0" },
		func(m *Manifest) { m.Original = "" },
		func(m *Manifest) { m.Hold.Until.Nsec = 1e9 },
		func(m *Manifest) { m.Hold.Reason = strings.Repeat("a", maxHoldText+1) },
	} {
		m := good
		hold := *good.Hold
		m.Hold = &hold
		breakIt(&m)
		b, err := marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, Record{ID: someID, Payload: b})
	}
	got := python(t, append(records, Record{ID: someID, Payload: mustEncode(t, &good)}))
	for i, r := range records {
		if _, err := DecodeManifest(r.Payload); err == nil || !strings.HasPrefix(got[i], "damaged") {
			t.Errorf("%x: %v, and the other reader: %s", r.Payload, err, got[i])
		}
	}
	if last := got[len(records)]; last != "good" {
		t.Errorf("a good hold: %s", last)
	}
}
