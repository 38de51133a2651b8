package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/snapshot/restore"
	"coffer/source"
	"coffer/store"
)

func (a *app) restoreVerb() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "write a snapshot, or a part of one, to a directory",
		UsageText: "coffer restore [flags] --target DIR SNAP[:/PATH]",
		Description: `Writes an exact copy to the target. A whole snapshot gives its absolute paths below the target;
SNAP:/path gives the contents of that directory, or that one file, in the target.

A target with anything in it is refused, hidden files too, unless --in-place is given, which then writes
only what differs, and with --delete removes what the snapshot does not have. A restore that was
interrupted goes on when the same command is run again. What could not be made exactly as it was, such as
owners when you are not root, is named at the end, and the exit code is 3.

Examples:
  coffer restore latest --target /mnt/restored
  coffer restore latest:/home/anna/letters --target ~/letters-of-yesterday
  coffer restore 2026-11-20 --host web1 --target / --in-place --include '/etc/nginx' --dry-run
  coffer restore 3fa9c1d2:/srv --target /srv --in-place --delete --verify`,
		Flags:  append(append(restoreFlags(), excludeFlags()...), filterFlags()...),
		Action: a.runRestore,
	}
}

func restoreFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Aliases: []string{"t"}, Usage: "write to `DIR`"},
		&cli.StringSliceFlag{Name: "include", Aliases: []string{"i"}, Usage: "restore only what fits `PATTERN`, and all below it (repeatable)"},
		&cli.StringSliceFlag{Name: "iinclude", Usage: "the same for `PATTERN`, with upper and lower case alike"},
		&cli.StringSliceFlag{Name: "include-file", Usage: "restore only what fits the patterns in `FILE`, one a line (repeatable)"},
		&cli.StringSliceFlag{Name: "iinclude-file", Usage: "the same for `FILE`, with upper and lower case alike"},
		&cli.BoolFlag{Name: "in-place", Usage: "accept a target with something in it, and write only what differs"},
		&cli.BoolFlag{Name: "delete", Usage: "with --in-place: remove what the snapshot does not have"},
		&cli.BoolFlag{Name: "checksum", Usage: "with --in-place: compare content, not size and time"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing, say what would be done"},
		&cli.BoolFlag{Name: "verify", Usage: "read everything back and compare"},
		&cli.BoolFlag{Name: "no-owner", Usage: "leave owner and group as they come"},
		&cli.BoolFlag{Name: "owner-by-name", Usage: "prefer the names of owner and group to their numbers"},
	}
}

func (a *app) runRestore(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "one snapshot, such as latest"); err != nil {
		return err
	}
	target := c.String("target")
	opt, err := a.restoreOptions(c, target)
	if err != nil {
		return err
	}
	return a.atPlace(c, c.Args().First(), func(ctx context.Context, st *store.Store, p place) error {
		if _, err := entryAt(ctx, st, p); err != nil {
			return err
		}
		if p.State == snapshot.Incomplete {
			a.warn("", "snapshot "+shortID(p.ID)+" is incomplete: something of its sources is missing in it")
		}
		rep, err := a.restoreWithProgress(ctx, st, p, target, opt)
		if err != nil {
			return a.restoreError(target, err)
		}
		return a.restoreDone(rep, p, target, opt.DryRun)
	})
}

func (a *app) restoreOptions(c *cli.Context, target string) (restore.Options, error) {
	opt := restore.Options{InPlace: c.Bool("in-place"), Delete: c.Bool("delete"), Checksum: c.Bool("checksum"),
		DryRun: c.Bool("dry-run"), Verify: c.Bool("verify"), NoOwner: c.Bool("no-owner"), OwnerByName: c.Bool("owner-by-name")}
	switch {
	case target == "":
		return opt, usageError("restore needs to know where to: give --target DIR")
	case (opt.Delete || opt.Checksum) && !opt.InPlace:
		return opt, usageError("--delete and --checksum are only for a restore with --in-place: add it, or leave them out")
	case opt.NoOwner && opt.OwnerByName:
		return opt, usageError("--no-owner and --owner-by-name exclude each other: give one of them")
	}
	var err error
	if opt.Exclude, err = a.chooser("exclude"); err != nil {
		return opt, err
	}
	opt.Include, err = a.chooser("include")
	return opt, err
}

// chooser makes a function of patterns; nil where there are none.
func (a *app) chooser(word string) (func(path string, dir bool) bool, error) {
	list, err := a.patterns(word)
	if err != nil {
		return nil, err
	}
	m, err := source.Compile(list, "/")
	if err != nil || m == nil {
		return nil, err
	}
	return func(path string, dir bool) bool { return m.Excluded(strings.TrimPrefix(path, "/"), dir) }, nil
}

