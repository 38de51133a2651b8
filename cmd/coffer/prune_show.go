package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"coffer/snapshot"
	"coffer/store"
)

// pruneReport is what --json prints.
type pruneReport struct {
	DryRun  bool                `json:"dry_run"`
	Plan    *prunePlan          `json:"plan"`    // null where nothing could be planned
	Report  *store.PruneReport  `json:"report"`  // null where nothing was done
	Waiting []store.SessionInfo `json:"waiting"` // what the end of the prune has to wait for
	Rounds  int                 `json:"rounds"`
	Checked []string            `json:"checked_snapshots"`

	Unfinished int `json:"unfinished_files"` // of processes that were killed, removed
}

// prunePlan is a plan for programs.
type prunePlan struct {
	Idle      bool                `json:"idle"`
	Packs     store.Amount        `json:"packs"`
	Live      int64               `json:"needed_bytes"`
	Dropped   []string            `json:"dropped_snapshots"`
	Dead      store.Amount        `json:"dead"`
	Repack    store.Amount        `json:"repack"`
	Merge     store.Amount        `json:"merge"`
	Copy      int64               `json:"copy_bytes"`
	Stay      store.Amount        `json:"stay"`
	Orphans   store.Amount        `json:"orphans"`
	Leftover  store.Amount        `json:"leftover"`
	Frees     int64               `json:"frees_bytes"`
	Holds     int                 `json:"holds"`
	HeldBytes int64               `json:"held_bytes"`
	WouldFree int64               `json:"needed_only_by_forgotten_bytes,omitempty"`
	Running   []store.SessionInfo `json:"running"`
}

func (d *prunePlan) nothing() bool { return d.Idle && d.Leftover.Objects == 0 && d.WouldFree == 0 }

// add sums up a round.
func (r *pruneReport) add(round store.PruneReport) {
	r.Rounds++
	if r.Report == nil {
		r.Report = &round
		return
	}
	sum := r.Report
	sum.Generation, sum.Waiting, sum.Full, sum.Overtaken = round.Generation, round.Waiting, round.Full, round.Overtaken
	sum.Dropped += round.Dropped
	sum.Copied += round.Copied
	sum.Freed += round.Freed
	sum.Removed.Objects += round.Removed.Objects
	sum.Removed.Bytes += round.Removed.Bytes
	for _, name := range round.Kept {
		if !slices.Contains(sum.Kept, name) {
			sum.Kept = append(sum.Kept, name)
		}
	}
}

// showPlan says what is to go and what stays, and why.
func (p *pruner) showPlan(ctx context.Context, plan *store.PrunePlan) error {
	all, err := p.a.everySnapshot(ctx, p.st)
	if err != nil {
		return err
	}
	doc := &prunePlan{Idle: plan.Idle(), Packs: plan.Packs, Live: plan.Live, Dropped: dropped(all, plan.Drop), Dead: plan.Dead,
		Repack: plan.Repack, Merge: plan.Merge, Copy: plan.Copy, Stay: plan.Stay, Orphans: plan.Orphans, Leftover: plan.Leftover,
		Frees: plan.Frees(), Running: append([]store.SessionInfo{}, plan.Running...)}
	var holds []string
	for _, h := range holdings(all) {
		holds = append(holds, h.hold.Record)
	}
	if doc.Holds = len(holds); doc.Holds > 0 {
		if doc.HeldBytes, err = plan.OnlyFor(ctx, holds); err != nil {
			return err
		}
	}
	if len(p.also) > 0 {
		if doc.WouldFree, err = plan.OnlyFor(ctx, p.also); err != nil {
			return err
		}
	}
	p.rep.Plan = doc
	p.a.tellPlan(doc)
	return nil
}

// dropped are the snapshots that are gone with commits that a prune drops.
func dropped(all []snapshot.Snapshot, drop []string) []string {
	list := []string{}
	for _, s := range all {
		if !s.Present() && !slices.ContainsFunc(s.Asked, func(id string) bool { return !slices.Contains(drop, id) }) {
			list = append(list, s.ID)
		}
	}
	return list
}

func (a *app) tellPlan(d *prunePlan) {
	packs := func(x store.Amount) string { return count(x.Objects, "pack", "packs") }
	a.say("Repository: %s (%s), of which snapshots need %s", packs(d.Packs), size(d.Packs.Bytes), size(d.Live))
	if n := len(d.Dropped); n > 0 {
		a.say("Forgotten:  %s for good", count(n, "snapshot goes", "snapshots go"))
	}
	if d.Dead.Objects > 0 {
		a.say("To go:      %s (%s) that nothing needs", packs(d.Dead), size(d.Dead.Bytes))
	}
	if n := d.Repack.Objects + d.Merge.Objects; n > 0 {
		a.say("To rewrite: %s (%s), of which %s are needed and copied", count(n, "pack", "packs"),
			size(d.Repack.Bytes+d.Merge.Bytes), size(d.Copy))
	}
	if n := d.Merge.Objects; n > 0 {
		a.say("            (%s because they are small, and are written together)", number(n))
	}
	if n := d.Orphans.Objects + d.Leftover.Objects; n > 0 {
		a.say("Left over:  %s (%s) of runs that were cut off", count(n, "object", "objects"), size(d.Orphans.Bytes+d.Leftover.Bytes))
	}
	if d.Stay.Bytes > d.Packs.Bytes/100 {
		a.say("To stay:    %s with %s that nothing needs: too little to be worth writing", packs(d.Stay), size(d.Stay.Bytes))
		a.say("            them again, or more than --max-repack allows")
	}
	if d.HeldBytes > 0 {
		a.say("Held:       %s that only %s", size(d.HeldBytes), count(d.Holds, "hold keeps", "holds keep"))
	}
	for _, s := range d.Running {
		a.say("Running:    %s;", printable(s.String()))
		a.say("            what it has written or reads is left alone")
	}
	if d.WouldFree > 0 {
		a.say("With those: %s more, which only what would be forgotten needs", size(d.WouldFree))
	}
	if d.nothing() {
		a.say("There is nothing to remove.")
		return
	}
	a.say("This frees  %s.", size(d.Frees+d.WouldFree))
}

// A pruneWatch shows how far a prune is.
type pruneWatch struct {
	a    *app
	wait time.Duration
	step string
	on   *progress
	told string // of the sessions that it waits for
}

func (w *pruneWatch) event(e store.PruneEvent) {
	if e.Step != w.step {
		w.stop()
		w.step = e.Step
		switch e.Step {
		case "copy":
			w.on = w.a.startProgress("copied:", e.Total)
		case "delete":
			w.tell("Removing " + count(e.Total, "object", "objects") + " ...")
		case "mark":
			w.tell("Looking for what the snapshots need ...")
		}
	}
	switch e.Step {
	case "copy":
		w.on.setBytes(min(e.Done, e.Total), e.Total)
	case "wait":
		w.waiting(e.Sessions)
	}
}

// tell says what takes long to whoever watches.
func (w *pruneWatch) tell(text string) {
	if w.a.terminal.err && !w.a.noProgress {
		w.a.note("%s", text)
	}
}

// waiting names what it waits for, when that changes.
func (w *pruneWatch) waiting(sessions []store.SessionInfo) {
	var list []string
	for _, s := range sessions {
		list = append(list, printable(s.String()))
	}
	if text := strings.Join(list, "; "); text != w.told {
		w.told = text
		w.a.note("Waiting for %s (at most %s).", text, w.wait)
	}
}

func (w *pruneWatch) stop() {
	w.on.stop()
	w.on, w.step = nil, ""
}
