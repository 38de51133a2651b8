package snapshot

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/chunk"
)

// fullID makes an ID of a few digits.
func fullID(digits string) string { return digits + strings.Repeat("0", idDigits-len(digits)) }

// A commitOf is a commit of a snapshot for these tests.
type commitOf struct {
	id, of   string // of is "" for the first one
	received int64
	host     string
	asked    bool
	hold     string // its reason
	root     byte
}

func (c commitOf) record(t testing.TB) Record {
	m := Manifest{State: Complete, Host: c.host, Received: Time{Sec: c.received}, Effective: Time{Sec: 7}, Root: chunk.ID{c.root}}
	if c.of != "" {
		m.Original = fullID(c.of)
	}
	if c.hold != "" {
		m.Hold = &Hold{Reason: c.hold}
	}
	return Record{ID: fullID(c.id), Payload: mustEncode(t, &m), Asked: c.asked}
}

// collected shows snapshots in short: id host [records] [holds] [asked] state.
func collected(t *testing.T, commits ...commitOf) (string, error) {
	t.Helper()
	var records []Record
	for _, c := range commits {
		records = append(records, c.record(t))
	}
	short := func(id string) string { return strings.TrimRight(id, "0") }
	var want string
	var wantErr error
	for i := range 20 { // in any order
		rand.New(rand.NewPCG(uint64(i), 1)).Shuffle(len(records), func(a, b int) { records[a], records[b] = records[b], records[a] })
		all, err := Collect(records, nil)
		var out []string
		for _, s := range all {
			text := short(s.ID) + " " + s.Host
			for _, list := range [][]string{s.Records, s.Asked} {
				text += " ["
				for _, id := range list {
					text += short(id)
				}
				text += "]"
			}
			for _, h := range s.Holds {
				text += " " + short(h.Record) + "=" + h.Reason
			}
			if s.Forgotten {
				text += " forgotten"
			}
			if s.Present() {
				text += " present"
			}
			if s.Original != "" || s.Hold != nil {
				t.Errorf("%s has what belongs to one of its commits: %+v", s.ID, s)
			}
			out = append(out, text)
		}
		got := strings.Join(out, ", ")
		if i > 0 && (got != want || fmt.Sprint(err) != fmt.Sprint(wantErr)) {
			t.Errorf("the order of records counts:\n%s, %v\n%s, %v", got, err, want, wantErr)
		}
		want, wantErr = got, err
	}
	return want, wantErr
}