func (a *app) restoreWithProgress(ctx context.Context, st *store.Store, p place, target string, opt restore.Options) (restore.Report, error) {
	if len(p.Top) > 0 {
		top, err := snapshot.DecodeEntry(p.Top)
		if err != nil {
			return restore.Report{}, err
		}
		opt.Top = top
	}
	if a.verbose || opt.DryRun {
		opt.Event = a.tellItem
	} else if shown := a.startProgress("items", 0); shown != nil {
		defer shown.stop()
		opt.Event = func(e restore.Event) { shown.set(int64(e.Items), e.Bytes, cmp.Or(e.TotalBytes, p.Bytes)) }
	}
	return restore.Run(ctx, st, p.Root, p.path, target, opt)
}

// tellItem names an item that something was done to, or would be.
func (a *app) tellItem(e restore.Event) {
	if e.Path != "" && e.Action != restore.Keep && e.Action != restore.Trouble {
		a.say("%-8s %s", e.Action, a.name(e.Path))
	}
}

func (a *app) restoreError(target string, err error) error {
	a.interrupt = "; run the same command again to go on from here"
	if errors.Is(err, restore.ErrNotEmpty) {
		return refusal("the target %s has something in it; nothing was changed: choose an empty directory, or add --in-place%w",
			printable(target), silent{err})
	}
	return err
}

// maxProblemsShown keeps a terminal readable; JSON has more.
const maxProblemsShown = 50

func (a *app) restoreDone(rep restore.Report, p place, target string, dry bool) error {
	if err := a.showRestore(rep, p, target, dry); err != nil {
		return err
	}
	if rep.ProblemCount == 0 {
		return nil
	}
	if !a.json {
		a.showProblems(rep)
	}
	return itemProblems("%s could not be made exactly as in the snapshot; everything else was",
		count(rep.ProblemCount, "thing", "things"))
}

func (a *app) showProblems(rep restore.Report) {
	shown := rep.Problems[:min(len(rep.Problems), maxProblemsShown)]
	for _, p := range shown {
		a.warn(p.Path, p.What+": "+plainText(p.Err))
	}
	if more := rep.ProblemCount - uint64(len(shown)); more > 0 {
		a.warn("", count(more, "more problem is", "more problems are")+" not shown")
	}
}

// restoreJSON is what --json prints.
type restoreJSON struct {
	Snapshot     string           `json:"snapshot"`
	Target       jsonPath         `json:"target"`
	DryRun       bool             `json:"dry_run"`
	Resumed      bool             `json:"resumed"`
	Files        uint64           `json:"files"`
	Dirs         uint64           `json:"directories"`
	Symlinks     uint64           `json:"symlinks"`
	Specials     uint64           `json:"specials"`
	Links        uint64           `json:"hard_links"`
	Bytes        int64            `json:"bytes"`
	Changed      uint64           `json:"changed"`
	Kept         uint64           `json:"kept"`
	Deleted      uint64           `json:"deleted"`
	Skipped      uint64           `json:"skipped"`
	Problems     []restoreTrouble `json:"problems"`
	ProblemCount uint64           `json:"problem_count"`
}

type restoreTrouble struct {
	jsonPath
	What  string `json:"what"`
	Error string `json:"error"`
}

func (a *app) showRestore(rep restore.Report, p place, target string, dry bool) error {
	if a.json {
		doc := restoreJSON{p.ID, newPath(target), dry, rep.Resumed, rep.Files, rep.Dirs, rep.Symlinks, rep.Specials, rep.Links,
			rep.Bytes, rep.Changed, rep.Kept, rep.Deleted, rep.Skipped, []restoreTrouble{}, rep.ProblemCount}
		for _, pr := range rep.Problems {
			doc.Problems = append(doc.Problems, restoreTrouble{newPath(pr.Path), pr.What, pr.Err.Error()})
		}
		return a.printJSON(doc)
	}
	did := "Restored"
	if dry {
		did = "Would restore"
	}
	a.say("%s snapshot %s to %s: %s, %s, %s, %s, %s; %s.", did, shortID(p.ID), printable(target),
		count(rep.Files, "file", "files"), count(rep.Dirs, "directory", "directories"),
		count(rep.Symlinks, "symlink", "symlinks"), count(rep.Links, "hard link", "hard links"),
		count(rep.Specials, "special file", "special files"), size(rep.Bytes))
	if rep.Kept+rep.Changed+rep.Deleted+rep.Skipped > 0 {
		a.say("%s were the same already, %s got new metadata, %s removed, %s left out.", number(rep.Kept), number(rep.Changed),
			number(rep.Deleted), number(rep.Skipped))
	}
	if rep.Resumed {
		a.say("This finished a restore that had been interrupted.")
	}
	return nil
}
