package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/policy"
	"coffer/snapshot"
	"coffer/snapshot/verify"
	"coffer/source"
	"coffer/store"
)

func (a *app) verifyVerb() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that every snapshot can be restored",
		UsageText: "coffer verify [flags]",
		Description: `Checks that all that the snapshots need is in the repository, and that their directories can be read. With
--read-data it also reads every byte and compares it with what was saved; with --read-data-subset a part
of it. When each pack was read is kept in the repository, and a part is what was not read for longest: a
daily 5% reads everything within 20 days. Damaged packs are named with the snapshots and paths that need
them, and the exit code is 1; 'coffer repair' is what comes then.

Examples:
  coffer verify
  coffer verify --read-data
  coffer verify --read-data-subset 5%
  coffer verify --read-data-subset 10G --older-than 30d
  coffer verify --older-than 2m`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read and check all bytes"},
			&cli.StringFlag{Name: "read-data-subset", Usage: "read and check `PART`: such as 5%, 1/30 or 10G"},
			&cli.StringFlag{Name: "older-than", Usage: "read and check what was not read for `SPAN` (such as 30d; y, m, w, d and h are units)"},
		},
		Action: a.runVerify,
	}
}

// A part is how much of the data to read.
type part struct {
	percent float64
	bytes   int64 // in place of percent, where not 0
}

func (a *app) runVerify(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	opt, err := a.verifyOptions(c)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		var bad losses
		opt.Path = bad.add
		rep, err := a.verifyAll(ctx, st, opt)
		if err != nil {
			return err
		}
		all, err := a.everySnapshot(ctx, st)
		if err != nil {
			return err
		}
		bad.name(all)
		return a.showVerify(rep, opt, &bad)
	})
}

func (a *app) verifyOptions(c *cli.Context) (opt verify.Options, err error) {
	opt.ReadData = c.Bool("read-data")
	if opt.ReadData && c.IsSet("read-data-subset") {
		return opt, usageError("--read-data and --read-data-subset exclude each other: give one of them")
	}
	for _, name := range []string{"read-data-subset", "older-than"} {
		if c.IsSet(name) && c.String(name) == "" {
			return opt, usageError("--%s is empty: is a variable not set?", name)
		}
		opt.ReadData = opt.ReadData || c.IsSet(name)
	}
	how, err := parsePart(c.String("read-data-subset"))
	if err != nil {
		return opt, err
	}
	opt.Percent, opt.Bytes = how.percent, how.bytes
	var span policy.Span
	if err := readRule(c, "older-than", &span, policy.ParseSpan); err != nil {
		return opt, err
	}
	if !span.IsZero() {
		opt.Before = span.Before(a.now())
	}
	return opt, nil
}

// parsePart reads 5%, 1/30 and sizes.
func parsePart(text string) (part, error) {
	if text == "" {
		return part{}, nil
	}
	bad := usageError("--read-data-subset %q is no part: write it like 5%%, 1/30 or 10G", text)
	if number, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p > 0 && p <= 100) {
			return part{}, bad
		}
		return part{percent: p}, nil
	}
	if n, m, ok := strings.Cut(text, "/"); ok {
		x, err1 := strconv.ParseFloat(n, 64)
		y, err2 := strconv.ParseFloat(m, 64)
		if err1 != nil || err2 != nil || !(x > 0 && x <= y) {
			return part{}, bad
		}
		return part{percent: 100 * x / y}, nil
	}
	n, err := source.ParseSize(text)
	if err != nil || n <= 0 {
		return part{}, bad
	}
	return part{bytes: n}, nil
}

// verifyAll verifies all snapshots that are not forgotten.
func (a *app) verifyAll(ctx context.Context, st *store.Store, opt verify.Options) (rep verify.Report, err error) {
	if opt.Size, err = a.packSizes(ctx); err != nil {
		return rep, err
	}
	for range 3 { // until none goes between listing and reading
		rep, err = a.verifyListed(ctx, st, opt)
		if !errors.Is(err, store.ErrGone) {
			break
		}
	}
	return rep, err
}

