package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) findVerb() *cli.Command {
	return &cli.Command{
		Name:      "find",
		Usage:     "look for files by name, size or time",
		UsageText: "coffer find [flags] [PATTERN...]",
		Description: `Lists what fits one of the patterns, and all of the flags, in the latest snapshot. A pattern without a
slash is for names, one with a slash for whole paths, where "**" stands for any directories; put patterns
in quotes, so that the shell leaves them alone.

Examples:
  coffer find '*.docx'
  coffer find '/home/**/invoice-*' --all
  coffer find --larger-than 1G --type file -l
  coffer find '*.log' --snapshot 2026-11-20:/var --newer 2026-11-19`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "snapshot", Aliases: []string{"s"}, Usage: "look in `SNAP[:/PATH]` (default: latest)"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "look in all snapshots"},
			&cli.StringSliceFlag{Name: "type", Usage: "only items of this `TYPE`: file, dir, symlink, block, char, fifo, socket (repeatable)"},
			&cli.StringFlag{Name: "larger-than", Usage: "only files of `SIZE` and more"},
			&cli.StringFlag{Name: "smaller-than", Usage: "only files of `SIZE` and less"},
			&cli.StringFlag{Name: "newer", Usage: "only what was changed at `TIME` or later"},
			&cli.StringFlag{Name: "older", Usage: "only what was changed before `TIME`"},
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, group, size and time"},
			&cli.StringFlag{Name: "host", Usage: "only snapshots of this `HOST`"},
			&cli.StringFlag{Name: "name", Usage: "only snapshots of this `NAME`"},
			&cli.StringSliceFlag{Name: "tag", Usage: "only snapshots with this `TAG` (repeatable)"},
		},
		Action: a.runFind,
	}
}

func (a *app) runFind(c *cli.Context) error {
	queries, err := findQueries(c)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		places, err := a.findPlaces(ctx, c, st)
		if err != nil {
			return err
		}
		l := a.lister()
		return l.close(st.Read(ctx, placeIDs(places), func(ctx context.Context) error {
			for _, p := range places {
				if err := a.findIn(ctx, c, st, p, queries, l); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}

// findPlaces are where to look, the oldest snapshot first.
func (a *app) findPlaces(ctx context.Context, c *cli.Context, st *store.Store) ([]place, error) {
	all, err := a.everySnapshot(ctx, st)
	if err != nil {
		return nil, err
	}
	if !c.Bool("all") {
		p, err := choose(all, cmp.Or(c.String("snapshot"), "latest"), filterOf(c))
		return []place{p}, err
	}
	if c.IsSet("snapshot") {
		return nil, usageError("--all and --snapshot exclude each other: give one of them")
	}
	var places []place
	for _, s := range complete(filterOf(c).Apply(snapshot.Present(all))) {
		places = append(places, place{s, "/"})
	}
	return places, nil
}

func placeIDs(places []place) []string {
	list := make([]snapshot.Snapshot, 0, len(places))
	for _, p := range places {
		list = append(list, p.Snapshot)
	}
	return ids(list)
}

func (a *app) findIn(ctx context.Context, c *cli.Context, st *store.Store, p place, queries []snapshot.Query, l *lister) error {
	if _, err := entryAt(ctx, st, p); err != nil {
		return err
	}
	below := strings.TrimSuffix(p.path, "/") + "/"
	show := func(path string, e *snapshot.Entry) error {
		if path != p.path && !strings.HasPrefix(path, below) {
			return nil
		}
		return l.add(func() any {
			doc := newEntryJSON(path, e)
			doc.Snapshot = p.ID
			return doc
		}, func() string { return a.findLine(c, p, path, e) })
	}
	return findAny(ctx, st, p, queries, show)
}

func (a *app) findLine(c *cli.Context, p place, path string, e *snapshot.Entry) string {
	line := a.name(path)
	if c.Bool("long") {
		line = a.longLine(path, e)
	}
	if c.Bool("all") {
		line = shortID(p.ID) + "  " + line
	}
	return line
}

// findAny shows what fits any of the queries. An item that fits two is shown
// once: the second search leaves out what the first has found.
func findAny(ctx context.Context, st *store.Store, p place, queries []snapshot.Query, show func(string, *snapshot.Entry) error) error {
	seen := map[string]bool{}
	for _, q := range queries {
		err := snapshot.Find(ctx, st, p.Root, q, func(path string, e *snapshot.Entry) error {
			if len(queries) > 1 {
				if seen[path] {
					return nil
				}
				seen[path] = true
			}
			return show(path, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findQueries makes one query of each pattern.
func findQueries(c *cli.Context) ([]snapshot.Query, error) {
	base, err := findConditions(c)
	if err != nil {
		return nil, err
	}
	if c.NArg() == 0 {
		return []snapshot.Query{base}, nil
	}
	var all []snapshot.Query
	for _, pattern := range c.Args().Slice() {
		q := base
		if strings.Contains(pattern, "/") {
			q.Path = anywhere(pattern)
		} else {
			q.Name = pattern
		}
		if !doublestar.ValidatePattern(pattern) {
			return nil, usageError("%q is no valid pattern: a bracket or brace in it is not closed", pattern)
		}
		all = append(all, q)
	}
	return all, nil
}

// anywhere lets a path that does not begin at the top fit at any depth.
func anywhere(pattern string) string {
	if strings.HasPrefix(pattern, "/") || strings.HasPrefix(pattern, "**/") {
		return pattern
	}
	return "/**/" + pattern
}

func findConditions(c *cli.Context) (q snapshot.Query, err error) {
	for _, name := range splitCommas(c.StringSlice("type")) {
		t, ok := parseType(name)
		if !ok {
			return q, usageError("--type %q is no type: it is one of file, dir, symlink, block, char, fifo, socket", name)
		}
		q.Types = append(q.Types, t)
	}
	if q.MinSize, err = sizeFlag(c, "larger-than"); err != nil {
		return q, err
	}
	if c.IsSet("smaller-than") {
		most, err := sizeFlag(c, "smaller-than")
		if err != nil {
			return q, err
		}
		q.MaxSize = &most
	}
	if q.After, err = timeFlag(c, "newer"); err != nil {
		return q, err
	}
	q.Before, err = timeFlag(c, "older")
	return q, err
}

// parseType reads a type by its name or its first letter.
func parseType(name string) (snapshot.Type, bool) {
	for t := snapshot.File; t <= snapshot.Socket; t++ {
		if full := typeName(t); name == full || name == full[:1] && t != snapshot.Socket || name == "l" && t == snapshot.Symlink {
			return t, true
		}
	}
	return 0, false
}

func timeFlag(c *cli.Context, name string) (time.Time, error) {
	if text := c.String(name); text != "" {
		return parseTime(name, text)
	}
	return time.Time{}, nil
}
