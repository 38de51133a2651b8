package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// rounds is how many random histories each property is tried on.
const rounds = 4000

// try runs the property on random sources, and names the one that breaks it.
func try(t *testing.T, property func(t *testing.T, r *rand.Rand)) {
	n := uint64(rounds)
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		property(t, rand.New(rand.NewPCG(seed, 39)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// history makes up to 40 items, some at equal times, over days or years.
func history(r *rand.Rand) []Item {
	minutes := []int{60 * 24 * 5, 60 * 24 * 90, 60 * 24 * 365 * 4}[r.IntN(3)]
	start := time.Date(2023, 12, 20, 0, 0, 0, 0, time.UTC)
	var items []Item
	for i := range r.IntN(41) {
		it := Item{
			ID:    fmt.Sprintf("%03d", i),
			Group: strconv.Itoa(r.IntN(2)),
			Host:  strconv.Itoa(r.IntN(2)),
			Name:  strconv.Itoa(r.IntN(2)),
			Time:  start.Add(time.Duration(r.IntN(minutes)) * time.Minute),

			Sequence:   uint64(r.IntN(3)),
			Held:       r.IntN(12) == 0,
			Incomplete: r.IntN(4) == 0,
		}
		if i > 0 && r.IntN(6) == 0 {
			it.Time = items[r.IntN(i)].Time
		}
		if r.IntN(5) == 0 {
			it.Tags = []string{"keep"}
		}
		items = append(items, it)
	}
	return items
}

// someRules are at least one rule.
func someRules(r *rand.Rand) Rules {
	rules := Rules{}
	for _, n := range []*int{&rules.Last, &rules.Hourly, &rules.Daily, &rules.Weekly, &rules.Monthly, &rules.Yearly} {
		if r.IntN(3) == 0 {
			*n = r.IntN(10) - 1
		}
	}
	for _, s := range []*Span{&rules.Within, &rules.WithinHourly, &rules.WithinDaily, &rules.WithinWeekly, &rules.WithinMonthly, &rules.WithinYearly} {
		if r.IntN(5) == 0 {
			*s = Span{Months: r.IntN(3), Days: r.IntN(20), Hours: r.IntN(30)}
		}
	}
	if r.IntN(4) == 0 || rules.Empty() {
		rules.Tags = [][]string{{"keep"}}
	}
	return rules
}

// moment is a now that some of the items may be ahead of.
func moment(r *rand.Rand, items []Item) time.Time {
	if len(items) == 0 || r.IntN(2) == 0 {
		return far
	}
	return items[r.IntN(len(items))].Time
}

func kept(decisions []Decision) map[string]bool {
	ids := map[string]bool{}
	for _, d := range decisions {
		if d.Keep {
			ids[d.ID] = true
		}
	}
	return ids
}

// subset fails the test for what is in a and not in b.
func subset(t *testing.T, a, b map[string]bool, what string, args ...any) {
	t.Helper()
	for id := range a {
		if !b[id] {
			t.Errorf("%s: %s", id, fmt.Sprintf(what, args...))
		}
	}
}

func only(items []Item, ids map[string]bool) []Item {
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return !ids[it.ID] })
}

func TestOrderOfItemsDoesNotMatter(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		now := moment(r, items)
		want := show(Apply(items, rules, now))
		r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		if got := show(Apply(items, rules, now)); got != want {
			t.Errorf("%s: got\n%s\nand before shuffling\n%s", rules, got, want)
		}
	})
}

func TestEveryDecisionHasItsReason(t *testing.T) {
	dropping := []Reason{Unneeded, Superseded, Stale}
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		decisions := Apply(items, rules, moment(r, items))
		if len(decisions) != len(items) {
			t.Errorf("%d decisions on %d items", len(decisions), len(items))
		}
		for _, d := range decisions {
			says := slices.ContainsFunc(d.Reasons, func(r Reason) bool { return slices.Contains(dropping, r) })
			if len(d.Reasons) == 0 || says == d.Keep || says && len(d.Reasons) > 1 {
				t.Errorf("%s: keep is %t, reasons %q", d.ID, d.Keep, d.Reasons)
			}
		}
	})
}

func TestRulesKeepTheUnion(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, a, b := history(r), someRules(r), Rules{}
		now := moment(r, items)
		both := a
		// The second set has the rules that the first has not.
		for _, f := range []struct{ a, b, both *int }{
			{&a.Last, &b.Last, &both.Last}, {&a.Daily, &b.Daily, &both.Daily}, {&a.Yearly, &b.Yearly, &both.Yearly},
		} {
			if *f.a == 0 {
				*f.b = 1 + r.IntN(5)
				*f.both = *f.b
			}
		}
		if a.Within.IsZero() {
			b.Within = Span{Days: 1 + r.IntN(30)}
			both.Within = b.Within
		}
		if b.Empty() {
			return
		}
		union := kept(Apply(items, a, now))
		for id := range kept(Apply(items, b, now)) {
			union[id] = true
		}
		got := kept(Apply(items, both, now))
		subset(t, got, union, "%s keeps it, neither %s nor %s does", both, a, b)
		subset(t, union, got, "%s drops it, %s or %s does not", both, a, b)
	})
}

func TestMoreNeverKeepsLess(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, less := history(r), someRules(r)
		now := moment(r, items)
		more := less
		for _, n := range []*int{&more.Last, &more.Hourly, &more.Daily, &more.Weekly, &more.Monthly, &more.Yearly} {
			switch {
			case *n > 0 && r.IntN(4) == 0:
				*n = All
			case *n >= 0:
				*n += r.IntN(3)
			}
		}
		for _, s := range []*Span{&more.Within, &more.WithinHourly, &more.WithinDaily, &more.WithinWeekly, &more.WithinMonthly, &more.WithinYearly} {
			s.Days += r.IntN(3)
			s.Hours += r.IntN(3)
		}
		subset(t, kept(Apply(items, less, now)), kept(Apply(items, more, now)), "%s keeps it, %s does not", less, more)
	})
}

