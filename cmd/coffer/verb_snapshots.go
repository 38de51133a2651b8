package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) snapshotsVerb() *cli.Command {
	return &cli.Command{
		Name:      "snapshots",
		Aliases:   []string{"list"},
		Usage:     "list the snapshots",
		UsageText: "coffer snapshots [flags]",
		Description: `Lists the snapshots, the oldest first; times are UTC. Where a command wants a SNAP, it takes an id or its
first digits, "latest", "latest~1" for the one before it, or a date, which means the newest snapshot up
to then; SNAP:/path is something in it. Incomplete snapshots are shown with --all. What was forgotten is
not shown, unless it is held; --forgotten shows what 'coffer undelete' can still bring back.

Examples:
  coffer snapshots
  coffer snapshots --host web1 --last 5
  coffer snapshots --tag nightly --json
  coffer snapshots --forgotten`,
		Flags: append(filterFlags(),
			&cli.IntFlag{Name: "last", Usage: "only the newest `N`"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "incomplete snapshots too"},
			&cli.BoolFlag{Name: "forgotten", Usage: "those that were forgotten and are not pruned yet, in place of the others"}),
		Action: a.runSnapshots,
	}
}

func (a *app) runSnapshots(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	last := c.Int("last")
	if last < 0 {
		return usageError("--last is %d: it must be 1 or more", last)
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		list := filterOf(c).Apply(snapshot.Present(all))
		switch {
		case c.Bool("forgotten"):
			list = forgotten(filterOf(c).Apply(all))
		case !c.Bool("all"):
			list = complete(list)
		}
		if last > 0 {
			list = list[max(0, len(list)-last):]
		}
		return a.showSnapshots(list, all)
	})
}

// forgotten are the snapshots that undelete can bring back, held ones too.
func forgotten(list []snapshot.Snapshot) []snapshot.Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s snapshot.Snapshot) bool { return !s.Forgotten })
}

// complete leaves out snapshots that are not whole.
func complete(list []snapshot.Snapshot) []snapshot.Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s snapshot.Snapshot) bool { return s.State == snapshot.Incomplete })
}

func (a *app) showSnapshots(list, all []snapshot.Snapshot) error {
	if a.json {
		docs := make([]*snapshotJSON, 0, len(list))
		for _, s := range list {
			docs = append(docs, a.snapshotJSON(s))
		}
		return a.printJSON(docs)
	}
	if len(list) == 0 {
		present := len(snapshot.Present(all))
		a.say("No snapshots to show; there are %d in all, and --all shows incomplete ones.", present)
		if gone := len(all) - present; gone > 0 {
			a.say("%s forgotten: --forgotten shows what can still be brought back.", count(gone, "more was", "more were"))
		}
		return nil
	}
	t := a.table("ID", "TIME (UTC)", "HOST", "NAME", "TAGS", "FILES", "SIZE", "STORED", "STATE", "PATHS")
	for _, s := range list {
		t.row(shortID(s.ID), minute(s.Effective), printable(s.Host), printable(s.Name), printable(strings.Join(s.Tags, ",")),
			number(s.Files), size(s.Bytes), size(s.Stored), stateName(s.State)+marks(s), printable(paths(s)))
	}
	return t.flush()
}

func paths(s snapshot.Snapshot) string {
	var all []string
	for _, src := range s.Sources {
		all = append(all, src.At)
	}
	return strings.Join(all, " ")
}

// marks say what became of a snapshot after it was made.
func marks(s snapshot.Snapshot) string {
	text := ""
	if len(s.Holds) > 0 {
		text += ", held"
	}
	if s.Forgotten {
		text += ", forgotten"
	}
	return text
}

func stateName(s snapshot.State) string {
	switch s {
	case snapshot.Complete:
		return "complete"
	case snapshot.WithErrors:
		return "errors"
	}
	return "incomplete"
}

func stateNote(s snapshot.State) string {
	switch s {
	case snapshot.WithErrors:
		return " (complete but for items that could not be read)"
	case snapshot.Incomplete:
		return " (incomplete)"
	}
	return ""
}

// snapshotJSON is a snapshot for programs.
type snapshotJSON struct {
	ID       string        `json:"id"`
	Host     string        `json:"host"`
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Sequence uint64        `json:"sequence"`
	Time     string        `json:"time"`
	Captured string        `json:"captured"`
	Finished string        `json:"finished"`
	Received string        `json:"received"`
	Parent   string        `json:"parent,omitempty"`
	Root     string        `json:"root"`
	Tags     []string      `json:"tags"`
	Sources  []sourceJSON  `json:"sources"`
	Excludes []string      `json:"excludes"`
	Items    uint64        `json:"items"`
	Files    uint64        `json:"files"`
	Bytes    int64         `json:"bytes"`
	NewBytes int64         `json:"bytes_new"`
	Stored   int64         `json:"bytes_stored"`
	Errors   uint64        `json:"errors"`
	Warned   uint64        `json:"warned"`
	Warnings []warningJSON `json:"warnings"`
	User     string        `json:"user,omitempty"`
	Program  string        `json:"program,omitempty"`

	Holds     []holdJSON `json:"holds"`
	Forgotten bool       `json:"forgotten"`
	Rewrote   string     `json:"rewrote,omitempty"`
}

type sourceJSON struct {
	Kind string `json:"kind"`
	Spec string `json:"spec"`
	jsonPath
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

type warningJSON struct {
	jsonPath
	Text string `json:"text"`
	Item bool   `json:"item"`
}

func (a *app) snapshotJSON(s snapshot.Snapshot) *snapshotJSON {
	j := &snapshotJSON{ID: s.ID, Host: s.Host, Name: s.Name, State: stateName(s.State), Sequence: s.Sequence,
		Time: jsonTime(s.Effective), Captured: jsonTime(s.Captured), Finished: jsonTime(s.Finished),
		Received: jsonTime(s.Received), Parent: s.Parent, Root: s.Root.String(), Tags: orEmpty(s.Tags),
		Sources: []sourceJSON{}, Excludes: orEmpty(s.Excludes), Items: s.Items, Files: s.Files, Bytes: s.Bytes,
		NewBytes: s.NewBytes, Stored: s.Stored, Errors: s.Errors, Warned: s.Warned, Warnings: []warningJSON{},
		User: s.User, Program: s.Program, Holds: []holdJSON{}, Forgotten: s.Forgotten, Rewrote: s.Rewrote}
	for _, h := range s.Holds {
		j.Holds = append(j.Holds, a.holdJSON(h))
	}
	for _, src := range s.Sources {
		j.Sources = append(j.Sources, sourceJSON{src.Kind, src.Spec, newPath(src.At), src.Error, float64(src.Nanos) / 1e9})
	}
	for _, w := range s.Warnings {
		j.Warnings = append(j.Warnings, warningJSON{newPath(w.Path), w.Text, w.Item})
	}
	return j
}

// orEmpty makes null an empty list, which is easier to use.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
