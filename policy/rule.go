package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A rule keeps some of the complete items of a group, which come newest first.
type rule interface {
	apply(group []*Decision)
	String() string
}

// counted keeps the newest item of each of the last periods.
type counted struct {
	limit int // negative: all
	per   calendar
	zone  *time.Location
}

func (c counted) apply(group []*Decision) {
	n := 0
	for d, oldest := range c.per.newest(group, c.zone) {
		if n == c.limit {
			return
		}
		n++
		d.keep(c.reason(n, oldest))
	}
}

func (c counted) reason(n int, oldest bool) Reason {
	why := string(c.per)
	if c.limit > 0 {
		why = fmt.Sprintf("%s %d of %d", c.per, n, c.limit)
	}
	return called(why, oldest)
}

func (c counted) String() string {
	if c.limit < 0 {
		return "all " + string(c.per)
	}
	return fmt.Sprintf("%s %d", c.per, c.limit)
}

// within keeps the newest item of each period among those less than a span older
// than the newest of all. What is exactly the span older is out, so that a backup
// each night and "within 7d" make seven.
type within struct {
	span Span
	per  calendar
	zone *time.Location
}

func (w within) apply(group []*Decision) {
	if len(group) == 0 {
		return
	}
	since := w.span.Before(group[0].Time.In(w.zone))
	for d, oldest := range w.per.newest(group, w.zone) {
		if !d.Time.After(since) {
			return
		}
		d.keep(called(w.String(), oldest))
	}
}

func (w within) String() string {
	if w.per == each {
		return "within " + w.span.String()
	}
	return string(w.per) + " within " + w.span.String()
}

// called marks what is kept only for being the oldest.
func called(why string, oldest bool) Reason {
	if oldest {
		why = "oldest, " + why
	}
	return Reason(why)
}

// tagged keeps what has all these tags.
type tagged []string

func (t tagged) apply(group []*Decision) {
	for _, d := range group {
		if !slices.ContainsFunc(t, func(tag string) bool { return !slices.Contains(d.Tags, tag) }) {
			d.keep(Reason(t.String()))
		}
	}
}

func (t tagged) String() string {
	if len(t) == 0 {
		return "any tag" // no tag is asked for, hence all items have them all
	}
	return "tag " + strings.Join(t, " and ")
}
