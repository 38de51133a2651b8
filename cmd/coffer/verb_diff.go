package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

func (a *app) diffVerb() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what differs between two snapshots",
		UsageText: "coffer diff [flags] SNAP[:/PATH] SNAP[:/PATH]",
		Description: `Lists the paths that differ: + added, - removed, M other content, T another type, m only other metadata.
Two directories can be compared, too, also of one snapshot. Only what differs is looked at, so it is quick.

Examples:
  coffer diff latest~1 latest
  coffer diff 2026-11-01:/etc latest:/etc
  coffer diff latest~7 latest --host web1 --json`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "no-metadata", Usage: "leave out what differs in metadata only"},
		}, filterFlags()...),
		Action: a.runDiff,
	}
}

func (a *app) runDiff(c *cli.Context) error {
	if err := wantArgs(c, 2, 2, "two snapshots, such as latest~1 latest"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		var sides [2]place
		for i := range sides {
			if sides[i], err = choose(all, c.Args().Get(i), filterOf(c)); err != nil {
				return err
			}
		}
		return st.Read(ctx, ids([]snapshot.Snapshot{sides[0].Snapshot, sides[1].Snapshot}), func(ctx context.Context) error {
			return a.diff(ctx, c, st, sides)
		})
	})
}

func (a *app) diff(ctx context.Context, c *cli.Context, st *store.Store, sides [2]place) error {
	var trees [2]chunk.ID
	for i, p := range sides {
		e, err := entryAt(ctx, st, p)
		if err != nil {
			return err
		}
		if e.Type != snapshot.Dir {
			return usageError("%s is a %s: compare directories, 'coffer history' shows the versions of a file",
				printable(p.path), typeName(e.Type))
		}
		trees[i] = e.Tree
	}
	l, sums := a.lister(), map[snapshot.ChangeKind]int{}
	err := snapshot.Diff(ctx, st, trees[0], trees[1], func(ch snapshot.Change) error {
		if ch.Kind == snapshot.Metadata && c.Bool("no-metadata") {
			return nil
		}
		sums[ch.Kind]++
		path := join(sides[1].path, ch.Path)
		return l.add(func() any { return newChangeJSON(path, ch) }, func() string {
			return changeLetter(ch.Kind) + " " + a.name(path) + changedFields(ch)
		})
	})
	if err = l.close(err); err != nil {
		return err
	}
	a.say("%d added, %d removed, %d changed, %d of another type, %d with other metadata", sums[snapshot.Added],
		sums[snapshot.Removed], sums[snapshot.Modified], sums[snapshot.Retyped], sums[snapshot.Metadata])
	return nil
}

func changeLetter(k snapshot.ChangeKind) string {
	switch k {
	case snapshot.Added:
		return "+"
	case snapshot.Removed:
		return "-"
	case snapshot.Retyped:
		return "T"
	case snapshot.Metadata:
		return "m"
	}
	return "M"
}

// changedFields says what of the metadata differs.
func changedFields(ch snapshot.Change) string {
	if ch.Kind != snapshot.Metadata {
		return ""
	}
	return " (" + strings.Join(ch.Fields, ", ") + ")"
}

// changeJSON is a change for programs.
type changeJSON struct {
	jsonPath
	Change string     `json:"change"`
	Fields []string   `json:"fields"`
	Old    *entryJSON `json:"old"`
	New    *entryJSON `json:"new"`
}

func newChangeJSON(path string, ch snapshot.Change) changeJSON {
	doc := changeJSON{jsonPath: newPath(path), Change: string(ch.Kind), Fields: orEmpty(ch.Fields)}
	if ch.Old != nil {
		doc.Old = newEntryJSON(path, ch.Old)
	}
	if ch.New != nil {
		doc.New = newEntryJSON(path, ch.New)
	}
	return doc
}
