package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that zones are there on any machine
)

// far is after all items of the tables.
var far = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if when, err := time.Parse(layout, text); err == nil {
			return when
		}
	}
	t.Fatalf("%q is no time", text)
	return time.Time{}
}

// parse reads items, one a line: ID, time, and words that say more.
func parse(t *testing.T, text string) []Item {
	t.Helper()
	var items []Item
	for line := range strings.Lines(strings.TrimSpace(text)) {
		f := strings.Fields(line)
		it := Item{ID: f[0], Group: "g", Host: "h", Name: "n", Time: at(t, f[1])}
		for _, word := range f[2:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "held":
				it.Held = true
			case "incomplete":
				it.Incomplete = true
			case "group":
				it.Group = value
			case "host":
				it.Host = value
			case "name":
				it.Name = value
			case "tags":
				it.Tags = strings.Split(value, ",")
			case "seq":
				if _, err := fmt.Sscan(value, &it.Sequence); err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("%q: what is %q?", line, word)
			}
		}
		items = append(items, it)
	}
	return items
}

func show(decisions []Decision) string {
	var b strings.Builder
	for _, d := range decisions {
		verb := "drop"
		if d.Keep {
			verb = "keep"
		}
		var reasons []string
		for _, r := range d.Reasons {
			reasons = append(reasons, string(r))
		}
		fmt.Fprintf(&b, "%s %s: %s\n", d.ID, verb, strings.Join(reasons, "; "))
	}
	return strings.TrimSpace(b.String())
}

