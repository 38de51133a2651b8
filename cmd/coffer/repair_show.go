package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coffer/snapshot"
	"coffer/snapshot/verify"
	"coffer/store"
)

// repairJSON is what --json prints.
type repairJSON struct {
	DryRun     bool                `json:"dry_run"`
	Opens      bool                `json:"readable"` // snapshots could be looked at before
	Plan       *repairPlan         `json:"plan"`     // null where nothing could be planned
	Affected   []lossJSON          `json:"affected"` // paths that what was found concerned, before
	Report     *store.RepairReport `json:"report"`   // null where nothing was done
	Rounds     int                 `json:"rounds"`
	Lost       []lossJSON          `json:"lost"`
	LostChunks int                 `json:"lost_chunks"`
	Waiting    []store.SessionInfo `json:"waiting"`
}

// repairPlan is a plan for programs.
type repairPlan struct {
	Idle bool `json:"idle"`
	*store.RepairPlan
}

func newRepairJSON(dry bool) *repairJSON {
	return &repairJSON{DryRun: dry, Affected: []lossJSON{}, Lost: []lossJSON{}, Waiting: []store.SessionInfo{}}
}

func newRepairPlan(p *store.RepairPlan) *repairPlan {
	p.Records, p.Segments, p.Fates, p.Advice = orEmpty(p.Records), orEmpty(p.Segments), orEmpty(p.Fates), orEmpty(p.Advice)
	if p.Packs == nil {
		p.Packs = []store.BadPack{}
	}
	return &repairPlan{p.Idle(), p}
}

// add sums up a round.
func (d *repairJSON) add(round store.RepairReport) {
	d.Rounds++
	if d.Report == nil {
		d.Report = &store.RepairReport{Condemned: []store.BadPack{}, Unreadable: []string{}, Records: []string{}, Segments: []string{}, Fates: []string{}, Advice: []string{}}
	}
	sum := d.Report
	sum.Generation, sum.Waiting, sum.Untraced, sum.Lost = round.Generation, round.Waiting, round.Untraced, round.Lost
	sum.Rebuilt.Objects += round.Rebuilt.Objects
	sum.Rebuilt.Bytes += round.Rebuilt.Bytes
	sum.Salvaged += round.Salvaged
	sum.Snapshots += round.Snapshots
	sum.MayReturn = sum.MayReturn || round.MayReturn
	sum.Condemned = append(sum.Condemned, round.Condemned...)
	more(&sum.Unreadable, round.Unreadable)
	more(&sum.Records, round.Records)
	more(&sum.Segments, round.Segments)
	more(&sum.Fates, round.Fates)
	more(&sum.Advice, round.Advice)
}

// more adds what is not in a list yet.
func more(to *[]string, list []string) {
	for _, s := range list {
		if !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
}

// losses are paths with what they have lost, by snapshot.
type losses struct {
	paths map[string]*loss // by path
	named []loss           // with their hosts, sorted
}

type loss struct {
	host, path string
	listing    bool // it is a directory's list of entries
	chunk      string
	snapshots  []snapshot.Snapshot
	ids        []string
}

func (l *losses) add(d verify.Damage) {
	if l.paths == nil {
		l.paths = map[string]*loss{}
	}
	p := l.paths[d.Path]
	if p == nil {
		p = &loss{path: d.Path}
		l.paths[d.Path] = p
	}
	if len(p.ids) == 0 || p.ids[len(p.ids)-1] != d.Snapshot {
		p.ids = append(p.ids, d.Snapshot)
	}
	p.chunk = cmp.Or(p.chunk, d.Chunk)
	p.listing = p.listing || strings.HasPrefix(d.Err, "its listing")
}

// name finds the hosts of the snapshots, and sorts.
func (l *losses) name(all []snapshot.Snapshot) {
	known := make(map[string]snapshot.Snapshot, len(all))
	for _, s := range all {
		known[s.ID] = s
	}
	for _, p := range l.paths {
		hosts := map[string]*loss{}
		for _, id := range p.ids {
			s := known[id]
			if hosts[s.Host] == nil {
				hosts[s.Host] = &loss{host: s.Host, path: p.path, listing: p.listing, chunk: p.chunk}
			}
			of := hosts[s.Host]
			of.snapshots = append(of.snapshots, s)
		}
		for _, of := range hosts {
			slices.SortFunc(of.snapshots, snapshot.Compare)
			l.named = append(l.named, *of)
		}
	}
	slices.SortFunc(l.named, func(a, b loss) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.path, b.path)) })
}

