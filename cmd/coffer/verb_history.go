package main

import (
	"context"
	"path"
	"slices"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) historyVerb() *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "show every version of one path",
		UsageText: "coffer history [flags] PATH",
		Description: `Lists the versions of a file or directory over all snapshots, the oldest first: from which snapshot to
which it was the same, and what it was. It looks at that path alone, so it is quick in any repository.

Examples:
  coffer history /etc/fstab
  coffer history /home/anna/letter.odt --host laptop`,
		Flags:  filterFlags(),
		Action: a.runHistory,
	}
}

func (a *app) runHistory(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "one path"); err != nil {
		return err
	}
	at := path.Clean("/" + c.Args().First())
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.presentSnapshots(ctx, st)
		if err != nil {
			return err
		}
		versions, err := historyOf(ctx, st, complete(filterOf(c).Apply(all)), at)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			return failure("no snapshot has %s: paths are absolute, and 'coffer find' looks for names", printable(at))
		}
		return a.showHistory(versions, at)
	})
}

// historyOf looks at each host and name by itself: otherwise two hosts that
// take turns would make a version of each snapshot.
func historyOf(ctx context.Context, st *store.Store, snaps []snapshot.Snapshot, at string) ([]snapshot.Version, error) {
	type job struct{ host, name string }
	groups := map[job][]snapshot.Snapshot{}
	var order []job
	for _, s := range snaps {
		j := job{s.Host, s.Name}
		if groups[j] == nil {
			order = append(order, j)
		}
		groups[j] = append(groups[j], s)
	}
	var all []snapshot.Version
	err := st.Read(ctx, ids(snaps), func(ctx context.Context) error {
		for _, j := range order {
			if err := snapshot.History(ctx, st, groups[j], at, func(v snapshot.Version) error {
				all = append(all, v)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortStableFunc(all, func(x, y snapshot.Version) int { return snapshot.Compare(x.First, y.First) })
	return all, err
}

// versionJSON is a version for programs.
type versionJSON struct {
	First     string     `json:"first_snapshot"`
	FirstTime string     `json:"first_time"`
	Last      string     `json:"last_snapshot"`
	LastTime  string     `json:"last_time"`
	Snapshots int        `json:"snapshots"`
	Host      string     `json:"host"`
	Name      string     `json:"name"`
	Entry     *entryJSON `json:"entry"`
}

func (a *app) showHistory(versions []snapshot.Version, at string) error {
	if a.json {
		l := a.lister()
		for _, v := range versions {
			doc := versionJSON{v.First.ID, jsonTime(v.First.Effective), v.Last.ID, jsonTime(v.Last.Effective), v.Snapshots,
				v.First.Host, v.First.Name, newEntryJSON(at, v.Entry)}
			if err := l.add(func() any { return doc }, nil); err != nil {
				return err
			}
		}
		return l.close(nil)
	}
	t := a.table("FIRST", "TIME (UTC)", "LAST", "TIME (UTC)", "SNAPSHOTS", "HOST", "NAME", "TYPE", "SIZE", "MODIFIED (UTC)")
	for _, v := range versions {
		t.row(shortID(v.First.ID), minute(v.First.Effective), shortID(v.Last.ID), minute(v.Last.Effective), number(v.Snapshots),
			printable(v.First.Host), printable(v.First.Name), typeName(v.Entry.Type), size(v.Entry.Size), minute(v.Entry.MTime))
	}
	return t.flush()
}
