package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) tagVerb() *cli.Command {
	return &cli.Command{
		Name:      "tag",
		Usage:     "change the tags of snapshots",
		UsageText: "coffer tag --add TAG | --remove TAG | --set TAG [flags] SNAP...",
		Description: `Adds tags to snapshots, takes tags away, or sets all of them. Tags may be separated by commas.

Examples:
  coffer tag --add keep,release-2.1 latest
  coffer tag --remove keep 3fa9c1d2 71bb04e9
  coffer tag --set '' 3fa9c1d2`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "add", Usage: "add a `TAG` (repeat or separate by commas)"},
			&cli.StringSliceFlag{Name: "remove", Usage: "take a `TAG` away (repeat or separate by commas)"},
			&cli.StringSliceFlag{Name: "set", Usage: "let `TAG` be the only tag (repeat or separate by commas; '' for none)"},
		}, tagFilterFlags()...),
		Action: a.runTag,
	}
}

// tagFilterFlags are the filters for the words that name snapshots.
func tagFilterFlags() []cli.Flag {
	return slices.DeleteFunc(filterFlags(), func(f cli.Flag) bool { return f.Names()[0] == "tag" })
}

func (a *app) runTag(c *cli.Context) error {
	note, err := a.newTags(c)
	if err == nil {
		err = wantArgs(c, 1, -1, "one snapshot or more")
	}
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		chosen, err := eachOnce(c.Args().Slice(), func(arg string) (snapshot.Snapshot, error) {
			s, path, err := snapshot.Select(all, arg, filterOf(c))
			return s, wholeOnly(arg, path, err)
		})
		if err != nil {
			return err
		}
		if err := putTags(ctx, st, note, chosen); err != nil {
			return err
		}
		return a.showTags(ctx, st, chosen)
	})
}

// newTags reads what is to be done to tags.
func (a *app) newTags(c *cli.Context) (snapshot.Note, error) {
	set := splitCommas(c.StringSlice("set"))
	n := snapshot.Note{Time: snapshot.TimeOf(a.now()), By: a.userAtHost(), Set: c.IsSet("set"),
		Add: splitCommas(c.StringSlice("add")), Remove: splitCommas(c.StringSlice("remove"))}
	switch {
	case n.Set && (c.IsSet("add") || c.IsSet("remove")):
		return n, usageError("--set and --add or --remove exclude each other: give one of them")
	case !n.Set && len(n.Add)+len(n.Remove) == 0:
		return n, usageError("say what to change: give --add TAG, --remove TAG or --set TAG")
	}
	for _, t := range n.Add {
		if slices.Contains(n.Remove, t) {
			return n, usageError("the tag %q is to be added and removed: leave it out of one of the two", t)
		}
	}
	n.Add = append(n.Add, set...)
	for _, t := range slices.Concat(n.Add, n.Remove) {
		if len(t) > 1024 {
			return n, usageError("a tag has %d bytes: at most 1024 are possible", len(t))
		}
	}
	return n, nil
}

// putTags stores what note says for each of the snapshots, in one object. Notes
// count in the order of their times, so this one gets a time after all that is
// known of its snapshot: with a slow clock it would say nothing.
func putTags(ctx context.Context, st *store.Store, note snapshot.Note, chosen []snapshot.Snapshot) error {
	known, err := readNotes(ctx, st)
	if err != nil && !errors.As(err, new(unreadable)) {
		return err
	}
	notes := make([]snapshot.Note, len(chosen))
	for i, s := range chosen {
		notes[i] = note
		notes[i].Kind, notes[i].Snapshot = snapshot.TagNote, s.ID
		for _, n := range known {
			if last := n.Time.AsTime(); n.Snapshot == s.ID && !last.Before(notes[i].Time.AsTime()) {
				notes[i].Time = snapshot.TimeOf(last.Add(1))
			}
		}
	}
	payload, err := snapshot.EncodeNotes(notes...)
	if err != nil {
		return err
	}
	return st.PutNote(ctx, payload)
}

// tagsJSON is what --json prints of each snapshot.
type tagsJSON struct {
	ID   string   `json:"id"`
	Tags []string `json:"tags"`
}

// showTags shows what tags there are now.
func (a *app) showTags(ctx context.Context, st *store.Store, chosen []snapshot.Snapshot) error {
	all, err := a.everySnapshot(ctx, st)
	if err != nil {
		return err
	}
	docs := []tagsJSON{}
	for _, old := range chosen {
		i := slices.IndexFunc(all, func(s snapshot.Snapshot) bool { return s.ID == old.ID })
		if i < 0 { // pruned meanwhile
			continue
		}
		docs = append(docs, tagsJSON{old.ID, orEmpty(all[i].Tags)})
		text := "no tags"
		if len(all[i].Tags) > 0 {
			text = "the tags " + printable(strings.Join(all[i].Tags, ", "))
		}
		a.say("Snapshot %s has %s.", shortID(old.ID), text)
	}
	if a.json {
		return a.printJSON(docs)
	}
	return nil
}