// lossJSON is a path that is not whole, in all snapshots of a host.
type lossJSON struct {
	Host string `json:"host"`
	jsonPath
	Listing   bool     `json:"listing"`
	Chunk     string   `json:"chunk"`
	Snapshots []string `json:"snapshots"`
}

func (l *losses) list() []lossJSON {
	docs := []lossJSON{}
	for _, p := range l.named {
		doc := lossJSON{Host: p.host, jsonPath: newPath(p.path), Listing: p.listing, Chunk: p.chunk}
		for _, s := range p.snapshots {
			doc.Snapshots = append(doc.Snapshots, s.ID)
		}
		docs = append(docs, doc)
	}
	return docs
}

// hosts are those that have lost something.
func (l *losses) hosts() []string {
	set := map[string]bool{}
	for _, p := range l.named {
		set[p.host] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// lossesShown is how many paths people are shown; --json has all.
const lossesShown = 20

// tellLosses lists them.
func (a *app) tellLosses(l *losses) {
	a.eachLoss(l, lossesShown, func(line string) { a.say("  %s", line) })
}

// eachLoss calls fn with a line for each path, up to a number of them.
func (a *app) eachLoss(l *losses, most int, fn func(line string)) {
	several := len(l.hosts()) > 1
	for i, p := range l.named {
		if i == most && len(l.named) > most+1 {
			fn(count(len(l.named)-i, "more path", "more paths") + ": --json lists all")
			return
		}
		text := printable(p.path)
		if several {
			text = printable(p.host) + ": " + text
		}
		if p.listing {
			text += " (its listing, so all that is below it)"
		}
		where := "snapshot " + shortID(p.snapshots[0].ID)
		if n := len(p.snapshots); n > 1 {
			where = fmt.Sprintf("%s snapshots, the newest %s", number(n), shortID(p.snapshots[n-1].ID))
		}
		fn(text + ", in " + where)
	}
}

// tellPlan says what is wrong, and what is to be done.
func (r *repairer) tellPlan(p *store.RepairPlan) {
	a := r.a
	if p.Idle() {
		if r.dry {
			r.tellNothing()
		}
		return
	}
	names := func(title, what string, list []string) {
		if len(list) == 0 {
			return
		}
		a.say("%s", title+what)
		for i, name := range list {
			if i == lossesShown && len(list) > lossesShown+1 {
				a.say("  %d more: --json lists all", len(list)-i)
				break
			}
			a.say("  %s", printable(name))
		}
	}
	names("Records:    ", count(len(p.Records), "record is damaged or missing, and replaced or given up", "records are damaged or missing, and replaced or given up"), p.Records)
	if p.Scratch {
		a.say("            the newest of all are among them: new ones are made from all that there is")
	}
	names("Index:      ", count(len(p.Segments), "part of the index cannot be read", "parts of the index cannot be read"), p.Segments)
	if p.Rebuild.Objects > 0 {
		a.say("To index:   %s (%s) from their own lists", count(p.Rebuild.Objects, "pack", "packs"), size(p.Rebuild.Bytes))
	}
	var packs []string
	for _, b := range p.Packs {
		packs = append(packs, fmt.Sprintf("%s, %s: %s", b.Name, size(b.Size), b.Why))
	}
	names("Packs:      ", count(len(packs), "pack is given up; what is good in it is copied", "packs are given up; what is good in them is copied"), packs)
	names("Sessions:   ", count(len(p.Fates), "outcome cannot be read; if it was a snapshot, that is lost", "outcomes cannot be read; those that were snapshots are lost"), p.Fates)
	if p.Snapshots > 0 {
		a.say("Snapshots:  %s lost with the list of them", count(p.Snapshots, "is", "are"))
	}
	if p.MayReturn {
		a.say("            snapshots that were forgotten and pruned may be listed again")
	}
	if n := len(r.opt.Chunks); n > 0 {
		a.say("Chunks:     %s in no pack, and looked for in what the index does not name", count(n, "is", "are"))
	}
	switch {
	case r.blind != nil:
		a.say("What snapshots need of that shows once the records are mended.")
	case len(r.losses.named) > 0:
		a.say("Affected are, before anything is saved of it:")
		a.tellLosses(&r.losses)
	}
	if r.dry {
		a.say("This was a dry run: nothing was changed.")
	}
}

func (r *repairer) tellNothing() {
	if r.found.Lost > 0 {
		r.a.say("There is nothing new to repair.")
	} else if r.found.PacksRead < r.found.Packs {
		r.a.say("Nothing is wrong, as far as it shows without reading all data, which --read-data\ndoes.")
	} else {
		r.a.say("Nothing is wrong.")
	}
}

// tellReport says what was done, and what is lost.
func (r *repairer) tellReport() {
	a, rep := r.a, r.doc.Report
	for _, text := range r.doc.Plan.Advice {
		a.warn("", text)
	}
	if rep == nil {
		r.tellLeft()
	} else {
		r.tellDone(rep)
	}
	if len(r.losses.named) == 0 {
		return
	}
	a.say("Lost, as no pack has all of it any more:")
	a.tellLosses(&r.losses)
	if hosts := r.losses.hosts(); len(hosts) == 1 {
		a.say("The next backup of host %s stores it again if it still exists there.", printable(hosts[0]))
	} else {
		a.say("The next backups of the hosts %s store it again if it still exists there.", printable(strings.Join(hosts, ", ")))
	}
}

// tellLeft says what a repair has not mended, where it had nothing to do.
func (r *repairer) tellLeft() {
	switch {
	case !r.found.News:
		r.tellNothing()
	case !r.a.json && len(r.doc.Plan.Advice) == 0:
		for _, d := range r.found.Damaged {
			if d.Snapshot == "" {
				r.a.errLine("damaged: " + damageText(d))
			}
		}
	}
}

func (r *repairer) tellDone(rep *store.RepairReport) {
	a := r.a
	if n := len(rep.Records); n > 0 {
		a.say("%s replaced or given up.", count(n, "record was", "records were"))
	}
	if n := rep.Rebuilt.Objects; n > 0 {
		a.say("The index of %s (%s) was made anew.", count(n, "pack", "packs"), size(rep.Rebuilt.Bytes))
	}
	if n := len(rep.Condemned); n > 0 {
		a.say("%s given up, and %s of good data copied;\n'coffer prune' removes what is left.", count(n, "pack was", "packs were"), size(rep.Salvaged))
	} else if rep.Salvaged > 0 {
		a.say("%s were found in packs that the index did not name, and copied.", size(rep.Salvaged))
	}
	missing := rep.Snapshots + len(rep.Fates)
	if missing > 0 {
		a.say("Up to %s lost; the others are there. The next backup finds\ntheir data and does not store it again; the next prune removes it.",
			count(missing, "snapshot is", "snapshots are"))
	}
	if rep.MayReturn {
		a.say("Snapshots that were forgotten and pruned may be listed again: forget them again.")
	}
	if rep.Untraced != "" {
		a.warn("", "not all that snapshots need could be traced: "+rep.Untraced)
	}
	if len(r.doc.Waiting) > 0 {
		a.say("The next coffer command that writes tidies up, once these have ended:")
		for _, s := range r.doc.Waiting {
			a.say("  %s", printable(s.String()))
		}
	}
	if r.blind == nil && r.found.OK() && missing == 0 {
		text := "Nothing is lost: " + count(r.found.Snapshots, "snapshot", "snapshots") + " can be restored"
		if r.found.PacksRead < r.found.Packs {
			text += ", as far as it shows\nwithout reading all data"
		}
		a.say("%s.", text)
	}
}

// A repairWatch shows how far a repair is.
type repairWatch struct{ pruneWatch }

func (w *repairWatch) event(e store.PruneEvent) {
	if e.Step != w.step {
		switch e.Step {
		case "index", "salvage":
			w.stop()
			w.step, w.on = e.Step, w.a.startProgress(map[string]string{"index": "indexed:", "salvage": "saved:"}[e.Step], e.Total)
		case "trace":
			w.stop()
			w.step = e.Step
			w.tell("Looking for what the snapshots need ...")
		}
	}
	switch e.Step {
	case "index", "salvage":
		w.on.setBytes(e.Done, e.Total)
	case "trace":
	default:
		w.pruneWatch.event(e)
	}
}