func TestAppliedAgainItKeepsAll(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		now := moment(r, items)
		first := kept(Apply(items, rules, now))
		subset(t, first, kept(Apply(only(items, first), rules, now)), "%s keeps it and then drops it", rules)
	})
}

// Dropping a bit each night must come to the same as dropping once. A span of
// periods is the exception: its oldest item may have been the second oldest
// before, and so it may keep one more. It never keeps one less.
func TestNightlyRunsComeToTheSame(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		exact := rules.WithinHourly.IsZero() && rules.WithinDaily.IsZero() && rules.WithinWeekly.IsZero() &&
			rules.WithinMonthly.IsZero() && rules.WithinYearly.IsZero()
		slices.SortFunc(items, older)
		var left []Item
		for i, it := range items {
			left = append(left, it)
			if r.IntN(3) == 0 || i == len(items)-1 {
				left = only(left, kept(Apply(left, rules, far)))
			}
		}
		nightly, once := map[string]bool{}, kept(Apply(items, rules, far))
		for _, it := range left {
			nightly[it.ID] = true
		}
		subset(t, once, nightly, "%s keeps it, but not if applied each night", rules)
		if exact {
			subset(t, nightly, once, "%s keeps it only if applied each night", rules)
		}
	})
}

func TestEarlierNowNeverKeepsLess(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		early, late := moment(r, items), moment(r, items)
		if late.Before(early) {
			early, late = late, early
		}
		subset(t, kept(Apply(items, rules, late)), kept(Apply(items, rules, early)), "%s keeps it at %v, not at %v", rules, late, early)
		if got := kept(Apply(items, rules, time.Time{})); len(got) != len(items) {
			t.Errorf("without a now, %d of %d are kept", len(got), len(items))
		}
	})
}

func TestWhatIsAheadChangesNothing(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		now := moment(r, items)
		present := slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return it.Time.After(now) })
		with := slices.DeleteFunc(Apply(items, rules, now), func(d Decision) bool { return d.Time.After(now) })
		if got, want := show(with), show(Apply(present, rules, now)); got != want {
			t.Errorf("%s: got\n%s\nand without the future\n%s", rules, got, want)
		}
	})
}

func TestTheLastGoodOneStays(t *testing.T) {
	try(t, func(t *testing.T, r *rand.Rand) {
		items, rules := history(r), someRules(r)
		now := moment(r, items)
		ids := kept(Apply(items, rules, now))
		for _, it := range items {
			if it.Held && !ids[it.ID] {
				t.Errorf("%s drops %s, which is held", rules, it.ID)
			}
			newer := slices.ContainsFunc(items, func(o Item) bool {
				return o.Host == it.Host && o.Name == it.Name && !o.Incomplete && !o.Time.After(now) && older(it, o) < 0
			})
			if !it.Incomplete && !newer && !ids[it.ID] {
				t.Errorf("%s drops %s, the last good one of %s/%s", rules, it.ID, it.Host, it.Name)
			}
		}
	})
}

// The same said in other words, item by item: how many periods are newer, and
// is any item of its own.
func TestCalendarAgainstItsDefinition(t *testing.T) {
	monday := func(t time.Time) string {
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format("2006-01-02")
	}
	format := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(layout) }
	}
	try(t, func(t *testing.T, r *rand.Rand) {
		items := slices.DeleteFunc(history(r), func(it Item) bool { return it.Incomplete || it.Held })
		for i := range items {
			items[i].Group, items[i].Host, items[i].Name = "g", "h", "n"
		}
		n := 1 + r.IntN(8)
		for _, c := range []struct {
			rules Rules
			in    func(time.Time) string
			span  bool
		}{
			{Rules{Hourly: n}, format("2006-01-02 15"), false},
			{Rules{Daily: n}, format("2006-01-02"), false},
			{Rules{Weekly: n}, monday, false},
			{Rules{Monthly: n}, format("2006-01"), false},
			{Rules{Yearly: n}, format("2006"), false},
			{Rules{WithinHourly: Span{Days: n}}, format("2006-01-02 15"), true},
			{Rules{WithinDaily: Span{Days: n}}, format("2006-01-02"), true},
			{Rules{WithinWeekly: Span{Days: n}}, monday, true},
			{Rules{WithinMonthly: Span{Days: n}}, format("2006-01"), true},
			{Rules{WithinYearly: Span{Days: n}}, format("2006"), true},
		} {
			got := kept(Apply(items, c.rules, far))
			for _, it := range items {
				newest, first, last := true, true, it.Time
				newer, all := map[string]bool{}, map[string]bool{}
				for _, o := range items {
					all[c.in(o.Time)] = true
					first = first && older(it, o) <= 0
					if older(it, o) >= 0 {
						continue
					}
					if o.Time.After(last) {
						last = o.Time
					}
					newer[c.in(o.Time)] = true
					newest = newest && c.in(o.Time) != c.in(it.Time)
				}
				want := newest && len(newer) < n || first && len(all) < n
				if c.span {
					want = (newest || first) && last.Sub(it.Time) < time.Duration(n)*24*time.Hour
				}
				if got[it.ID] != want {
					t.Errorf("%s: %s of %v: kept is %t", c.rules, it.ID, it.Time, got[it.ID])
				}
			}
		}
	})
}
