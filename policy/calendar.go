package policy

import (
	"iter"
	"time"
)

// A calendar cuts time into periods.
type calendar string

const (
	each    calendar = "last" // no periods: every item counts
	hourly  calendar = "hourly"
	daily   calendar = "daily"
	weekly  calendar = "weekly" // ISO 8601
	monthly calendar = "monthly"
	yearly  calendar = "yearly"
)

// A period is equal for two moments that are in the same one.
type period [5]int

func (c calendar) period(t time.Time) period {
	switch c {
	case hourly:
		// In autumn an hour of the wall clock comes twice: the offset tells them apart.
		_, offset := t.Zone()
		return period{t.Year(), int(t.Month()), t.Day(), t.Hour(), offset}
	case daily:
		return period{t.Year(), int(t.Month()), t.Day()}
	case weekly:
		y, w := t.ISOWeek()
		return period{y, w}
	case monthly:
		return period{t.Year(), int(t.Month())}
	default:
		return period{t.Year()}
	}
}

// newest yields the newest item of each period of a group that comes newest
// first, and at the end the oldest of all where that is not the newest of its own.
func (c calendar) newest(group []*Decision, zone *time.Location) iter.Seq2[*Decision, bool] {
	return func(yield func(d *Decision, oldest bool) bool) {
		// A set, and not the last one seen: clocks that are put back at
		// midnight return to the day before.
		seen := map[period]bool{}
		for i, d := range group {
			known := false
			if c != each {
				p := c.period(d.Time.In(zone))
				known = seen[p]
				seen[p] = true
			}
			if (!known || i == len(group)-1) && !yield(d, known) {
				return
			}
		}
	}
}
