package policy

import (
	"strings"
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]Span{
		"2y5m7d3h":   {Years: 2, Months: 5, Days: 7, Hours: 3},
		"90d":        {Days: 90},
		"36h":        {Hours: 36},
		"2w":         {Weeks: 2},
		"3h1y":       {Years: 1, Hours: 3},
		"0y007d":     {Days: 7},
		"1y1m1w1d":   {Years: 1, Months: 1, Weeks: 1, Days: 1},
		"999999h":    {Hours: 999_999},
		"12m999999y": {Years: 999_999, Months: 12},
	} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                        "such as 2y5m7d3h or 90d",
		"7":                       "such as 2y5m7d3h or 90d",
		"d":                       "such as 2y5m7d3h or 90d",
		"7d3":                     "such as 2y5m7d3h or 90d",
		"7 d":                     "such as 2y5m7d3h or 90d",
		" 7d":                     "such as 2y5m7d3h or 90d",
		"-7d":                     "such as 2y5m7d3h or 90d",
		"+7d":                     "such as 2y5m7d3h or 90d",
		"1.5d":                    "such as 2y5m7d3h or 90d",
		"7D":                      "such as 2y5m7d3h or 90d",
		"90s":                     "such as 2y5m7d3h or 90d",
		"7ä":                      "such as 2y5m7d3h or 90d",
		"٣d":                      "such as 2y5m7d3h or 90d",
		"1d2d":                    "says d twice",
		"0d":                      "no length",
		"0y0m":                    "no length",
		"1000000h":                "over 999999",
		"99999999999999999999d":   "over 999999",
		"1d99999999999999999999y": "over 999999",
	} {
		if got, err := ParseSpan(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestSpanBefore(t *testing.T) {
	for _, test := range []struct{ from, span, want string }{
		{"2026-03-31T12:30", "1m", "2026-02-28T12:30"},
		{"2024-03-31T12:30", "1m", "2024-02-29T12:30"},
		{"2024-02-29", "1y", "2023-02-28"},
		{"2026-01-15", "1m", "2025-12-15"},
		{"2026-01-15", "25m", "2023-12-15"},
		{"2026-01-31", "2m1d", "2025-11-29"}, // the month first, then the day
		{"2026-03-01", "1d", "2026-02-28"},
		{"2026-03-01", "2w", "2026-02-15"},
		{"2026-03-01T10:00", "36h", "2026-02-27T22:00"},
		{"2026-06-09T04:00", "2y5m7d3h", "2024-01-02T01:00"},
	} {
		span, err := ParseSpan(test.span)
		if err != nil {
			t.Fatal(err)
		}
		if got := span.Before(at(t, test.from)); !got.Equal(at(t, test.want)) {
			t.Errorf("%s before %s: %v, want %s", test.span, test.from, got, test.want)
		}
	}
}

func TestParseCount(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "7": 7, "-1": All, "all": All, "unlimited": All} {
		if got, err := ParseCount(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-2", "7d", "1e3", "1000000", "99999999999999999999"} {
		if got, err := ParseCount(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, text := range []string{"2y5m7d3h", "90d", "36h", "2w", "", "7", "1d2d", "0d", "999999y999999m999999w999999d999999h"} {
		f.Add(text, int64(1774958400))
	}
	f.Fuzz(func(t *testing.T, text string, sec int64) {
		s, err := ParseSpan(text)
		if err != nil {
			if s != (Span{}) {
				t.Errorf("%q: %+v along with %v", text, s, err)
			}
			return
		}
		again, err := ParseSpan(s.String())
		if err != nil || again != s {
			t.Errorf("%q: %q reads %+v, %v, want %+v", text, s, again, err, s)
		}
		from := time.Unix(sec%(1<<36), 0).UTC()
		if got := s.Before(from); !got.Before(from) {
			t.Errorf("%q before %v is %v", text, from, got)
		}
	})
}
