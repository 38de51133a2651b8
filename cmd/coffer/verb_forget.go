package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/policy"
	"coffer/snapshot"
	"coffer/store"
)

func (a *app) forgetVerb() *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "forget snapshots: by rules, or by their ids",
		UsageText: "coffer forget --keep-RULE N... [flags]\ncoffer forget [flags] SNAP...",
		Description: `Rules say what to keep, and the rest is forgotten. They count for each host and name apart, by the dates of
the snapshots and not by today's, so a host that has stopped loses nothing. A snapshot stays if any rule
keeps it. Whatever the rules say, these stay: what is held, the last good one of each host and name, and
what is dated in the future. Incomplete snapshots never count for a rule.

Nothing is removed by this: 'coffer prune', or --prune, frees the space, and until then 'coffer undelete'
brings snapshots back. --dry-run shows each snapshot with the rule that keeps it.

Snapshots that are named are forgotten without further questions, unless they are held. A host that is
gone for good is forgotten with --host HOST --all --yes.

Examples:
  coffer forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  coffer forget --keep-last 3 --keep-within 30d --keep-tag keep --prune
  coffer forget -d 7 -w 4 --host web1 --group-by host,paths
  coffer forget 3fa9c1d2 71bb04e9
  coffer forget --host web1 --all --yes`,
		Flags: slices.Concat(ruleFlags(), filterFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "forget all snapshots of the --host, for good"},
			&cli.BoolFlag{Name: "yes", Usage: "with --all: yes, do it"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing, show what would be kept and why"},
			&cli.BoolFlag{Name: "prune", Usage: "prune afterwards"},
		}, pruneFlags()),
		Action: a.runForget,
	}
}

// A forgetting is what one run of forget is asked for.
type forgetting struct {
	rules policy.Rules
	by    grouping
	args  []string
	all   bool
	sure  bool
	dry   bool
	prune bool
}

func readForgetting(c *cli.Context) (f forgetting, err error) {
	f = forgetting{args: c.Args().Slice(), all: c.Bool("all"), sure: c.Bool("yes"), dry: c.Bool("dry-run"), prune: c.Bool("prune")}
	if f.rules, err = rulesOf(c); err != nil {
		return f, err
	}
	if f.by, err = parseGrouping(c.String("group-by")); err != nil {
		return f, err
	}
	ruled := !f.rules.Empty()
	switch {
	case ruled && len(f.args) > 0:
		return f, usageError("rules and snapshots exclude each other: give --keep-... or ids, not both")
	case f.all && (ruled || len(f.args) > 0):
		return f, usageError("--all excludes rules and snapshots: give only --host HOST --all --yes")
	case f.all && c.String("host") == "":
		return f, usageError("--all is for a host that is gone for good: say which one with --host HOST")
	case !ruled && !f.all && len(f.args) == 0:
		return f, usageError("say what to keep, with rules such as --keep-daily 7 --keep-weekly 4, or name the snapshots to forget: see '%s --help'",
			c.Command.HelpName)
	case !f.prune && (c.IsSet("max-repack") || c.IsSet("wait") || c.IsSet("thorough")):
		return f, usageError("--max-repack, --wait and --thorough are for pruning: add --prune, or leave them out")
	}
	return f, nil
}

func (a *app) runForget(c *cli.Context) error {
	f, err := readForgetting(c)
	if err != nil {
		return err
	}
	opt, err := a.readPruning(c)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		groups, err := a.choose(c, f, all)
		if err != nil {
			return err
		}
		doc := a.newForgetJSON(groups, f.dry)
		a.showGroups(groups)
		a.warnLastGood(f, all, groups)
		if len(f.args) == 0 && !f.all {
			a.warnLastOfSource(all, groups)
		}
		if f.all && !f.sure && !f.dry {
			return refusal("this forgets all %s of host %s for good; nothing was changed: add --yes if that is meant",
				count(doc.Forgotten, "snapshot", "snapshots"), printable(c.String("host")))
		}
		if !f.dry {
			if err := askToForget(ctx, st, groups); err != nil {
				return err
			}
		}
		a.tellForgotten(doc, f)
		if f.prune {
			doc.Prune, err = a.pruneAfter(ctx, c, st, opt, f.dry, groups)
		}
		if a.json {
			if printErr := a.printJSON(doc); printErr != nil {
				return printErr
			}
		}
		return err
	})
}

