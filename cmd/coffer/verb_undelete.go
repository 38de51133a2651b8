package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) undeleteVerb() *cli.Command {
	return &cli.Command{
		Name:      "undelete",
		Usage:     "bring back snapshots that were forgotten and are not pruned yet",
		UsageText: "coffer undelete [flags] ID... | --all",
		Description: `Makes snapshots what they were before they were forgotten: with the same ids, dates and tags. It works until
the next prune, and 'coffer snapshots --forgotten' shows which ones can be brought back.

Examples:
  coffer snapshots --forgotten
  coffer undelete 3fa9c1d2
  coffer undelete --all --host web1`,
		Flags:  append([]cli.Flag{&cli.BoolFlag{Name: "all", Usage: "all that can be brought back, and fit the other flags"}}, filterFlags()...),
		Action: a.runUndelete,
	}
}

func (a *app) runUndelete(c *cli.Context) error {
	switch {
	case c.Bool("all") && c.NArg() > 0:
		return usageError("--all and ids exclude each other: give one of them")
	case !c.Bool("all"):
		if err := wantArgs(c, 1, -1, "the ids of snapshots; 'coffer snapshots --forgotten' shows them"); err != nil {
			return err
		}
		if err := onlyIDs(c.Args().Slice()); err != nil {
			return err
		}
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		chosen := forgotten(filterOf(c).Apply(all))
		if !c.Bool("all") {
			chosen, err = eachOnce(c.Args().Slice(), func(arg string) (snapshot.Snapshot, error) { return toUndelete(all, arg) })
		}
		if err != nil {
			return err
		}
		done, err := a.undelete(ctx, st, chosen)
		if len(done.Undeleted) > 0 {
			a.tidy(ctx, c, st)
		}
		if err == nil && a.json {
			err = a.printJSON(done)
		}
		return err
	})
}

// onlyIDs sees that words and dates are not taken for ids: they mean snapshots
// that are there.
func onlyIDs(args []string) error {
	for _, arg := range args {
		if len(arg) < 4 || strings.Trim(strings.ToLower(arg), "0123456789abcdef") != "" {
			return usageError("%q is no id: give at least four digits of one that 'coffer snapshots --forgotten' shows", arg)
		}
	}
	return nil
}

// toUndelete finds what an id means: first among what was forgotten.
func toUndelete(all []snapshot.Snapshot, arg string) (snapshot.Snapshot, error) {
	s, err := snapshot.SelectForgotten(all, arg)
	if err == nil {
		return s, nil
	}
	if s, present := evenForgotten(all, arg, snapshot.Filter{}); present == nil {
		return s, nil
	}
	var e *snapshot.SelectError
	if errors.As(err, &e) && len(e.Candidates) == 0 {
		return s, failure("no snapshot that was forgotten has an id that begins with %q: it is too late once it was pruned; "+
			"'coffer snapshots --forgotten' shows what can be brought back", arg)
	}
	return s, selectError(err)
}

// undeleteJSON is what --json prints.
type undeleteJSON struct {
	Undeleted    []string `json:"undeleted"`
	NotForgotten []string `json:"not_forgotten"`
}

func (a *app) undelete(ctx context.Context, st *store.Store, chosen []snapshot.Snapshot) (undeleteJSON, error) {
	doc := undeleteJSON{[]string{}, []string{}}
	for _, s := range chosen {
		if !s.Forgotten {
			a.say("Snapshot %s was not forgotten.", shortID(s.ID))
			doc.NotForgotten = append(doc.NotForgotten, s.ID)
			continue
		}
		_, err := commitAgain(ctx, st, s, nil)
		if errors.Is(err, errPruned) {
			return doc, failure("snapshot %s has been pruned meanwhile: it is too late to bring it back", shortID(s.ID))
		}
		if err != nil {
			return doc, err
		}
		a.say("Snapshot %s of %s is back.", shortID(s.ID), minute(s.Effective))
		doc.Undeleted = append(doc.Undeleted, s.ID)
	}
	if len(chosen) == 0 {
		a.say("Nothing was forgotten that could be brought back.")
	}
	return doc, nil
}
