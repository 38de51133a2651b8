package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) lsVerb() *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list what is in a snapshot",
		UsageText: "coffer ls [flags] [SNAP[:/PATH]]",
		Description: `Lists a directory of a snapshot, of the latest one if none is given. Paths are absolute; times are UTC.

Examples:
  coffer ls
  coffer ls latest:/home/anna -l
  coffer ls 2026-11-20:/etc --recursive --json`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, group, size and time"},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "list what is in directories, too"},
		}, filterFlags()...),
		Action: a.runLs,
	}
}

func (a *app) runLs(c *cli.Context) error {
	if err := wantArgs(c, 0, 1, "one snapshot at most"); err != nil {
		return err
	}
	return a.atPlace(c, argOr(c, 0, "latest"), func(ctx context.Context, st *store.Store, p place) error {
		e, err := entryAt(ctx, st, p)
		if err != nil {
			return err
		}
		l := a.lister()
		show := func(path string, e *snapshot.Entry) error {
			return l.add(func() any { return newEntryJSON(path, e) }, func() string {
				if c.Bool("long") {
					return a.longLine(path, e)
				}
				return a.name(path)
			})
		}
		return l.close(list(ctx, st, p, e, c.Bool("recursive"), show))
	})
}

// argOr returns an argument, or what stands for it if it is not given.
func argOr(c *cli.Context, i int, otherwise string) string {
	if c.NArg() > i {
		return c.Args().Get(i)
	}
	return otherwise
}

// list calls show for the entry at p, or for what is in it if it is a directory.
func list(ctx context.Context, st *store.Store, p place, e *snapshot.Entry, deep bool, show func(string, *snapshot.Entry) error) error {
	if e.Type != snapshot.Dir {
		return show(p.path, e)
	}
	if deep {
		return snapshot.Walk(ctx, st, p.Root, p.path, func(path string, e *snapshot.Entry) error {
			if path == p.path {
				return nil
			}
			return show(path, e)
		})
	}
	for e, err := range snapshot.List(ctx, st, e.Tree, "") {
		if err != nil {
			return err
		}
		if err := show(join(p.path, e.Name), e); err != nil {
			return err
		}
	}
	return nil
}