func trim(text string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestApply(t *testing.T) {
	// The example of restic's forum, thread 6243: two on one day, a day without.
	days := `
		a1 2026-05-01T08:00
		a2 2026-05-02T08:00
		a3 2026-05-02T11:00
		a4 2026-05-04T09:00
		a5 2026-05-05T10:00`
	nights := `
		n1 2026-03-01T02:00
		n2 2026-03-02T02:00
		n3 2026-03-03T02:00
		n4 2026-03-04T02:00`
	tests := []struct {
		name  string
		items string
		rules Rules
		now   time.Time
		want  string
	}{
		{"last", days, Rules{Last: 2}, far, `
			a1 drop: no rule keeps it
			a2 drop: no rule keeps it
			a3 drop: no rule keeps it
			a4 keep: last 2 of 2
			a5 keep: last 1 of 2; the last good one`},
		{"days without items do not count", days, Rules{Daily: 4}, far, `
			a1 keep: daily 4 of 4
			a2 drop: no rule keeps it
			a3 keep: daily 3 of 4
			a4 keep: daily 2 of 4
			a5 keep: daily 1 of 4; the last good one`},
		{"and in a span they do", days, Rules{WithinDaily: Span{Days: 4}}, far, `
			a1 drop: no rule keeps it
			a2 drop: no rule keeps it
			a3 keep: daily within 4d
			a4 keep: daily within 4d
			a5 keep: daily within 4d; the last good one`},
		{"each rule counts alone", days, Rules{Last: 2, Daily: 2, Yearly: 1}, far, `
			a1 drop: no rule keeps it
			a2 drop: no rule keeps it
			a3 drop: no rule keeps it
			a4 keep: last 2 of 2; daily 2 of 2
			a5 keep: last 1 of 2; daily 1 of 2; yearly 1 of 1; the last good one`},
		{"all", days, Rules{Daily: All}, far, `
			a1 keep: daily
			a2 drop: no rule keeps it
			a3 keep: daily
			a4 keep: daily
			a5 keep: daily; the last good one`},
		{"no rules", "a 2026-05-01\nb 2026-05-02 incomplete\nc 2026-05-03 held", Rules{}, far, `
			a keep: no rules
			b keep: no rules
			c keep: held; no rules`},
		{"nothing", "", Rules{}, far, ""},

		// restic's issue 4806: all three stay, and now it says why.
		{"the oldest while hours are missing", `
			a 2024-05-17T09:36
			b 2024-05-17T09:41
			c 2024-05-17T10:02`, Rules{Hourly: 24}, far, `
			a keep: oldest, hourly 3 of 24
			b keep: hourly 2 of 24
			c keep: hourly 1 of 24; the last good one`},
		{"but not beyond the count", `
			a 2024-05-17T09:36
			b 2024-05-17T09:41
			c 2024-05-17T10:02`, Rules{Hourly: 2}, far, `
			a drop: no rule keeps it
			b keep: hourly 2 of 2
			c keep: hourly 1 of 2; the last good one`},
		{"the oldest in a span", days, Rules{WithinMonthly: Span{Months: 2}}, far, `
			a1 keep: oldest, monthly within 2m
			a2 drop: no rule keeps it
			a3 drop: no rule keeps it
			a4 drop: no rule keeps it
			a5 keep: monthly within 2m; the last good one`},
		{"the oldest is a complete one", `
			a 2026-05-01T08:00 incomplete
			b 2026-05-01T09:00
			c 2026-05-01T10:00
			d 2026-05-01T11:00`, Rules{Daily: 7}, far, `
			a drop: incomplete, a complete one follows
			b keep: oldest, daily 2 of 7
			c drop: no rule keeps it
			d keep: daily 1 of 7; the last good one`},

		// 29 December 2024 is the Sunday of week 52, the next six days are of
		// week 1; 3 January 2021 is the Sunday of week 53 of 2020.
		{"ISO weeks", `
			w53a 2020-12-31
			w53b 2021-01-03
			w1   2021-01-04
			w52  2024-12-29
			w1a  2024-12-30
			w1b  2025-01-05`, Rules{Weekly: 4}, far, `
			w53a drop: no rule keeps it
			w53b keep: weekly 4 of 4
			w1 keep: weekly 3 of 4
			w52 keep: weekly 2 of 4
			w1a drop: no rule keeps it
			w1b keep: weekly 1 of 4; the last good one`},
		{"months and years", `
			a 2024-02-29T23:59
			b 2025-02-01
			c 2025-02-28
			d 2025-12-31T23:59
			e 2026-01-01`, Rules{Monthly: 3, Yearly: 2}, far, `
			a drop: no rule keeps it
			b drop: no rule keeps it
			c keep: monthly 3 of 3
			d keep: monthly 2 of 3; yearly 2 of 2
			e keep: monthly 1 of 3; yearly 1 of 2; the last good one`},

		{"a span begins at the newest, and its end is out", nights, Rules{Within: Span{Days: 2}}, far, `
			n1 drop: no rule keeps it
			n2 drop: no rule keeps it
			n3 keep: within 2d
			n4 keep: within 2d; the last good one`},
		{"a month back from the 31st", `
			a 2026-02-28T12:00
			b 2026-02-28T12:01
			c 2026-03-02T12:00
			d 2026-03-31T12:00`, Rules{Within: Span{Months: 1}}, far, `
			a drop: no rule keeps it
			b keep: within 1m
			c keep: within 1m
			d keep: within 1m; the last good one`},
		{"an incomplete one does not move the span", `
			a 2026-03-01T02:00
			b 2026-03-02T02:00
			c 2026-03-09T02:00 incomplete`, Rules{Within: Span{Days: 2}}, far, `
			a keep: within 2d
			b keep: within 2d; the last good one
			c keep: incomplete, newer than any complete one`},

		{"tags", `
			a 2026-01-01 tags=keep,x
			b 2026-01-02 tags=x,year
			c 2026-01-03 tags=x
			d 2026-01-04 tags=keep incomplete
			e 2026-01-05`, Rules{Tags: [][]string{{"keep"}, {"year", "x"}}}, far, `
			a keep: tag keep
			b keep: tag year and x
			c drop: no rule keeps it
			d drop: incomplete, a complete one follows
			e keep: the last good one`},
		{"an empty list asks for no tag", "a 2026-01-01\nb 2026-01-02", Rules{Tags: [][]string{{}}}, far, `
			a keep: any tag
			b keep: any tag; the last good one`},

		{"held", `
			a 2026-01-01 held
			b 2026-01-02 held incomplete
			c 2026-01-03 held
			d 2026-01-04`, Rules{Last: 2}, far, `
			a keep: held
			b keep: held
			c keep: held; last 2 of 2
			d keep: last 1 of 2; the last good one`},

		{"incomplete ones", `
			a 2026-01-01 incomplete
			b 2026-01-02
			c 2026-01-03 incomplete
			d 2026-01-17 incomplete
			e 2026-01-17T00:01 incomplete`, Rules{Last: 1}, far, `
			a drop: incomplete, a complete one follows
			b keep: last 1 of 1; the last good one
			c drop: incomplete, 14 days older than the newest
			d keep: incomplete, newer than any complete one
			e keep: incomplete, newer than any complete one`},
		{"a host that never succeeds, a year later", `
			a 2026-01-01 incomplete
			b 2026-01-01T00:01 incomplete
			c 2026-01-15T00:01 incomplete`, Rules{Last: 1}, far, `
			a drop: incomplete, 14 days older than the newest
			b keep: incomplete, newer than any complete one
			c keep: incomplete, newer than any complete one`},
		{"no host's try is replaced by another's", `
			a 2026-01-01 host=x incomplete
			b 2026-01-02 host=y
			c 2026-01-03 host=y name=z incomplete
			d 2026-01-04 host=y
			e 2026-06-01 host=y`, Rules{Last: 1}, far, `
			a keep: incomplete, newer than any complete one
			b drop: no rule keeps it
			c keep: incomplete, newer than any complete one
			d drop: no rule keeps it
			e keep: last 1 of 1; the last good one`},
		{"nor by one of another group", `
			a 2026-01-01 group=/etc incomplete
			b 2026-01-02 group=/home`, Rules{Last: 1}, far, `
			a keep: incomplete, newer than any complete one
			b keep: last 1 of 1; the last good one`},

		{"the last good one of each host and name, in one group", `
			a 2026-01-01 host=x
			b 2026-01-02 host=x
			c 2026-01-03 host=x name=db
			d 2026-01-04 host=y
			e 2026-01-05 host=z incomplete`, Rules{Last: 1}, far, `
			a drop: no rule keeps it
			b keep: the last good one
			c keep: the last good one
			d keep: last 1 of 1; the last good one
			e keep: incomplete, newer than any complete one`},
		{"one host and name in two groups", `
			a 2026-01-03 group=/etc
			b 2026-01-02 group=/home
			c 2026-01-04 group=/home`, Rules{Tags: [][]string{{"x"}}}, far, `
			a drop: no rule keeps it
			b drop: no rule keeps it
			c keep: the last good one`},

		{"what is ahead counts for nothing", nights + `
			z8 2038-01-01 incomplete
			z9 2038-01-02`, Rules{Last: 1, Within: Span{Days: 2}}, at(t, "2026-03-04T02:00"), `
			n1 drop: no rule keeps it
			n2 drop: no rule keeps it
			n3 keep: within 2d
			n4 keep: last 1 of 1; within 2d; the last good one
			z8 keep: dated in the future
			z9 keep: dated in the future`},
		{"a clock without battery drops nothing", nights, Rules{Last: 1}, time.Unix(0, 0), `
			n1 keep: dated in the future
			n2 keep: dated in the future
			n3 keep: dated in the future
			n4 keep: dated in the future`},

		{"equal times: sequence, then ID", `
			b 2026-01-01 seq=2
			c 2026-01-01 seq=1
			a 2026-01-01 seq=2`, Rules{Last: 2}, far, `
			c drop: no rule keeps it
			a keep: last 2 of 2
			b keep: last 1 of 2; the last good one`},
		{"an incomplete one at the moment of a complete one", `
			a 2026-01-01 seq=1 incomplete
			b 2026-01-01 seq=2
			c 2026-01-01 seq=3 incomplete`, Rules{Last: 1}, far, `
			a drop: incomplete, a complete one follows
			b keep: last 1 of 1; the last good one
			c keep: incomplete, newer than any complete one`},

		{"days of UTC", "a 2026-01-10T22:30\nb 2026-01-10T23:30\nc 2026-01-11T22:59", Rules{Daily: 2}, far, `
			a drop: no rule keeps it
			b keep: daily 2 of 2
			c keep: daily 1 of 2; the last good one`},
		{"days of Berlin", "a 2026-01-10T22:30\nb 2026-01-10T23:30\nc 2026-01-11T22:59",
			Rules{Daily: 2, Zone: zone(t, "Europe/Berlin")}, far, `
			a keep: daily 2 of 2
			b drop: no rule keeps it
			c keep: daily 1 of 2; the last good one`},
		{"the hour that comes twice", "a 2026-10-25T00:10\nb 2026-10-25T00:30\nc 2026-10-25T01:30",
			Rules{Hourly: 2, Zone: zone(t, "Europe/Berlin")}, far, `
			a drop: no rule keeps it
			b keep: hourly 2 of 2
			c keep: hourly 1 of 2; the last good one`},
		// Clocks went from 00:01 back to 23:01: local days 28, 29, 28, 29.
		{"the day that comes twice", `
			a 2006-10-29T01:00
			b 2006-10-29T02:30:30
			c 2006-10-29T02:45
			d 2006-10-29T03:45`, Rules{Daily: 3, Zone: zone(t, "America/St_Johns")}, far, `
			a keep: oldest, daily 3 of 3
			b drop: no rule keeps it
			c keep: daily 2 of 3
			d keep: daily 1 of 3; the last good one`},
		// A week before 1 April, 01:30 UTC, 03:30 in Berlin, is 02:30 UTC.
		{"a span of local days", "a 2026-03-25T02:29\nb 2026-03-25T02:31\nc 2026-04-01T01:30",
			Rules{Within: Span{Weeks: 1}, Zone: zone(t, "Europe/Berlin")}, far, `
			a drop: no rule keeps it
			b keep: within 1w
			c keep: within 1w; the last good one`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := show(Apply(parse(t, test.items), test.rules, test.now))
			if want := trim(test.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Seven nights of a week and a stopped host: whenever somebody looks, the same.
func TestStoppedHostLosesNothing(t *testing.T) {
	var items []Item
	for i := range 7 {
		items = append(items, Item{ID: string(rune('a' + i)), Host: "h", Time: time.Date(2026, 1, 1+i, 2, 0, 0, 0, time.UTC)})
	}
	rules := Rules{Within: Span{Days: 7}, Daily: 7}
	for _, now := range []time.Time{items[6].Time, items[6].Time.AddDate(3, 0, 0), far} {
		for _, d := range Apply(items, rules, now) {
			if !d.Keep {
				t.Errorf("at %v, %s of %v is dropped: %v", now, d.ID, d.Time, d.Reasons)
			}
		}
	}
}

func TestApplyLeavesItsInputAlone(t *testing.T) {
	items := parse(t, "b 2026-01-02\na 2026-01-01")
	Apply(items, Rules{Last: 1}, far)
	if items[0].ID != "b" || items[1].ID != "a" {
		t.Errorf("items are in the order %s, %s", items[0].ID, items[1].ID)
	}
}

func TestRulesString(t *testing.T) {
	for _, test := range []struct {
		rules Rules
		want  string
		empty bool
	}{
		{Rules{}, "no rules", true},
		{Rules{Zone: zone(t, "Europe/Berlin")}, "no rules", true},
		{Rules{Last: 3, Daily: 7}, "last 3, daily 7", false},
		{Rules{Hourly: All, Weekly: -7, Monthly: 12, Yearly: 1}, "all hourly, all weekly, monthly 12, yearly 1", false},
		{Rules{Within: Span{Days: 30}, WithinHourly: Span{Hours: 36}, WithinYearly: Span{Years: 5, Months: 6}},
			"within 30d, hourly within 36h, yearly within 5y6m", false},
		{Rules{Tags: [][]string{{"keep"}, {"a", "b"}}}, "tag keep, tag a and b", false},
		{Rules{Daily: 7, Zone: zone(t, "Europe/Berlin")}, "daily 7 (Europe/Berlin)", false},
	} {
		if got := test.rules.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if test.rules.Empty() != test.empty {
			t.Errorf("%s: empty is %t", test.want, !test.empty)
		}
	}
}
