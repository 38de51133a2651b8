package policy

import (
	"strings"
	"time"
)

// All, as any negative count, sets no limit to a rule.
const All = -1

// Rules say what to keep; the zero value says nothing and keeps everything.
//
// Last keeps that many of the newest items. Hourly to Yearly keep the newest
// item of each of that many periods of the calendar, newest periods first;
// periods without an item do not count. Within keeps what is less than a span
// older than the newest item, and WithinHourly to WithinYearly the newest of each
// period in that span. Weeks are those of ISO 8601. Where a rule of periods has
// not found as many as it may keep, or its span reaches past the first item, it
// keeps the oldest item too, so that history grows to its full length instead of
// starting again in each period.
type Rules struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly                                 int
	Within, WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Span

	Tags [][]string     // an item that has all tags of one of these lists is kept
	Zone *time.Location // whose calendar; nil is UTC
}

// Empty reports whether there are no rules at all.
func (r Rules) Empty() bool { return len(r.list()) == 0 }

// String returns the rules as a person would list them: "last 3, daily 7,
// all yearly, within 30d, weekly within 1y, tag keep".
func (r Rules) String() string {
	var words []string
	for _, rule := range r.list() {
		words = append(words, rule.String())
	}
	if len(words) == 0 {
		return string(NoRules)
	}
	if r.Zone != nil && r.Zone != time.UTC {
		words[len(words)-1] += " (" + r.Zone.String() + ")"
	}
	return strings.Join(words, ", ")
}

// list returns the rules that are set, each of which keeps what it keeps
// whether or not the others are there.
func (r Rules) list() []rule {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	var list []rule
	for _, c := range []counted{
		{r.Last, each, zone}, {r.Hourly, hourly, zone}, {r.Daily, daily, zone},
		{r.Weekly, weekly, zone}, {r.Monthly, monthly, zone}, {r.Yearly, yearly, zone},
	} {
		if c.limit != 0 {
			list = append(list, c)
		}
	}
	for _, w := range []within{
		{r.Within, each, zone}, {r.WithinHourly, hourly, zone}, {r.WithinDaily, daily, zone},
		{r.WithinWeekly, weekly, zone}, {r.WithinMonthly, monthly, zone}, {r.WithinYearly, yearly, zone},
	} {
		if !w.span.IsZero() {
			list = append(list, w)
		}
	}
	for _, tags := range r.Tags {
		list = append(list, tagged(tags))
	}
	return list
}
