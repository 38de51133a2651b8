package policy

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// stale is for how long a host that only ever fails keeps what it saved, counted
// back from its newest item and not from today.
const stale = 14 * 24 * time.Hour

// Apply judges all items. The decisions are sorted by group, in it from old to
// new.
//
// An item dated after now is kept and otherwise as if it were not there: one
// clock that runs years ahead would else push "within" past all good items and
// take the places of the real ones in the other rules. That is all that now is
// for. A now that is too early, or zero, only keeps more.
//
// An incomplete item is superseded by a later complete one of the same group,
// host and name that was made of the same sources, or more. Until then it is kept, unless an item of the same three is more
// than 14 days newer: so the last try of a host that has never succeeded stays.
func Apply(items []Item, rules Rules, now time.Time) []Decision {
	all := make([]Decision, len(items))
	for i, it := range items {
		all[i].Item = it
	}
	slices.SortFunc(all, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), older(a.Item, b.Item))
	})
	for i := range all {
		if all[i].Held {
			all[i].keep(Held)
		}
	}
	if rules.Empty() {
		for i := range all {
			all[i].keep(NoRules)
		}
		return all
	}
	judged := setAside(all, now)
	list := rules.list()
	for g := range groups(judged) {
		complete := whole(g)
		for _, r := range list {
			r.apply(complete)
		}
		judgeIncomplete(g)
	}
	keepLastGood(judged)
	for _, d := range judged {
		if len(d.Reasons) == 0 {
			d.Reasons = append(d.Reasons, Unneeded)
		}
	}
	return all
}

// setAside keeps what is dated after now and returns the rest.
func setAside(all []Decision, now time.Time) []*Decision {
	var judged []*Decision
	for i := range all {
		if all[i].Time.After(now) {
			all[i].keep(Ahead)
			continue
		}
		judged = append(judged, &all[i])
	}
	return judged
}

// groups yields the runs of one group.
func groups(sorted []*Decision) iter.Seq[[]*Decision] {
	return func(yield func([]*Decision) bool) {
		for len(sorted) > 0 {
			n := slices.IndexFunc(sorted, func(d *Decision) bool { return d.Group != sorted[0].Group })
			if n < 0 {
				n = len(sorted)
			}
			if !yield(sorted[:n]) {
				return
			}
			sorted = sorted[n:]
		}
	}
}

// whole returns the complete ones of a group, newest first.
func whole(group []*Decision) []*Decision {
	var out []*Decision
	for _, d := range slices.Backward(group) {
		if !d.Incomplete {
			out = append(out, d)
		}
	}
	return out
}

// A series is what one host does under one name. Groups may cut across it.
type series struct{ host, name string }

func (it Item) series() series { return series{it.Host, it.Name} }

// judgeIncomplete compares only within a series, also where a group holds
// several: what one host has saved is no replacement for another's.
func judgeIncomplete(group []*Decision) {
	newest, complete := map[series]time.Time{}, map[series][]*Decision{}
	for _, d := range slices.Backward(group) {
		s := d.series()
		if _, seen := newest[s]; !seen {
			newest[s] = d.Time
		}
		switch {
		case !d.Incomplete:
			complete[s] = append(complete[s], d)
		case slices.ContainsFunc(complete[s], d.coveredBy):
			d.drop(Superseded)
		case d.Time.Before(newest[s].Add(-stale)):
			d.drop(Stale)
		default:
			d.keep(Fresh)
		}
	}
}

// coveredBy reports whether a complete item has all sources of d.
func (d *Decision) coveredBy(later *Decision) bool {
	return !slices.ContainsFunc(d.Sources, func(s string) bool { return !slices.Contains(later.Sources, s) })
}

// drop says why d goes, unless something keeps it already.
func (d *Decision) drop(why Reason) {
	if !d.Keep {
		d.Reasons = append(d.Reasons, why)
	}
}

// keepLastGood looks at all groups together: however finely somebody groups,
// the newest of a series is what its owner would restore.
func keepLastGood(judged []*Decision) {
	last := map[series]*Decision{}
	for _, d := range judged {
		if l := last[d.series()]; !d.Incomplete && (l == nil || older(l.Item, d.Item) < 0) {
			last[d.series()] = d
		}
	}
	for _, d := range last {
		d.keep(LastGood)
	}
}
