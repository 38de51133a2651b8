package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/policy"
	"coffer/snapshot"
	"coffer/store"
)

func (a *app) holdVerb() *cli.Command {
	return &cli.Command{
		Name:      "hold",
		Usage:     "keep snapshots from being forgotten, with a reason and an end",
		UsageText: "coffer hold add SNAP... | list | release SNAP|HOLD...",
		Description: `While a snapshot is held no rule forgets it, 'coffer forget' refuses to, and no prune removes anything that
it needs. A hold takes no space: only what nothing else needs any more does.

A snapshot may have several holds. One that has come to its end does not hold any more, and the next
'coffer forget' with rules treats its snapshot as any other.

Examples:
  coffer hold add 3fa9c1d2 --reason 'case 4711, ask legal' --until 2027-06-30
  coffer hold list
  coffer hold release 3fa9c1d2`,
		Subcommands: []*cli.Command{a.holdAddVerb(), a.holdListVerb(), a.holdReleaseVerb()},
	}
}

func (a *app) holdAddVerb() *cli.Command {
	return &cli.Command{Name: "add", Usage: "hold snapshots", UsageText: "coffer hold add [flags] --reason TEXT SNAP...",
		Description: `Holds snapshots, also some that were forgotten and are not pruned yet. A day means until its end, UTC; a
span such as 90d counts from now.

Examples:
  coffer hold add latest --host web1 --reason 'before the migration' --until 90d
  coffer hold add 3fa9c1d2 71bb04e9 --reason 'case 4711, ask legal'`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "say why: `TEXT`, for whoever wants to release it one day"},
			&cli.StringFlag{Name: "until", Usage: "hold until `DATE`, or for a span such as 90d or 1y (default: until it is released)"},
		}, filterFlags()...), Action: a.runHoldAdd}
}

func (a *app) holdListVerb() *cli.Command {
	return &cli.Command{Name: "list", Usage: "list the holds", UsageText: "coffer hold list [flags]",
		Description: "Examples:\n  coffer hold list\n  coffer hold list --host web1 --json", Flags: filterFlags(), Action: a.runHoldList}
}

func (a *app) holdReleaseVerb() *cli.Command {
	return &cli.Command{Name: "release", Usage: "release holds", UsageText: "coffer hold release [flags] SNAP|HOLD...",
		Description: `Releases holds: by their own ids, or by their snapshot's. Nothing is removed by it, but where the snapshot
was forgotten meanwhile, the next prune drops it.

Examples:
  coffer hold release 3fa9c1d2
  coffer hold release 3fa9c1d2 --all`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "all holds of a snapshot that has several"}}, Action: a.runHoldRelease}
}

// holdJSON is a hold for programs.
type holdJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	Until  string `json:"until,omitempty"`
	By     string `json:"by,omitempty"`
	Added  string `json:"added"`
	Ended  bool   `json:"ended"`
}

func (a *app) holdJSON(h snapshot.Held) holdJSON {
	j := holdJSON{ID: h.Record, Reason: h.Reason, By: h.By, Added: jsonTime(h.Added), Ended: h.Ended(a.now())}
	if h.Until != (snapshot.Time{}) {
		j.Until = jsonTime(h.Until)
	}
	return j
}

// A holding is a hold with its snapshot.
type holding struct {
	snapshot.Snapshot
	hold snapshot.Held
}

// holdingJSON is a holding for programs.
type holdingJSON struct {
	holdJSON
	Snapshot  string `json:"snapshot"`
	Time      string `json:"time"`
	Host      string `json:"host"`
	Name      string `json:"name"`
	Forgotten bool   `json:"forgotten"`
}

func holdings(list []snapshot.Snapshot) []holding {
	var out []holding
	for _, s := range list {
		for _, h := range s.Holds {
			out = append(out, holding{s, h})
		}
	}
	return out
}

func (a *app) printHoldings(list []holding) error {
	docs := make([]holdingJSON, 0, len(list))
	for _, h := range list {
		docs = append(docs, holdingJSON{a.holdJSON(h.hold), h.ID, jsonTime(h.Effective), h.Host, h.Name, h.Forgotten})
	}
	return a.printJSON(docs)
}

