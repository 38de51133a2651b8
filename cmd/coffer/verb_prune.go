package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/bucket"
	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/gc"
	"coffer/store"
)

func (a *app) pruneVerb() *cli.Command {
	return &cli.Command{
		Name:      "prune",
		Usage:     "free the space of what was forgotten",
		UsageText: "coffer prune [flags]",
		Description: `Shows what nothing needs any more, and removes it. Backups, restores and other prunes may run meanwhile:
what they write or read stays. Packs of which little is needed are written again without the rest; where
most of a pack is needed, it stays as it is.

The last step waits for the sessions that began before it, for as long as --wait says. If they take longer,
the next prune or the next backup finishes it. A prune may be killed at any point, and nothing has to
be unlocked afterwards.

Examples:
  coffer prune --dry-run
  coffer prune
  coffer prune --max-repack 10G --wait 10m
  coffer prune --explain 3fa9c1d2
  coffer prune --explain packs/0000000007/5a0f-000003`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "remove nothing, show what would be removed"},
			&cli.StringFlag{Name: "explain", Usage: "remove nothing, say what keeps `PACK|SNAP` and how much it takes"},
		}, pruneFlags()...),
		Action: a.runPrune,
	}
}

func pruneFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "max-repack", Usage: "when pruning, write at most `SIZE` again out of packs of which little is needed"},
		&cli.BoolFlag{Name: "thorough", Usage: "when pruning, write every pack again that has anything in it which nothing needs: it takes long, and is meant for secrets"},
		&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "when pruning, wait `DURATION` for sessions that are under way (default: 1m)"},
	}
}

// A pruning is how to prune.
type pruning struct {
	maxRepack int64 // as in store.PruneOptions
	thorough  bool
	wait      time.Duration
}

func (a *app) readPruning(c *cli.Context) (p pruning, err error) {
	if p.wait = c.Duration("wait"); p.wait < 0 {
		return p, usageError("--wait is %s: it must be 0s or more", p.wait)
	}
	p.thorough = c.Bool("thorough")
	if p.thorough && c.IsSet("max-repack") {
		return p, usageError("--thorough writes again whatever it must: leave out --max-repack")
	}
	if !c.IsSet("max-repack") {
		return p, nil
	}
	if c.String("max-repack") == "" {
		return p, usageError("--max-repack is empty: is a variable not set?")
	}
	if p.maxRepack, err = sizeFlag(c, "max-repack"); p.maxRepack == 0 {
		p.maxRepack = -1
	}
	return p, err
}

func (a *app) runPrune(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	how, err := a.readPruning(c)
	if err != nil {
		return err
	}
	if c.IsSet("explain") && c.String("explain") == "" {
		return usageError("--explain is empty: is a variable not set?")
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		p, err := a.newPruner(c, st, how)
		if err != nil {
			return err
		}
		if what := c.String("explain"); what != "" {
			return p.explain(ctx, what, filterOf(c))
		}
		err = p.run(ctx, c.Bool("dry-run"))
		if a.json && (err == nil || p.rep.Report != nil) {
			err = errors.Join(a.printJSON(p.rep), err)
		}
		return err
	})
}

// pruneAfter prunes after snapshots were forgotten, or would be.
func (a *app) pruneAfter(ctx context.Context, c *cli.Context, st *store.Store, how pruning, dry bool, groups []judged) (*pruneReport, error) {
	p, err := a.newPruner(c, st, how)
	if err != nil {
		return nil, err
	}
	if dry {
		for v := range toForget(groups) {
			p.also = append(p.also, v.commits()...)
		}
	}
	a.say("")
	err = p.run(ctx, dry)
	return &p.rep, err
}

// A pruner runs one prune and tells of it.
type pruner struct {
	a      *app
	st     *store.Store
	marker *witness
	opt    store.PruneOptions
	watch  pruneWatch
	also   []string // commits that a dry run takes for forgotten, too
	rep    pruneReport
}

// A witness is a marker that remembers what it read from, so that questions can
// be asked of the same.
type witness struct {
	*gc.Marker
	view store.MarkView
}

func (w *witness) Mark(ctx context.Context, v store.MarkView, commits []store.Commit, live *store.LiveSet) error {
	w.view = v
	return w.Marker.Mark(ctx, v, commits, live)
}

func (a *app) newPruner(c *cli.Context, st *store.Store, how pruning) (*pruner, error) {
	m, err := a.marker(c, st)
	if err != nil {
		return nil, err
	}
	p := &pruner{a: a, st: st, marker: &witness{Marker: m}, watch: pruneWatch{a: a, wait: how.wait}}
	p.rep.Waiting, p.rep.Checked = []store.SessionInfo{}, []string{}
	p.opt = store.PruneOptions{Marker: p.marker, MaxRepack: how.maxRepack, Thorough: how.thorough, Wait: how.wait, Event: p.watch.event, Fold: foldNotes}
	return p, nil
}

// foldNotes writes many notes as one.
func foldNotes(notes []store.Note, exists func(string) bool) ([]byte, []string, error) {
	stored := make([]snapshot.StoredNote, len(notes))
	for i, n := range notes {
		stored[i] = snapshot.StoredNote(n)
	}
	return snapshot.FoldNotes(stored, exists)
}

// maxRounds bounds how often a prune goes on on a full disk: each round makes
// room for the next.
const maxRounds = 20