// choose decides what becomes of each snapshot that the command is about.
func (a *app) choose(c *cli.Context, f forgetting, all []snapshot.Snapshot) ([]judged, error) {
	switch fitting := filterOf(c).Apply(snapshot.Present(all)); {
	case len(f.args) > 0:
		return a.chooseNamed(c, f, all)
	case f.all:
		return a.chooseAll(c, f, fitting)
	default:
		return a.judge(fitting, f.rules, f.by, a.now()), nil
	}
}

func (a *app) chooseNamed(c *cli.Context, f forgetting, all []snapshot.Snapshot) ([]judged, error) {
	chosen, err := eachOnce(f.args, func(arg string) (snapshot.Snapshot, error) {
		s, path, err := snapshot.Select(all, arg, filterOf(c))
		return s, wholeOnly(arg, path, err)
	})
	if err != nil {
		return nil, err
	}
	var list []verdict
	for _, s := range chosen {
		if holds := a.activeHolds(s); len(holds) > 0 {
			return nil, refusal("snapshot %s is held %s; nothing was forgotten: if that is over, release it with 'coffer hold release %s'",
				shortID(s.ID), a.describeHold(holds[0]), shortID(s.ID))
		}
		list = append(list, verdict{Snapshot: s, reasons: []string{"named"}})
	}
	return grouped(list, f.by), nil
}

func (a *app) chooseAll(c *cli.Context, f forgetting, chosen []snapshot.Snapshot) ([]judged, error) {
	if len(chosen) == 0 {
		return nil, failure("no snapshot is of host %s and fits the other flags: run 'coffer snapshots --all' to list them", printable(c.String("host")))
	}
	var list []verdict
	for _, s := range chosen {
		v := verdict{Snapshot: s, reasons: a.heldReasons(s)}
		if v.keep = len(v.reasons) > 0; !v.keep {
			v.reasons = []string{"all of the host are to go"}
		}
		list = append(list, v)
	}
	if held := len(slices.DeleteFunc(slices.Clone(list), func(v verdict) bool { return !v.keep })); held > 0 {
		a.warn("", count(held, "snapshot of the host is held and stays", "snapshots of the host are held and stay")+": 'coffer hold list' shows why")
	}
	return grouped(list, f.by), nil
}

// asksAtOnce bounds what one request to forget names.
const asksAtOnce = 100_000

