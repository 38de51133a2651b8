package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/snapshot/rewrite"
	"coffer/store"
)

func (a *app) rewriteVerb() *cli.Command {
	return &cli.Command{
		Name:      "rewrite",
		Usage:     "take files out of snapshots that were made with them",
		UsageText: "coffer rewrite --exclude PATTERN... [flags] [SNAP...]",
		Description: `Makes, beside each snapshot that has something which the patterns match, a new one without it, with the same
dates and tags. Patterns mean what they mean in a backup. Without SNAP all snapshots are looked through
that fit the flags. --dry-run shows what would go; 'coffer diff OLD NEW' shows it by name afterwards.

To take a secret out of history: 'coffer rewrite --exclude PATTERN --forget' forgets the snapshots that
have it, and 'coffer prune --thorough' removes it for good; until then 'coffer undelete' brings them back.
(An ordinary prune leaves packs alone of which most is needed, and what nothing needs in them.) Without --forget the old snapshots stay beside the new ones. The next backup saves the file again
unless that excludes it too. A snapshot that is held is left alone unless --held is given; its holds then
go over to the new one.

Examples:
  coffer rewrite --exclude '*.iso' --dry-run
  coffer rewrite --exclude id_rsa --exclude '/etc/*.key' --forget
  coffer rewrite --exclude-file leaked.txt --host web1 --forget --held
  coffer rewrite --exclude core 3fa9c1d2`,
		Flags: slices.Concat(excludeFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "forget", Usage: "forget the snapshots that were rewritten"},
			&cli.BoolFlag{Name: "held", Usage: "with --forget: snapshots that are held, too"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing, show what would go"},
		}, filterFlags()),
		Action: a.runRewrite,
	}
}

func (a *app) runRewrite(c *cli.Context) error {
	opt, err := a.rewriteOptions(c)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		chosen, err := chooseToRewrite(c, all)
		if err != nil {
			return err
		}
		a.interrupt = "; nothing was forgotten, and the same command goes on from here"
		p := a.startProgress("snapshots", 0)
		opt.Event = func(e rewrite.Event) { p.set(int64(e.Done), 0, 0) }
		rep, err := rewrite.Run(ctx, st, chosen, opt)
		p.stop()
		if ctx.Err() != nil {
			return err
		}
		if len(rep.Asked) > 0 || rep.Stored > 0 {
			a.tidy(ctx, c, st)
		}
		return a.showRewrite(rep, opt, chosen, err)
	})
}

func (a *app) rewriteOptions(c *cli.Context) (opt rewrite.Options, err error) {
	opt = rewrite.Options{DryRun: c.Bool("dry-run"), Forget: c.Bool("forget"), Held: c.Bool("held"), Now: a.now}
	for _, u := range a.uses {
		if strings.HasSuffix(u.name, "exclude") && u.value == "" {
			return opt, usageError("--%s is empty: is a variable not set?", u.name)
		}
	}
	if opt.Patterns, err = a.patterns("exclude"); err != nil {
		return opt, err
	}
	switch {
	case len(opt.Patterns) == 0:
		return opt, usageError("say what to take out: give --exclude PATTERN, or --exclude-file FILE with at least one pattern in it")
	case opt.Held && !opt.Forget:
		return opt, usageError("--held is for --forget: without it nothing is taken from a hold")
	}
	return opt, nil
}

// chooseToRewrite are the snapshots that are named, or all that fit the flags.
func chooseToRewrite(c *cli.Context, all []snapshot.Snapshot) ([]snapshot.Snapshot, error) {
	if c.NArg() == 0 {
		return filterOf(c).Apply(snapshot.Present(all)), nil
	}
	return eachOnce(c.Args().Slice(), func(arg string) (snapshot.Snapshot, error) {
		s, path, err := snapshot.Select(all, arg, filterOf(c))
		return s, wholeOnly(arg, path, err)
	})
}

// rewriteJSON is what --json prints.
type rewriteJSON struct {
	DryRun    bool          `json:"dry_run"`
	Looked    int           `json:"looked_through"`
	Snapshots []rewrittenJS `json:"snapshots"` // those that had a match
	Stored    int64         `json:"bytes_stored"`
	Forgotten bool          `json:"forgotten"` // the old ones
}

type rewrittenJS struct {
	ID    string `json:"id"`
	Time  string `json:"time"`
	Host  string `json:"host"`
	Name  string `json:"name"`
	New   string `json:"new,omitempty"`
	Items uint64 `json:"items"`
	Files uint64 `json:"files"`
	Bytes int64  `json:"bytes"`
	Held  bool   `json:"held"`
	Error string `json:"error,omitempty"`
}

