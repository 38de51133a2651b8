package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/policy"
	"coffer/snapshot"
)

// ruleFlags are the rules of retention, as restic spells them.
func ruleFlags() []cli.Flag {
	keep := func(name, short, usage string) cli.Flag {
		f := &cli.StringFlag{Name: "keep-" + name, Usage: usage}
		if short != "" {
			f.Aliases = []string{short}
		}
		return f
	}
	return []cli.Flag{
		keep("last", "l", "keep the newest `N`"),
		keep("hourly", "H", "keep the newest of each of the last `N` hours that have one"),
		keep("daily", "d", "the same for `N` days"),
		keep("weekly", "w", "the same for `N` weeks"),
		keep("monthly", "m", "the same for `N` months"),
		keep("yearly", "y", "the same for `N` years"),
		keep("within", "", "keep all that are less than `SPAN` (such as 2y5m7d3h) older than the newest"),
		keep("within-hourly", "", "keep the newest of each hour within `SPAN`"),
		keep("within-daily", "", "the same for each day within `SPAN`"),
		keep("within-weekly", "", "the same for each week within `SPAN`"),
		keep("within-monthly", "", "the same for each month within `SPAN`"),
		keep("within-yearly", "", "the same for each year within `SPAN`"),
		&cli.StringSliceFlag{Name: "keep-tag", Usage: "keep all with `TAG`, or with all of several separated by commas (repeatable)"},
		&cli.StringFlag{Name: "group-by", Aliases: []string{"g"}, Value: "host,name",
			Usage: "count apart for each `FIELDS` of host, name, paths, tags (default: host,name; '' for none)"},
	}
}

// rulesOf reads the rules.
func rulesOf(c *cli.Context) (r policy.Rules, err error) {
	for name, n := range map[string]*int{"last": &r.Last, "hourly": &r.Hourly, "daily": &r.Daily, "weekly": &r.Weekly,
		"monthly": &r.Monthly, "yearly": &r.Yearly} {
		if err := readRule(c, "keep-"+name, n, policy.ParseCount); err != nil {
			return r, err
		}
	}
	for name, s := range map[string]*policy.Span{"within": &r.Within, "within-hourly": &r.WithinHourly, "within-daily": &r.WithinDaily,
		"within-weekly": &r.WithinWeekly, "within-monthly": &r.WithinMonthly, "within-yearly": &r.WithinYearly} {
		if err := readRule(c, "keep-"+name, s, policy.ParseSpan); err != nil {
			return r, err
		}
	}
	for _, text := range c.StringSlice("keep-tag") {
		tags := splitCommas([]string{text})
		if len(tags) == 0 {
			return r, usageError("--keep-tag is empty: is a variable not set?")
		}
		r.Tags = append(r.Tags, tags)
	}
	return r, nil
}

func readRule[T any](c *cli.Context, flag string, to *T, parse func(string) (T, error)) (err error) {
	if !c.IsSet(flag) {
		return nil
	}
	if *to, err = parse(c.String(flag)); err != nil {
		return usageError("--%s: %w", flag, err)
	}
	return nil
}

// A grouping says by what snapshots are counted apart.
type grouping struct{ host, name, paths, tags bool }

func parseGrouping(text string) (g grouping, err error) {
	for _, word := range splitCommas([]string{text}) {
		switch strings.TrimSuffix(word, "s") {
		case "host":
			g.host = true
		case "name":
			g.name = true
		case "path":
			g.paths = true
		case "tag":
			g.tags = true
		default:
			return g, usageError("--group-by %q: it can be host, name, paths and tags, separated by commas", word)
		}
	}
	return g, nil
}

// A group is what its snapshots have in common.
type group struct {
	Host  *string  `json:"host,omitempty"`
	Name  *string  `json:"name,omitempty"`
	Paths []string `json:"paths,omitempty"`
	Tags  []string `json:"tags,omitempty"`
}

func (g grouping) of(s snapshot.Snapshot) (out group) {
	if g.host {
		out.Host = &s.Host
	}
	if g.name {
		out.Name = &s.Name
	}
	if g.paths {
		for _, src := range s.Sources {
			out.Paths = append(out.Paths, src.At)
		}
		slices.Sort(out.Paths)
	}
	if g.tags {
		out.Tags = slices.Sorted(slices.Values(s.Tags))
	}
	return out
}

