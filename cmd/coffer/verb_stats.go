package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) statsVerb() *cli.Command {
	return &cli.Command{
		Name:      "stats",
		Usage:     "show sizes, and what deduplication and compression save",
		UsageText: "coffer stats [flags]",
		Description: `Shows how large the repository is, how large all its snapshots would be if each were a plain copy, and what
each snapshot added.

Examples:
  coffer stats
  coffer stats --host web1
  coffer stats --json`,
		Flags:  filterFlags(),
		Action: a.runStats,
	}
}

// repoStats is what --json prints.
type repoStats struct {
	Repository string         `json:"repository_id"`
	Snapshots  int            `json:"snapshots"`
	Logical    int64          `json:"logical_bytes"` // of the snapshots as plain copies
	Unique     int64          `json:"unique_bytes"`  // plain bytes that they added
	Added      int64          `json:"stored_bytes"`  // what that took in the repository
	Ratio      float64        `json:"ratio"`
	Objects    objectStats    `json:"repository"`
	List       []snapshotSize `json:"list"`
}

// objectStats is what lies in the repository, of all snapshots.
type objectStats struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Packs   int64 `json:"packs"`
	Data    int64 `json:"pack_bytes"`
	Index   int64 `json:"index_bytes"`
}

type snapshotSize struct {
	ID       string `json:"id"`
	Time     string `json:"time"`
	Host     string `json:"host"`
	Name     string `json:"name"`
	Files    uint64 `json:"files"`
	Bytes    int64  `json:"bytes"`
	NewBytes int64  `json:"bytes_new"`
	Stored   int64  `json:"bytes_stored"`
}

func (a *app) runStats(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.presentSnapshots(ctx, st)
		if err != nil {
			return err
		}
		list := filterOf(c).Apply(all)
		sums := sumSnapshots(list)
		sums.Repository = st.Config().ID
		if sums.Objects, err = a.sumObjects(ctx); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(sums)
		}
		return a.showStats(sums, list)
	})
}

func sumSnapshots(list []snapshot.Snapshot) repoStats {
	r := repoStats{Snapshots: len(list), List: []snapshotSize{}}
	for _, s := range list {
		r.Logical += s.Bytes
		r.Unique += s.NewBytes
		r.Added += s.Stored
		r.List = append(r.List, snapshotSize{s.ID, jsonTime(s.Effective), s.Host, s.Name, s.Files, s.Bytes, s.NewBytes, s.Stored})
	}
	r.Ratio = ratio(r.Logical, r.Added)
	return r
}

// sumObjects adds up the repository as its disk sees it.
func (a *app) sumObjects(ctx context.Context) (objectStats, error) {
	var o objectStats
	b, err := a.openBucket()
	if err != nil {
		return o, err
	}
	for info, err := range b.List(ctx, "", "") {
		if err != nil {
			return o, err
		}
		o.Objects++
		o.Bytes += info.Size
		switch kind, _, _ := strings.Cut(info.Name, "/"); kind {
		case "packs":
			o.Packs++
			o.Data += info.Size
		case "index":
			o.Index += info.Size
		}
	}
	return o, nil
}

func ratio(logical, stored int64) float64 {
	if stored == 0 {
		return 0
	}
	return float64(logical) / float64(stored)
}

func (a *app) showStats(r repoStats, list []snapshot.Snapshot) error {
	t := a.table("ID", "TIME (UTC)", "HOST", "NAME", "FILES", "SIZE", "NEW", "STORED", "STATE")
	for _, s := range list {
		t.row(shortID(s.ID), minute(s.Effective), printable(s.Host), printable(s.Name), number(s.Files), size(s.Bytes),
			size(s.NewBytes), size(s.Stored), stateName(s.State))
	}
	if err := t.flush(); err != nil {
		return err
	}
	a.say("")
	a.say("As plain copies:  %s in %s", size(r.Logical), count(r.Snapshots, "snapshot", "snapshots"))
	a.say("Deduplicated:     %s%s", size(r.Unique), times(r.Logical, r.Unique))
	a.say("Stored:           %s%s", size(r.Added), times(r.Logical, r.Added))
	a.say("Repository:       %s in %s, of which %s are %s and %s the index", size(r.Objects.Bytes),
		count(r.Objects.Objects, "object", "objects"), size(r.Objects.Data), count(r.Objects.Packs, "pack", "packs"), size(r.Objects.Index))
	return nil
}

func times(logical, part int64) string {
	if part == 0 {
		return ""
	}
	return fmt.Sprintf(" (1/%.1f)", ratio(logical, part))
}
