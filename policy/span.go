package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Span is a length of time by the calendar: a month is as long as that month
// is. Its numbers are not negative.
type Span struct {
	Years, Months, Weeks, Days, Hours int
}

// maxNumber keeps every sum far from overflow.
const maxNumber = 999_999

// ParseSpan reads numbers with units, such as "2y5m7d3h", "90d", "2w" or "36h".
// The units are y, m, w, d and h, each at most once, in any order; m is months.
func ParseSpan(text string) (Span, error) {
	var s Span
	used := ""
	for rest := text; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return Span{}, noSpan(text)
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > maxNumber {
			return Span{}, fmt.Errorf("%q is no span: %s is over %d", text, rest[:digits], maxNumber)
		}
		unit := rest[digits : digits+1]
		field := s.field(unit)
		if field == nil {
			return Span{}, noSpan(text)
		}
		if strings.Contains(used, unit) {
			return Span{}, fmt.Errorf("%q is no span: it says %s twice", text, unit)
		}
		*field = n
		used += unit
		rest = rest[digits+1:]
	}
	if used == "" {
		return Span{}, noSpan(text)
	}
	// A rule that reads as if it kept something, and is none, is a slip.
	if s.IsZero() {
		return Span{}, fmt.Errorf("%q is a span of no length: leave the rule out instead", text)
	}
	return s, nil
}

func noSpan(text string) error {
	return fmt.Errorf("%q is no span: write numbers with y, m (months), w, d or h, such as 2y5m7d3h or 90d", text)
}

func (s *Span) field(unit string) *int {
	switch unit {
	case "y":
		return &s.Years
	case "m":
		return &s.Months
	case "w":
		return &s.Weeks
	case "d":
		return &s.Days
	case "h":
		return &s.Hours
	}
	return nil
}

// IsZero reports whether s has no length, which in Rules means no rule.
func (s Span) IsZero() bool { return s == Span{} }

// String writes what ParseSpan reads.
func (s Span) String() string {
	var b strings.Builder
	for _, unit := range []string{"y", "m", "w", "d", "h"} {
		if n := *s.field(unit); n != 0 {
			b.WriteString(strconv.Itoa(n) + unit)
		}
	}
	if b.Len() == 0 {
		return "0h"
	}
	return b.String()
}

// Before returns the moment that is s before t, by the calendar of t's zone. The
// day is that of t or, in a shorter month, its last: one month before 31 March is
// the end of February and not, as time.AddDate has it, the start of March.
func (s Span) Before(t time.Time) time.Time {
	first := time.Date(t.Year()-s.Years, t.Month()-time.Month(s.Months), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	hour, minute, second := t.Clock()
	return time.Date(first.Year(), first.Month(), min(t.Day(), last)-7*s.Weeks-s.Days,
		hour, minute, second, t.Nanosecond(), t.Location()).Add(-time.Duration(s.Hours) * time.Hour)
}

// ParseCount reads how many a rule keeps: a number, or "all" or "unlimited" for
// All.
func ParseCount(text string) (int, error) {
	if text == "all" || text == "unlimited" {
		return All, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < All || n > maxNumber {
		return 0, fmt.Errorf("%q is no count: write a number up to %d, or \"all\"", text, maxNumber)
	}
	return n, nil
}