func (a *app) verifyListed(ctx context.Context, st *store.Store, opt verify.Options) (verify.Report, error) {
	all, bad := everySnapshot(ctx, st)
	if bad != nil && !errors.As(bad, new(unreadable)) {
		return verify.Report{}, bad
	}
	all = snapshot.Present(all)
	p := a.startProgress("snapshots", 0)
	opt.Event = func(done, total int64) { p.set(int64(len(all)), done, total) }
	var rep verify.Report
	err := st.Read(ctx, ids(all), func(ctx context.Context) (err error) {
		rep, err = verify.Run(ctx, st, all, opt)
		return err
	})
	p.stop()
	if bad != nil {
		rep.Damaged = append([]verify.Damage{{Err: plainText(bad)}}, rep.Damaged...)
		rep.DamagedTotal++
	}
	return rep, err
}

// packSizes knows how large packs are.
func (a *app) packSizes(ctx context.Context) (func(name string) int64, error) {
	b, err := a.openBucket()
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for info, err := range b.List(ctx, "packs/", "") {
		if err != nil {
			return nil, fmt.Errorf("list packs: %w", err)
		}
		sizes[info.Name] = info.Size
	}
	return func(name string) int64 { return sizes[name] }, nil
}

// verifyJSON is what --json prints.
type verifyJSON struct {
	Snapshots    int          `json:"snapshots"`
	Trees        int          `json:"tree_pages"`
	Refs         int64        `json:"references"`
	Packs        int          `json:"packs"`
	Bytes        int64        `json:"bytes"`
	PacksRead    int          `json:"packs_read"`
	BytesRead    int64        `json:"bytes_read"`
	Chunks       int64        `json:"chunks_read"`
	Orphans      int          `json:"orphans"`
	Damaged      []damageJSON `json:"damaged"`
	DamagedTotal int64        `json:"damaged_total"`
	BadSnapshots []string     `json:"damaged_snapshots"`
	BadPaths     int64        `json:"damaged_paths"`
	BadPacks     []string     `json:"damaged_packs"`
	Lost         int          `json:"lost_chunks"`
	Known        bool         `json:"damage_known"`
	Coverage     coverageJSON `json:"coverage"`
}

// coverageJSON says when what was read.
type coverageJSON struct {
	Read   int    `json:"packs_read"`
	Never  int    `json:"packs_never_read"`
	Bytes  int64  `json:"bytes_never_read"`
	Oldest string `json:"oldest_read,omitempty"`
}