func askToForget(ctx context.Context, st *store.Store, groups []judged) error {
	var commits []string
	for v := range toForget(groups) {
		commits = append(commits, v.commits()...)
	}
	for part := range slices.Chunk(commits, asksAtOnce) {
		if err := st.Forget(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// toForget yields what is to be forgotten.
func toForget(groups []judged) func(yield func(verdict) bool) {
	return func(yield func(verdict) bool) {
		for _, g := range groups {
			for _, v := range g.list {
				if !v.keep && !yield(v) {
					return
				}
			}
		}
	}
}

// warnLastOfSource names what no snapshot that stays has any more: rules count
// within a host and name, and jobs of different sources under one name push each
// other out.
func (a *app) warnLastOfSource(all []snapshot.Snapshot, groups []judged) {
	type source struct{ host, at string }
	going := map[string]bool{}
	for v := range toForget(groups) {
		going[v.ID] = true
	}
	stays := map[source]bool{}
	for _, s := range snapshot.Present(all) {
		for _, at := range sourcesOf(s) {
			stays[source{s.Host, at}] = stays[source{s.Host, at}] || !going[s.ID]
		}
	}
	for v := range toForget(groups) {
		for _, at := range sourcesOf(v.Snapshot) {
			src := source{v.Host, at}
			if !stays[src] {
				stays[src] = true // said once
				a.warn("", fmt.Sprintf("no snapshot that is kept has %s of host %s: give jobs names of their own with --name, or count them apart with --group-by host,name,paths",
					printable(at), printable(v.Host)))
			}
		}
	}
}

// warnLastGood names the hosts and names of which no good snapshot is left.
// Rules never do that.
func (a *app) warnLastGood(f forgetting, all []snapshot.Snapshot, groups []judged) {
	if len(f.args) == 0 {
		return
	}
	type series struct{ host, name string }
	left := map[series]int{}
	for _, s := range all {
		if !s.Forgotten && s.State != snapshot.Incomplete {
			left[series{s.Host, s.Name}]++
		}
	}
	for v := range toForget(groups) {
		of := series{v.Host, v.Name}
		if v.Forgotten || v.State == snapshot.Incomplete {
			continue
		}
		if left[of]--; left[of] == 0 {
			a.warn("", fmt.Sprintf("without these, no good snapshot of host %s and name %s is left", printable(of.host), printable(of.name)))
		}
	}
}

func (a *app) showGroups(groups []judged) {
	for i, g := range groups {
		if i > 0 {
			a.say("")
		}
		kept := 0
		t := a.table("ID", "TIME (UTC)", "", "WHY")
		for _, v := range g.list {
			what := "forget"
			if v.keep {
				what = "keep"
				kept++
			}
			t.row(shortID(v.ID), minute(v.Effective), what, strings.Join(v.reasons, "; "))
		}
		a.say("%s: keep %s, forget %s", g.title(), number(kept), number(len(g.list)-kept))
		_ = t.flush() // like say
	}
	if len(groups) > 0 {
		a.say("")
	}
}

// tellForgotten says what was done, and what comes next.
func (a *app) tellForgotten(doc *forgetJSON, f forgetting) {
	for _, h := range doc.Ended {
		a.say("The hold %s has come to its end and goes: %s", shortID(h.ID), printable(h.Reason))
	}
	text := count(doc.Forgotten, "snapshot", "snapshots")
	switch {
	case doc.Kept+doc.Forgotten == 0:
		a.say("There is no snapshot that the flags fit.")
	case f.dry:
		a.say("This was a dry run, and nothing was changed: %s would be forgotten, %s kept.", text, number(doc.Kept))
	case doc.Forgotten == 0:
		a.say("Nothing to forget: %s.", count(doc.Kept, "snapshot is kept", "snapshots are kept"))
	case f.prune:
		a.say("%s forgotten, %s kept.", text, number(doc.Kept))
	default:
		them := "them"
		if doc.Forgotten == 1 {
			them = "it"
		}
		a.say("%s forgotten, %s kept; 'coffer prune' frees the space; until then 'coffer undelete ID' brings %s back.",
			text, number(doc.Kept), them)
	}
}

// forgetJSON is what --json prints.
type forgetJSON struct {
	DryRun    bool         `json:"dry_run"`
	Groups    []groupJSON  `json:"groups"`
	Kept      int          `json:"kept"`
	Forgotten int          `json:"forgotten"`
	Ended     []holdJSON   `json:"ended_holds"`
	Prune     *pruneReport `json:"prune"` // null without --prune
}

type groupJSON struct {
	group
	Snapshots []verdictJSON `json:"snapshots"`
}

type verdictJSON struct {
	ID      string   `json:"id"`
	Time    string   `json:"time"`
	Host    string   `json:"host"`
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Tags    []string `json:"tags"`
	Keep    bool     `json:"keep"`
	Reasons []string `json:"reasons"`
}

func (a *app) newForgetJSON(groups []judged, dry bool) *forgetJSON {
	doc := &forgetJSON{DryRun: dry, Groups: []groupJSON{}, Ended: []holdJSON{}}
	for _, g := range groups {
		j := groupJSON{group: g.group}
		for _, v := range g.list {
			j.Snapshots = append(j.Snapshots, verdictJSON{v.ID, jsonTime(v.Effective), v.Host, v.Name, stateName(v.State),
				orEmpty(v.Tags), v.keep, v.reasons})
			if v.keep {
				doc.Kept++
				continue
			}
			doc.Forgotten++
			for _, h := range v.Holds {
				doc.Ended = append(doc.Ended, a.holdJSON(h))
			}
		}
		doc.Groups = append(doc.Groups, j)
	}
	return doc
}
