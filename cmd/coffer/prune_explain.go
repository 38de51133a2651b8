package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// explain says what keeps a pack or a snapshot. Snapshots have the first say:
// names of packs have a dash or a slash in them, and no snapshot's id has.
func (p *pruner) explain(ctx context.Context, what string, filter snapshot.Filter) error {
	all, err := p.a.everySnapshot(ctx, p.st)
	if err != nil {
		return err
	}
	s, selectErr := evenForgotten(all, what, filter)
	if selectErr != nil && (isAmbiguous(selectErr) || !strings.ContainsAny(what, "-/")) {
		return selectErr
	}
	plan, err := p.st.PlanPrune(ctx, p.opt)
	p.watch.stop()
	var wait *store.WaitError
	if errors.As(err, &wait) {
		return failure("the prune before is not finished, and until it is, nothing can be explained: %w", wait)
	}
	if err != nil {
		return err
	}
	defer plan.Close()
	if selectErr == nil {
		return p.explainSnapshot(ctx, plan, s)
	}
	use, err := plan.ExplainPack(ctx, what)
	if use.Name == "" && err != nil {
		return failure("%q is no snapshot, and no pack that the index knows: 'coffer verify' names packs, 'coffer snapshots' lists snapshots", printable(what))
	}
	if err != nil {
		return err
	}
	return p.explainPack(ctx, plan, all, use)
}

// packJSON is what --json prints of a pack.
type packJSON struct {
	store.PackUse
	Kind     string   `json:"kind"`
	NeededBy []string `json:"needed_by"`
}

func (p *pruner) explainPack(ctx context.Context, plan *store.PrunePlan, all []snapshot.Snapshot, use store.PackUse) error {
	needs, err := p.holders(ctx, plan, all, use.LiveChunkNames)
	if err != nil {
		return err
	}
	doc := packJSON{PackUse: use, Kind: "data", NeededBy: []string{}}
	if use.Kind == chunk.Tree {
		doc.Kind = "tree"
	}
	for _, s := range needs {
		doc.NeededBy = append(doc.NeededBy, s.ID)
	}
	if p.a.json {
		return p.a.printJSON(doc)
	}
	a := p.a
	a.say("Pack:       %s (%s), %s", use.Name, map[string]string{"data": "contents of files", "tree": "directories"}[doc.Kind], size(use.Size))
	a.say("Needed:     %s, %s of %s", size(use.Live), number(use.LiveChunks), count(use.Chunks, "chunk", "chunks"))
	if use.LiveElsewhere > 0 {
		a.say("Elsewhere:  %s of it needed, and in another pack as well", count(use.LiveElsewhere, "chunk is", "chunks are"))
	}
	a.say("Next prune: %s", fateOfPack(use))
	if len(needs) == 0 {
		if use.LiveChunks > 0 {
			a.say("Needed by:  other chunks that are built on these, and by no snapshot itself")
		}
		return nil
	}
	a.say("Needed by:  %s", count(len(needs), "snapshot", "snapshots"))
	t := a.table("ID", "TIME (UTC)", "HOST", "NAME", "STATE")
	for _, s := range needs {
		t.row(shortID(s.ID), minute(s.Effective), printable(s.Host), printable(s.Name), stateName(s.State)+marks(s))
	}
	return t.flush()
}

func fateOfPack(use store.PackUse) string {
	switch {
	case use.LiveChunks == 0:
		return "removes it, for nothing in it is needed"
	case use.Going:
		return "copies what is needed and removes it"
	case use.Live*100 >= use.Size*99:
		return "keeps it, for nearly all of it is needed"
	}
	return "keeps it, for what it would free is not worth writing the rest again"
}

// holders are the snapshots that need one of some chunks.
func (p *pruner) holders(ctx context.Context, plan *store.PrunePlan, all []snapshot.Snapshot, chunks []chunk.ID) ([]snapshot.Snapshot, error) {
	commits, err := p.st.Commits(ctx)
	if err != nil {
		return nil, err
	}
	commits = slices.DeleteFunc(commits, func(c store.Commit) bool { return slices.Contains(plan.Drop, c.ID) })
	held, err := p.marker.Holders(ctx, p.marker.view, commits, chunks)
	if err != nil {
		return nil, err
	}
	needing := map[string]bool{}
	for i, c := range commits {
		needing[c.ID] = held[i]
	}
	return slices.DeleteFunc(slices.Clone(all), func(s snapshot.Snapshot) bool {
		return !slices.ContainsFunc(commitsOf(s), func(id string) bool { return needing[id] })
	}), nil
}

// explainJSON is what --json prints of a snapshot.
type explainJSON struct {
	Snapshot  string              `json:"snapshot"`
	Only      int64               `json:"only_bytes"`
	Forgotten bool                `json:"forgotten"`
	Holds     []holdJSON          `json:"holds"`
	Running   []store.SessionInfo `json:"running"`
}

func (p *pruner) explainSnapshot(ctx context.Context, plan *store.PrunePlan, s snapshot.Snapshot) error {
	a, doc := p.a, explainJSON{Snapshot: s.ID, Forgotten: s.Forgotten, Holds: []holdJSON{}, Running: append([]store.SessionInfo{}, plan.Running...)}
	for _, h := range s.Holds {
		doc.Holds = append(doc.Holds, a.holdJSON(h))
	}
	var err error
	if doc.Only, err = plan.OnlyFor(ctx, commitsOf(s)); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(doc)
	}
	a.say("Snapshot:   %s of %s, host %s, name %s%s", shortID(s.ID), minute(s.Effective), printable(s.Host), printable(s.Name), marks(s))
	if !s.Present() {
		a.say("Next prune: drops it, and frees %s together with what else is to go", size(plan.Frees()))
		return nil
	}
	a.say("Alone:      %s are needed by this snapshot and nothing else", size(doc.Only))
	if !s.Forgotten {
		a.say("Kept by:    itself: nobody has forgotten it")
	}
	for _, h := range s.Holds {
		a.say("Kept by:    a hold, %s", a.describeHold(h))
	}
	for _, r := range plan.Running {
		a.say("Running:    %s; what it reads stays", printable(r.String()))
	}
	return nil
}
