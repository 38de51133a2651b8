package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/seal"
	"coffer/snapshot/verify"
	"coffer/store"
)

func (a *app) repairVerb() *cli.Command {
	return &cli.Command{
		Name:      "repair",
		Usage:     "make the best of a damaged repository",
		UsageText: "coffer repair [flags]",
		Description: `Mends what 'coffer verify' finds, and with --read-data what 'coffer verify --read-data' finds. An index that
is damaged or gone is made anew from the packs; of damaged packs what is good is copied, and the rest is
given up; records come from their second copies. What cannot be had any more is named, with the snapshots
and paths that need it, and the next backup stores it again if it still exists. All else can be restored.

Nothing is changed in place and no pack is removed: 'coffer prune' does that later. Backups may run
meanwhile, and a repair that was interrupted is simply run again.

Examples:
  coffer repair --dry-run
  coffer repair
  coffer repair --read-data
  coffer repair --pack packs/0000000003/9d0c5a4e6f1b4d0c8a77b1c2d3e4f506-000002
  coffer repair --index`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing, show what would be done"},
			&cli.BoolFlag{Name: "read-data", Usage: "read all bytes first, to find what is damaged"},
			&cli.StringSliceFlag{Name: "pack", Usage: "take `PACK` for damaged, as a verify has found (repeatable)"},
			&cli.BoolFlag{Name: "index", Usage: "make the whole index anew, also what seems good of it"},
			&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "wait `DURATION` for sessions that are under way (default: 1m)"},
		},
		Action: a.runRepair,
	}
}

func (a *app) runRepair(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	r := &repairer{a: a, dry: c.Bool("dry-run"), data: c.Bool("read-data"), watch: &repairWatch{pruneWatch{a: a, wait: c.Duration("wait")}}}
	r.opt = store.RepairOptions{Index: c.Bool("index"), Packs: c.StringSlice("pack"), Missing: verify.Missing,
		Wait: r.watch.wait, Event: r.watch.event}
	r.doc = newRepairJSON(r.dry)
	switch {
	case r.opt.Wait < 0:
		return usageError("--wait is %s: it must be 0s or more", r.opt.Wait)
	case slices.Contains(r.opt.Packs, ""):
		return usageError("--pack is empty: is a variable not set?")
	}
	err := a.withStore(c, func(ctx context.Context, st *store.Store) error {
		r.st = st
		m, err := a.marker(c, st)
		if err != nil {
			return err
		}
		if err := a.knownPacks(ctx, r.opt.Packs); err != nil {
			return err
		}
		r.opt.Marker = m
		err = r.run(ctx)
		r.watch.stop()
		if a.json && ctx.Err() == nil && (err == nil || r.doc.Plan != nil || len(r.doc.Waiting) > 0) {
			err = errors.Join(a.printJSON(r.doc), err)
		}
		return err
	})
	if r.st == nil && errors.Is(err, seal.ErrDamaged) {
		return failure("a repair needs the file 'config' and one file in 'keys' whole, and nothing else can stand in for them: "+
			"put them back from any copy of the repository, they never change; nothing was changed (%w)", err)
	}
	return err
}

// knownPacks refuses packs that do not exist: a slip would repair nothing, and
// look as if it had.
func (a *app) knownPacks(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	sizes, err := a.packSizes(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if sizes(name) == 0 {
			return failure("there is no pack %q: give a name as 'coffer verify --read-data' shows it; packs that are gone are found without --pack", printable(name))
		}
	}
	return nil
}

// A repairer repairs, looks again, and goes on until there is nothing to do.
type repairer struct {
	a     *app
	st    *store.Store
	opt   store.RepairOptions
	dry   bool
	data  bool // read everything first
	watch *repairWatch
	doc   *repairJSON

	found  verify.Report
	blind  error // why snapshots cannot be looked at before records are mended
	losses losses
}

// maxRepairs bounds the rounds. The second one is for what showed only once
// records were mended.
const maxRepairs = 5

func (r *repairer) run(ctx context.Context) error {
	r.a.interrupt = "; nothing is lost by that: run 'coffer repair' again"
	for {
		if err := r.look(ctx); err != nil {
			return err
		}
		again, err := r.round(ctx)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	if r.dry {
		return nil
	}
	return r.verdict()
}

// look finds out what is damaged, as far as the repository can be read.
func (r *repairer) look(ctx context.Context) error {
	r.losses = losses{}
	r.found, r.blind = r.a.verifyAll(ctx, r.st, verify.Options{ReadData: r.data, Path: r.losses.add})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.blind != nil {
		return nil
	}
	r.data = false // once is enough
	r.opt.Packs = append(r.opt.Packs, r.found.BadPacks...)
	r.opt.Chunks = r.found.Missing
	all, err := r.a.everySnapshot(ctx, r.st)
	r.losses.name(all)
	return err
}

// round plans and repairs. It reports whether to look again.
func (r *repairer) round(ctx context.Context) (again bool, err error) {
	defer r.watch.stop()
	plan, err := r.st.PlanRepair(ctx, r.opt)
	var wait *store.WaitError
	if errors.As(err, &wait) {
		r.watch.stop()
		r.doc.Waiting = wait.Sessions
		return false, failure("nothing was repaired: the prune or repair before is not finished, and until it is, nothing new can be planned; %w: "+
			"run this again once that has ended", wait)
	}
	if err != nil {
		return false, err
	}
	if r.doc.Plan == nil {
		r.doc.Plan = newRepairPlan(plan)
		r.doc.Affected, r.doc.Opens = r.losses.list(), r.blind == nil
		r.tellPlan(plan)
	}
	if r.dry || plan.Idle() || r.doc.Rounds == maxRepairs {
		return false, nil
	}
	rep, err := plan.Run(ctx)
	if errors.Is(err, store.ErrRepairRaced) {
		r.doc.Rounds++
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r.doc.add(rep)
	r.opt.Index, r.opt.Packs, r.opt.Chunks = false, nil, nil
	if len(rep.Waiting) > 0 { // what is new is there all the same
		r.doc.Waiting = rep.Waiting
		return false, r.look(ctx)
	}
	return true, nil
}

// verdict tells how it went.
func (r *repairer) verdict() error {
	r.watch.stop()
	r.doc.Lost = r.losses.list()
	r.doc.LostChunks = r.found.Lost
	r.tellReport()
	if r.blind != nil {
		return r.blind
	}
	if n := len(r.found.BadSnapshots); n > 0 && !r.found.News {
		return itemProblems("%s not whole any more, in %s of %s; all else can be restored",
			count(len(r.losses.named), "path is", "paths are"), count(n, "snapshot", "snapshots"), number(r.found.Snapshots))
	}
	switch {
	case r.found.News && len(r.doc.Plan.Advice) > 0:
		return itemProblems("what the warnings name, a person has to see to; all else is repaired")
	case r.found.News:
		return failure("not all could be repaired: 'coffer verify' shows what is left; keep the repository as it is")
	case r.doc.Report != nil && r.doc.Report.Snapshots+len(r.doc.Report.Fates) > 0:
		return itemProblems("some snapshots are lost; all that 'coffer snapshots' lists can be restored")
	case r.doc.Report != nil && len(r.doc.Report.Unreadable) > 0:
		return itemProblems("%s not say what is in them; no snapshot needs them any more", count(len(r.doc.Report.Unreadable), "pack does", "packs do"))
	}
	return nil
}