// A rewriting is how a run went, in numbers.
type rewriting struct {
	done, held, failed int
	holders            string // one that is held
}

func (a *app) showRewrite(rep rewrite.Report, opt rewrite.Options, all []snapshot.Snapshot, err error) error {
	doc := rewriteJSON{DryRun: opt.DryRun, Looked: rep.Looked, Snapshots: []rewrittenJS{}, Stored: rep.Stored, Forgotten: len(rep.Asked) > 0}
	var n rewriting
	t := a.table("ID", "TIME (UTC)", "HOST", "ENTRIES", "SIZE", "NEW")
	for _, r := range rep.Snapshots {
		s := all[slices.IndexFunc(all, func(s snapshot.Snapshot) bool { return s.ID == r.Old })]
		j := rewrittenJS{ID: r.Old, Time: jsonTime(s.Effective), Host: s.Host, Name: s.Name, New: r.New,
			Items: r.Dropped.Items, Files: r.Dropped.Files, Bytes: r.Dropped.Bytes}
		state := shortID(r.New)
		var held *rewrite.HeldError
		switch {
		case errors.As(r.Err, &held):
			n.held++
			n.holders = shortID(r.Old)
			j.Held, state = true, "held"
		case r.Err != nil:
			n.failed++
			j.Error, state = plainText(r.Err), "failed"
			a.warn("", j.Error)
		case r.New == "" && !opt.DryRun:
			state = "not yet"
		default:
			n.done++
		}
		doc.Snapshots = append(doc.Snapshots, j)
		t.row(shortID(r.Old), minute(s.Effective), printable(s.Host), number(r.Dropped.Items), size(r.Dropped.Bytes), state)
	}
	if len(rep.Snapshots) > 0 {
		_ = t.flush() // like say
	}
	if a.json {
		if err := a.printJSON(doc); err != nil {
			return err
		}
	}
	a.tellRewrite(rep, opt, n)
	return rewriteVerdict(rep, opt, n, err)
}

// tellRewrite says what was done, and what comes next.
func (a *app) tellRewrite(rep rewrite.Report, opt rewrite.Options, n rewriting) {
	looked := count(rep.Looked, "snapshot", "snapshots")
	switch {
	case rep.Looked == 0:
		a.say("There is no snapshot that the flags fit.")
	case len(rep.Snapshots) == 0:
		a.say("Nothing of %s matches.", looked)
	case opt.DryRun:
		a.say("This was a dry run, and nothing was changed: %s of %s would be rewritten.", number(n.done), looked)
	case n.done > 0 && opt.Forget && len(rep.Asked) > 0:
		a.say("%s of %s rewritten, and the old %s forgotten.", number(n.done), looked, oneOrMore(n.done, "one was", "ones were"))
		a.say("'coffer undelete' brings %s back until the next prune. If this was about a secret,\nrun 'coffer prune --thorough': an ordinary prune may leave it in a pack of which most is needed.",
			oneOrMore(n.done, "it", "them"))
	case n.done > 0 && !opt.Forget:
		a.say("%s of %s rewritten; the old %s beside the new.\nTo have them forgotten, run this again with --forget.",
			number(n.done), looked, oneOrMore(n.done, "one stays", "ones stay"))
	}
	if n.done > 0 && !opt.DryRun {
		a.say("What still exists at the source is saved again by the next backup unless that\nexcludes it too.")
	}
}

func oneOrMore(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func rewriteVerdict(rep rewrite.Report, opt rewrite.Options, n rewriting, err error) error {
	half := opt.Forget && !opt.DryRun && n.done > 0 && len(rep.Asked) == 0
	switch {
	case half && n.failed == 0:
		return err
	case n.held > 0 && n.failed == 0:
		exit := itemProblems
		if n.done == 0 {
			exit = refusal
		}
		return exit("%s held, such as %s, and not touched: if the hold is to go over to the new snapshot, add --held; 'coffer hold list' shows why",
			count(n.held, "snapshot is", "snapshots are"), n.holders)
	case half:
		return failure("nothing was forgotten, for not all could be rewritten: see the warnings, and run the same command again, it goes on from here")
	case n.failed > 0:
		return itemProblems("%s not be rewritten, and not touched: 'coffer verify --read-data' shows what is damaged",
			count(n.failed, "snapshot could", "snapshots could"))
	}
	return err
}