type damageJSON struct {
	Pack     string `json:"pack,omitempty"`
	Chunk    string `json:"chunk,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	*jsonPath
	Error string `json:"error"`
}

func newVerifyJSON(rep verify.Report) verifyJSON {
	doc := verifyJSON{rep.Snapshots, rep.Trees, rep.Refs, rep.Packs, rep.Bytes, rep.PacksRead, rep.BytesRead, int64(rep.Chunks),
		rep.Orphans, []damageJSON{}, rep.DamagedTotal, orEmpty(rep.BadSnapshots), rep.BadPaths, orEmpty(rep.BadPacks), rep.Lost,
		rep.DamagedTotal > 0 && !rep.News, coverageJSON{Read: rep.Coverage.Read, Never: rep.Coverage.Never, Bytes: rep.Coverage.Unknown}}
	if at := rep.Coverage.Oldest; !at.IsZero() {
		doc.Coverage.Oldest = at.UTC().Format(time.RFC3339)
	}
	for _, d := range rep.Damaged {
		doc.Damaged = append(doc.Damaged, damageJSON{d.Pack, d.Chunk, d.Snapshot, optionalPath(d.Path), d.Err})
	}
	return doc
}

func (a *app) showVerify(rep verify.Report, opt verify.Options, bad *losses) error {
	if a.json {
		if err := a.printJSON(newVerifyJSON(rep)); err != nil {
			return err
		}
	} else {
		a.tellVerify(rep, opt, bad)
	}
	if rep.DamagedTotal == 0 {
		return nil
	}
	part := count(len(rep.BadSnapshots), "snapshot", "snapshots") + " of " + number(rep.Snapshots)
	switch {
	case !rep.News && rep.BadPaths == 0:
		return failure("records of snapshots cannot be read: they are newer than this program, or not of its making")
	case !rep.News:
		return failure("%s cannot be restored whole, as an earlier repair has found: the next backup stores again what still exists, "+
			"and 'coffer repair' lists what is lost; for the rest, forget the snapshots when they are of no more use", part)
	case len(rep.BadSnapshots) == 0:
		return failure("the repository is damaged, but no snapshot needs what is: run '%s'", repairFor(rep, opt))
	}
	return failure("the repository is damaged: %s cannot be restored whole: run '%s', and then back up again what still exists",
		part, repairFor(rep, opt))
}

// repairFor is how to repair what a verify has found: what shows by reading
// only, a repair has to be told, or must read itself.
func repairFor(rep verify.Report, opt verify.Options) string {
	switch {
	case !opt.ReadData:
		return "coffer repair"
	case len(rep.BadPacks) > 3:
		return "coffer repair --read-data"
	case len(rep.BadPacks) > 0:
		return "coffer repair --pack " + strings.Join(rep.BadPacks, " --pack ")
	}
	return "coffer repair"
}

func (a *app) tellVerify(rep verify.Report, opt verify.Options, bad *losses) {
	left := rep.DamagedTotal - rep.BadPaths
	for _, d := range rep.Damaged {
		if d.Snapshot == "" {
			a.errLine("damaged: " + damageText(d))
			left--
		}
	}
	if left > 0 {
		a.errLine("damaged: " + number(left) + " more that are not shown")
	}
	a.eachLoss(bad, verify.MaxListed, func(line string) { a.errLine("damaged: " + line) })
	a.say("Checked %s in %s (%s).", count(rep.Snapshots, "snapshot", "snapshots"), count(rep.Packs, "pack", "packs"), size(rep.Bytes))
	if opt.ReadData {
		a.say("Read %s (%s): %s.", count(rep.PacksRead, "pack", "packs"), size(rep.BytesRead), count(rep.Chunks, "chunk", "chunks"))
	}
	if text := a.coverage(rep); text != "" {
		a.say("%s", text)
	}
	if rep.Orphans > 0 {
		a.say("%s to no snapshot, which does no harm: 'coffer prune' removes what is left over.", count(rep.Orphans, "pack belongs", "packs belong"))
	}
	if rep.DamagedTotal == 0 {
		a.say("No damage found.")
	}
}

// coverage says within which time the packs were read.
func (a *app) coverage(rep verify.Report) string {
	c := rep.Coverage
	switch {
	case c.Read+c.Never == 0:
		return ""
	case c.Read == 0:
		return "Of the data, nothing was read back yet and found good: --read-data does that, or a part at a time."
	}
	within := "within the last " + lately(a.now().Sub(c.Oldest))
	if c.Never == 0 {
		return "All data was read back and found good " + within + "."
	}
	were := count(c.Never, "pack", "packs") + " (" + size(c.Unknown) + ") " + oneOrMore(c.Never, "was", "were")
	return "Of " + size(rep.Bytes) + " of data, " + were + " never read back and found good;\nthe rest was " + within + "."
}

// lately is a span of time in words, rounded up.
func lately(d time.Duration) string {
	unit, one, many := time.Hour, "hour", "hours"
	if d > 48*time.Hour {
		unit, one, many = 24*time.Hour, "day", "days"
	}
	if n := (d + unit - 1) / unit; n > 1 {
		return count(int64(n), one, many)
	}
	return one
}

func damageText(d verify.Damage) string {
	var parts []string
	if d.Pack != "" {
		parts = append(parts, d.Pack)
	}
	if d.Chunk != "" {
		parts = append(parts, "chunk "+shortID(d.Chunk))
	}
	return strings.Join(append(parts, strings.ReplaceAll(d.Err, ": run 'coffer repair'", "")), ": ") // the last line says how
}