// describeHold says it in one line: until when, by whom, and why.
func (a *app) describeHold(h snapshot.Held) string {
	text := a.holdEnd(h)
	if h.By != "" {
		text += ", by " + printable(h.By)
	}
	return text + ": " + printable(h.Reason)
}

func (a *app) holdEnd(h snapshot.Held) string {
	switch {
	case h.Until == (snapshot.Time{}):
		return "without an end"
	case h.Ended(a.now()):
		return "ended " + minute(h.Until)
	}
	return "until " + minute(h.Until)
}

// activeHolds are those that have not come to their end.
func (a *app) activeHolds(s snapshot.Snapshot) []snapshot.Held {
	return slices.DeleteFunc(slices.Clone(s.Holds), func(h snapshot.Held) bool { return h.Ended(a.now()) })
}

func (a *app) runHoldAdd(c *cli.Context) error {
	if err := wantArgs(c, 1, -1, "one snapshot or more"); err != nil {
		return err
	}
	hold, err := a.newHold(c)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		chosen, err := eachOnce(c.Args().Slice(), func(arg string) (snapshot.Snapshot, error) {
			return evenForgotten(all, arg, filterOf(c))
		})
		if err != nil {
			return err
		}
		var done []holding
		for _, s := range chosen {
			id, err := commitAgain(ctx, st, s, &hold)
			if err != nil {
				return holdError(s, done, err)
			}
			done = append(done, holding{s, snapshot.Held{Record: id, Hold: hold}})
			a.say("Held snapshot %s %s (hold %s).", shortID(s.ID), a.holdEnd(done[len(done)-1].hold), shortID(id))
		}
		a.tidy(ctx, c, st)
		if a.json {
			return a.printHoldings(done)
		}
		return nil
	})
}

func holdError(s snapshot.Snapshot, done []holding, err error) error {
	rest := ""
	if len(done) > 0 {
		rest = "; " + count(len(done), "snapshot before it is held", "snapshots before it are held")
	}
	if errors.Is(err, errPruned) {
		return failure("snapshot %s was forgotten and has been pruned meanwhile: it cannot be held any more%s", shortID(s.ID), rest)
	}
	return err
}

// newHold reads the flags of a hold.
func (a *app) newHold(c *cli.Context) (snapshot.Hold, error) {
	now := a.now()
	h := snapshot.Hold{Reason: strings.TrimSpace(c.String("reason")), By: a.userAtHost(), Added: snapshot.TimeOf(now)}
	if h.Reason == "" {
		return h, usageError("say why, for whoever wants to release it one day: give --reason TEXT")
	}
	if !c.IsSet("until") {
		return h, nil
	}
	until, err := parseUntil(c.String("until"), now)
	if err != nil {
		return h, err
	}
	if !until.After(now) {
		return h, usageError("--until %s is over already", c.String("until"))
	}
	h.Until = snapshot.TimeOf(until)
	return h, nil
}

// parseUntil reads a date, of which the whole day counts, a time, or a span from
// now on.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if s, err := policy.ParseSpan(text); err == nil {
		return now.AddDate(s.Years, s.Months, 7*s.Weeks+s.Days).Add(time.Duration(s.Hours) * time.Hour).UTC(), nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.Add(24*time.Hour - time.Second), nil
	}
	t, err := parseTime("until", text)
	if err != nil {
		return t, usageError("--until %q is neither a date like 2027-06-30, a time like 2027-06-30T10:00 nor a span like 90d or 1y6m", text)
	}
	return t, nil
}

// userAtHost is who does this, for people.
func (a *app) userAtHost() string {
	host, err := os.Hostname()
	if err != nil {
		return a.userName()
	}
	return a.userName() + "@" + host
}