func (p *pruner) run(ctx context.Context, dry bool) error {
	p.a.interrupt = "; nothing that a snapshot needs is lost, and what was begun is finished by the next prune or backup"
	p.rep.DryRun = dry
	for {
		rep, err := p.round(ctx, dry)
		if err != nil || rep == nil {
			return err
		}
		p.rep.add(*rep)
		if !goOn(*rep) || p.rep.Rounds == maxRounds {
			break
		}
		if rep.Full {
			p.a.note("The disk is full: round %d has freed %s, going on.", p.rep.Rounds, size(rep.Freed))
		}
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	p.cleanTemp(ctx)
	return p.verdict()
}

// goOn reports whether another round may do what this one could not.
func goOn(rep store.PruneReport) bool {
	return len(rep.Waiting) == 0 && (rep.Overtaken || rep.Full && rep.Freed > 0)
}

// cleanTemp removes the files that processes have left unfinished.
func (p *pruner) cleanTemp(ctx context.Context) {
	type cleaner interface {
		CleanTemp(context.Context) (int, error)
	}
	b, err := p.a.openBucket()
	if err == nil {
		if c, ok := bucket.As[cleaner](b); ok {
			p.rep.Unfinished, err = c.CleanTemp(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		p.a.warn("", "files that were left unfinished could not be removed: "+plainText(err))
	}
}

// round plans and prunes. It returns no report where there was nothing to run.
func (p *pruner) round(ctx context.Context, dry bool) (*store.PruneReport, error) {
	defer p.watch.stop()
	p.opt.DryRun = dry
	plan, err := p.st.PlanPrune(ctx, p.opt)
	var wait *store.WaitError
	if errors.As(err, &wait) {
		p.watch.stop()
		p.rep.Waiting = wait.Sessions
		p.tellWaiting("The prune before this one is not finished, and until it is, nothing new can be planned. " +
			"Run this again once these have ended:")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	if p.rep.Plan == nil {
		p.watch.stop()
		if err := p.showPlan(ctx, plan); err != nil {
			return nil, err
		}
	}
	if dry {
		p.a.say("This was a dry run: nothing was removed.")
		return nil, nil
	}
	rep, err := plan.Run(ctx)
	return &rep, err
}

// verdict tells how it went.
func (p *pruner) verdict() error {
	r := p.rep.Report
	switch {
	case r.Removed.Objects > 0 && r.Freed <= 0:
		p.a.say("Done. No space was freed: nearly all of every pack is still needed.")
	case r.Removed.Objects > 0:
		p.a.say("Freed %s: %s removed, %s written again.", size(r.Freed), count(r.Removed.Objects, "object", "objects"), size(r.Copied))
	case r.Overtaken:
		p.a.say("Others prune all the time, and leave nothing to do.")
	case len(r.Waiting) == 0 && !p.rep.Plan.nothing():
		p.a.say("Nothing was removed.")
	}
	if n := p.rep.Unfinished; n > 0 {
		p.a.say("Removed %s of processes that were killed.", count(n, "unfinished file", "unfinished files"))
	}
	if len(r.Waiting) > 0 {
		p.rep.Waiting = r.Waiting
		p.tellWaiting("What was condemned is removed by the next coffer command that writes, or the next prune, once these have ended:")
	}
	if r.Full && r.Removed.Objects == 0 {
		return failure("the disk of the repository %s is so full that nothing could be removed, for that takes some room itself: make a little and prune again",
			p.a.repoName())
	}
	if r.Full {
		p.a.warn("", "the disk is too full to write again what is needed of the packs that are left: make room and prune again")
	}
	if len(r.Kept) > 0 {
		return itemProblems("%s had to stay, for what is damaged cannot be copied; all else was done: run 'coffer verify --read-data', and then 'coffer repair'",
			count(len(r.Kept), "pack", "packs"))
	}
	return nil
}

func (p *pruner) tellWaiting(what string) {
	p.a.say("%s", what)
	for _, s := range p.rep.Waiting {
		p.a.say("  %s", printable(s.String()))
	}
}

// checked is how many snapshots are walked after a prune. Most of what they need
// they have in common, and it is looked at once.
const checked = 2

// check walks a few snapshots against what is left: a prune that has removed
// too much must not go unnoticed. It does so in a session, so that another prune
// leaves alone what it looks at.
func (p *pruner) check(ctx context.Context) error {
	if p.rep.Report.Removed.Objects == 0 {
		return nil
	}
	w, err := p.st.Begin(ctx)
	if err != nil {
		return fmt.Errorf("check what is left: %w", err)
	}
	some := slices.Clone(w.Commits())
	rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return errors.Join(p.checkSome(ctx, w, some[:min(len(some), checked)]), w.Abort(ctx))
}

func (p *pruner) checkSome(ctx context.Context, w *store.Session, some []store.Commit) error {
	has := func(id chunk.ID) (bool, error) { return p.st.Has(ctx, id) }
	missing, err := p.marker.Missing(ctx, sessionView{w, p.st}, some, has)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%s that they need are not there", count(len(missing), "chunk", "chunks"))
	}
	names := make([]string, len(some))
	for i, c := range some {
		names[i] = shortID(c.ID)
		p.rep.Checked = append(p.rep.Checked, c.ID)
	}
	if err != nil {
		return failure("THE CHECK AFTER THE PRUNE HAS FAILED: of the snapshots %s not all is there (%w): do not prune again before 'coffer verify --read-data' "+
			"has found out what is damaged; if no disk is to blame, keep a copy of the repository and report this", strings.Join(names, ", "), err)
	}
	return nil
}

// A sessionView is what a session sees, for a marker.
type sessionView struct {
	*store.Session
	st *store.Store
}

func (v sessionView) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return v.st.Each(ctx, k, ids, fn)
}