func TestCollect(t *testing.T) {
	for name, c := range map[string]struct {
		commits []commitOf
		want    string
	}{
		"none":      {nil, ""},
		"one":       {[]commitOf{{id: "a", host: "x"}}, "a x [a] [] present"},
		"forgotten": {[]commitOf{{id: "a", host: "x", asked: true}}, "a x [] [a] forgotten"},
		"undeleted": {[]commitOf{{id: "a", host: "x", asked: true, received: 9}, {id: "1", of: "a", host: "y"}}, "a y [1] [a] present"},
		"newest":    {[]commitOf{{id: "a", host: "x", received: 5}, {id: "b", of: "a", host: "y", received: 6}}, "a y [ba] [] present"},
		"equal age": {[]commitOf{{id: "a", host: "x"}, {id: "b", of: "a", host: "y"}}, "a y [ba] [] present"},
		"held":      {[]commitOf{{id: "a", host: "x"}, {id: "b", of: "a", host: "h", hold: "r", received: 9}}, "a x [a] [] b=r present"},
		"held and forgotten": {[]commitOf{{id: "a", host: "x", asked: true}, {id: "b", of: "a", host: "h", hold: "r", received: 9}},
			"a x [] [a] b=r forgotten present"},
		"only holds": {[]commitOf{{id: "b", of: "a", host: "h", hold: "r"}, {id: "c", of: "a", host: "i", hold: "q", received: 1}},
			"a i [] [] c=q b=r forgotten present"},
		"released and pruned": {[]commitOf{{id: "b", of: "a", host: "h", hold: "r", asked: true}}, "a h [] [b] forgotten"},
		"released":            {[]commitOf{{id: "a", host: "x"}, {id: "b", of: "a", host: "h", hold: "r", asked: true}}, "a x [a] [b] present"},
		"two snapshots":       {[]commitOf{{id: "b", host: "x"}, {id: "a", host: "y"}}, "a y [a] [] present, b x [b] [] present"},
		"original is gone":    {[]commitOf{{id: "b", of: "a", host: "y"}}, "a y [b] [] present"},
	} {
		if got, err := collected(t, c.commits...); err != nil || got != c.want {
			t.Errorf("%s: %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

// TestCollectImpostor: nobody can put another tree in the place of a snapshot.
func TestCollectImpostor(t *testing.T) {
	got, err := collected(t, commitOf{id: "a", host: "x"}, commitOf{id: "b", of: "a", host: "evil", received: 99, root: 1},
		commitOf{id: "c", of: "a", host: "y", received: 5})
	if got != "a y [ca] [] present" || err == nil || !strings.Contains(err.Error(), "read commit b000") {
		t.Errorf("%s, %v", got, err)
	}
	got, err = collected(t, commitOf{id: "b", of: "a", host: "evil", received: 99, root: 1}, commitOf{id: "c", of: "a", host: "y", received: 5})
	if got != "a y [c] [] present" || err == nil {
		t.Errorf("without the first one: %s, %v", got, err)
	}
}

func TestCollectDamaged(t *testing.T) {
	var records []Record
	for i := range 100 {
		r := commitOf{id: fmt.Sprintf("%02x", i+1), host: "x"}.record(t)
		if i%2 == 1 {
			r.Payload = r.Payload[:len(r.Payload)-1]
		}
		records = append(records, r)
	}
	all, err := Collect(records, nil)
	if len(all) != 50 || err == nil || !strings.Contains(err.Error(), records[1].ID) || !strings.Contains(err.Error(), "30 more") {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
	for _, s := range all {
		if strings.Contains(err.Error(), s.ID) {
			t.Errorf("the good one %s is named", s.ID)
		}
	}
}

func TestPresent(t *testing.T) {
	all := []Snapshot{{ID: "a"}, {ID: "b", Forgotten: true}, {ID: "c", Forgotten: true, Holds: []Held{{}}}, {ID: "d", Holds: []Held{{}}}}
	var got []string
	for _, s := range Present(all) {
		got = append(got, s.ID)
	}
	if !reflect.DeepEqual(got, []string{"a", "c", "d"}) {
		t.Error(got)
	}
}

func TestHeldEnded(t *testing.T) {
	now := time.Unix(1000, 5)
	for until, want := range map[Time]bool{{}: false, {Sec: 1000, Nsec: 5}: true, {Sec: 1000, Nsec: 6}: false, {Sec: -1}: true} {
		if got := (Held{Hold: Hold{Until: until}}).Ended(now); got != want {
			t.Errorf("until %v: %v", until, got)
		}
	}
}

func TestCollectAppliesNotes(t *testing.T) {
	m := Manifest{State: Complete, Tags: []string{"z", "a"}}
	var records []Record
	for _, id := range []string{"a", "b", "c"} {
		records = append(records, Record{ID: fullID(id), Payload: mustEncode(t, &m)})
	}
	on := func(id string, sec int64, noteID string, n Note) Note {
		n.Snapshot, n.Time, n.ID = fullID(id), Time{Sec: sec}, noteID
		return n
	}
	notes := []Note{
		on("a", 9, "1", Note{Remove: []string{"late"}}),
		on("a", 5, "1", Note{Add: []string{"late", "m"}, Remove: []string{"z"}}),
		on("b", 5, "2", Note{Set: true, Add: []string{"second"}}),
		on("b", 5, "1", Note{Set: true, Add: []string{"first"}}),
		on("e", 5, "1", Note{Add: []string{"nobody"}}),
		{ID: "7", Kind: 99, Snapshot: fullID("c"), Add: []string{"unknown"}},
	}
	all, err := Collect(records, notes)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"[a m]", "[second]", "[z a]"} {
		if got := fmt.Sprint(all[i].Tags); got != want {
			t.Errorf("%s has %s, want %s", all[i].ID, got, want)
		}
	}
	if !slices.Equal(m.Tags, []string{"z", "a"}) {
		t.Error(m.Tags)
	}
}

func BenchmarkCollect(b *testing.B) {
	m := fullManifest()
	records := make([]Record, 100_000)
	for i := range records {
		m.Sequence, m.Effective.Sec = uint64(i), int64(i)
		records[i] = Record{ID: fmt.Sprintf("%032x", i), Payload: mustEncode(b, m)}
	}
	for b.Loop() {
		if all, err := Collect(records, nil); err != nil || len(all) != len(records) {
			b.Fatal(err)
		}
	}
}