func (a *app) runHoldList(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		list := holdings(filterOf(c).Apply(all))
		slices.SortStableFunc(list, func(x, y holding) int {
			return cmp.Or(x.hold.Added.AsTime().Compare(y.hold.Added.AsTime()), cmp.Compare(x.hold.Record, y.hold.Record))
		})
		if a.json {
			return a.printHoldings(list)
		}
		if len(list) == 0 {
			a.say("No snapshot is held.")
			return nil
		}
		t := a.table("HOLD", "SNAPSHOT", "HOST", "NAME", "UNTIL (UTC)", "BY", "REASON")
		for _, h := range list {
			t.row(shortID(h.hold.Record), shortID(h.ID), printable(h.Host), printable(h.Name), a.untilCell(h.hold),
				printable(h.hold.By), printable(h.hold.Reason))
		}
		return t.flush()
	})
}

func (a *app) untilCell(h snapshot.Held) string {
	switch {
	case h.Until == (snapshot.Time{}):
		return "no end"
	case h.Ended(a.now()):
		return "ended " + h.Until.AsTime().Format(time.DateOnly)
	}
	return h.Until.AsTime().Format("2006-01-02 15:04")
}

func (a *app) runHoldRelease(c *cli.Context) error {
	if err := wantArgs(c, 1, -1, "the id of a snapshot or of a hold"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		var chosen []holding
		for _, arg := range c.Args().Slice() {
			more, err := a.findHolds(all, arg, c.Bool("all"))
			if err != nil {
				return err
			}
			for _, h := range more {
				if !slices.ContainsFunc(chosen, func(o holding) bool { return o.hold.Record == h.hold.Record }) {
					chosen = append(chosen, h)
				}
			}
		}
		var commits []string
		for _, h := range chosen {
			commits = append(commits, h.hold.Record)
		}
		if err := st.Forget(ctx, commits); err != nil {
			return err
		}
		if a.json {
			return a.printHoldings(chosen)
		}
		a.tellReleased(chosen)
		return nil
	})
}

func (a *app) tellReleased(list []holding) {
	for _, h := range list {
		a.say("Released snapshot %s, which was held %s.", shortID(h.ID), a.describeHold(h.hold))
	}
	for i, h := range list {
		if slices.ContainsFunc(list[:i], func(o holding) bool { return o.ID == h.ID }) {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(h.Holds), func(o snapshot.Held) bool {
			return slices.ContainsFunc(list, func(r holding) bool { return r.hold.Record == o.Record })
		})
		switch {
		case len(left) > 0:
			a.say("Snapshot %s has %s yet: 'coffer hold list' shows what holds it.", shortID(h.ID), count(len(left), "hold", "holds"))
		case h.Forgotten:
			a.say("Snapshot %s was forgotten: the next prune drops it, and until then 'coffer undelete %s' brings it back.",
				shortID(h.ID), shortID(h.ID))
		}
	}
}

// findHolds finds one hold by its id, or the holds of a snapshot.
func (a *app) findHolds(all []snapshot.Snapshot, arg string, every bool) ([]holding, error) {
	prefix := strings.ToLower(arg)
	var found []holding
	for _, h := range holdings(all) {
		if len(prefix) >= 4 && strings.HasPrefix(h.hold.Record, prefix) {
			found = append(found, h)
		}
	}
	s, selectErr := evenForgotten(all, arg, snapshot.Filter{})
	switch {
	case len(found) == 1 && selectErr != nil && !isAmbiguous(selectErr):
		return found, nil
	case len(found) > 0 || isAmbiguous(selectErr):
		return nil, failure("%q matches more than one hold or snapshot: give more digits, 'coffer hold list' shows them", arg)
	case selectErr != nil:
		return nil, failure("%q names no hold and no snapshot: 'coffer hold list' shows the holds%w", printable(arg), silent{selectErr})
	case len(s.Holds) == 0:
		return nil, failure("snapshot %s is not held: 'coffer hold list' shows the holds", shortID(s.ID))
	case len(s.Holds) > 1 && !every:
		return nil, usageError("snapshot %s has %s: say which one by its own id, or give --all; 'coffer hold list' shows them",
			shortID(s.ID), count(len(s.Holds), "hold", "holds"))
	}
	return holdings([]snapshot.Snapshot{s}), nil
}