// words are the parts of its title.
func (g group) words() (list []string) {
	if g.Host != nil {
		list = append(list, "host "+*g.Host)
	}
	if g.Name != nil {
		list = append(list, "name "+*g.Name)
	}
	if g.Paths != nil {
		list = append(list, "paths "+strings.Join(g.Paths, " "))
	}
	if g.Tags != nil {
		list = append(list, "tags "+strings.Join(g.Tags, ","))
	}
	return list
}

func (g group) title() string {
	return cmp.Or(printable(strings.Join(g.words(), ", ")), "all snapshots")
}

// key tells groups apart.
func (g group) key() string { return strings.Join(g.words(), "\x00") }

// A verdict says what becomes of a snapshot, and why.
type verdict struct {
	snapshot.Snapshot
	keep    bool
	reasons []string
}

// commits are what to ask for, to forget the snapshot: also its holds, all of
// which have ended.
func (v verdict) commits() []string {
	list := slices.Clone(v.Records)
	for _, h := range v.Holds {
		list = append(list, h.Record)
	}
	return list
}

// sourcesOf lists where the sources of a snapshot stand in it.
func sourcesOf(s snapshot.Snapshot) []string {
	at := make([]string, len(s.Sources))
	for i, src := range s.Sources {
		at[i] = src.At
	}
	return at
}

// A judged is a group with its verdicts, oldest first.
type judged struct {
	group
	list []verdict
}

// judge applies rules. Snapshots that were forgotten and only their holds keep
// take no part: if they counted, a good one could go for one that is gone as
// soon as its hold is released.
func (a *app) judge(list []snapshot.Snapshot, rules policy.Rules, by grouping, now time.Time) []judged {
	known := map[string]snapshot.Snapshot{}
	var items []policy.Item
	var all []verdict
	for _, s := range list {
		if s.Forgotten {
			all = append(all, a.judgeHeld(s))
			continue
		}
		known[s.ID] = s
		items = append(items, policy.Item{ID: s.ID, Group: by.of(s).key(), Host: s.Host, Name: s.Name, Time: s.Effective.AsTime(),
			Sequence: s.Sequence, Tags: s.Tags, Held: len(a.activeHolds(s)) > 0, Incomplete: s.State == snapshot.Incomplete, Sources: sourcesOf(s)})
	}
	for _, d := range policy.Apply(items, rules, now) {
		v := verdict{Snapshot: known[d.ID], keep: d.Keep}
		for _, why := range d.Reasons {
			if why == policy.Held {
				v.reasons = append(v.reasons, a.heldReasons(v.Snapshot)...)
			} else {
				v.reasons = append(v.reasons, string(why))
			}
		}
		all = append(all, v)
	}
	return grouped(all, by)
}

// judgeHeld judges a snapshot that was forgotten and that holds have kept.
func (a *app) judgeHeld(s snapshot.Snapshot) verdict {
	v := verdict{Snapshot: s, keep: len(a.activeHolds(s)) > 0, reasons: a.heldReasons(s)}
	if !v.keep {
		v.reasons = []string{"forgotten already, and its hold has ended"}
	}
	return v
}

func (a *app) heldReasons(s snapshot.Snapshot) (list []string) {
	for _, h := range a.activeHolds(s) {
		list = append(list, "held "+a.holdEnd(h)+": "+printable(h.Reason))
	}
	return list
}

// grouped puts verdicts in groups, and all in order.
func grouped(all []verdict, by grouping) []judged {
	slices.SortFunc(all, func(x, y verdict) int {
		return cmp.Or(cmp.Compare(by.of(x.Snapshot).key(), by.of(y.Snapshot).key()), snapshot.Compare(x.Snapshot, y.Snapshot))
	})
	var out []judged
	for _, v := range all {
		g := by.of(v.Snapshot)
		if len(out) == 0 || out[len(out)-1].key() != g.key() {
			out = append(out, judged{group: g})
		}
		out[len(out)-1].list = append(out[len(out)-1].list, v)
	}
	return out
}
