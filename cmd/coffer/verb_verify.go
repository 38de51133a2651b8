package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot/verify"
	"coffer/source"
	"coffer/store"
)

func (a *app) verifyVerb() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that every snapshot can be restored",
		UsageText: "coffer verify [flags]",
		Description: `Checks that all that the snapshots need is in the repository, and that their directories can be read.
With --read-data it also reads every byte and compares it with what was saved; with --read-data-subset a
part of it, another one each time. Damaged packs are named with the snapshots and paths that need them,
and the exit code is 1.

Examples:
  coffer verify
  coffer verify --read-data
  coffer verify --read-data-subset 5%
  coffer verify --read-data-subset 1/30
  coffer verify --read-data-subset 10G`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read and check all bytes"},
			&cli.StringFlag{Name: "read-data-subset", Usage: "read and check `PART`: such as 5%, 1/30 or 10G"},
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
	opt := verify.Options{ReadData: c.Bool("read-data")}
	text := c.String("read-data-subset")
	if text != "" && opt.ReadData {
		return usageError("--read-data and --read-data-subset exclude each other: give one of them")
	}
	how, err := parsePart(text)
	if err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		if text != "" {
			opt.ReadData, opt.Seed = true, seed()
			if opt.Percent, err = how.of(ctx, st); err != nil {
				return err
			}
		}
		return a.verifyAll(ctx, st, opt)
	})
}

func seed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
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

// of turns a size into a share of what the repository has.
func (p part) of(ctx context.Context, st *store.Store) (percent float64, err error) {
	if p.bytes == 0 {
		return p.percent, nil
	}
	rep, err := st.Check(ctx, store.CheckOptions{Damage: func(*store.DamageError) {}})
	if err != nil || rep.Bytes == 0 {
		return 100, err
	}
	return min(100, 100*float64(p.bytes)/float64(rep.Bytes)), nil
}

func (a *app) verifyAll(ctx context.Context, st *store.Store, opt verify.Options) error {
	all, err := snapshots(ctx, st)
	if err != nil {
		return err
	}
	p := a.startProgress("snapshots", 0)
	opt.Event = func(done, total int64) { p.set(int64(len(all)), done, total) }
	var rep verify.Report
	err = st.Read(ctx, ids(all), func(ctx context.Context) error {
		rep, err = verify.Run(ctx, st, all, opt)
		return err
	})
	p.stop()
	if err != nil {
		return err
	}
	return a.showVerify(rep, opt)
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
		rep.Orphans, []damageJSON{}, rep.DamagedTotal, orEmpty(rep.BadSnapshots), rep.BadPaths}
	for _, d := range rep.Damaged {
		doc.Damaged = append(doc.Damaged, damageJSON{d.Pack, d.Chunk, d.Snapshot, optionalPath(d.Path), d.Err})
	}
	return doc
}

func (a *app) showVerify(rep verify.Report, opt verify.Options) error {
	if a.json {
		if err := a.printJSON(newVerifyJSON(rep)); err != nil {
			return err
		}
	} else {
		a.tellVerify(rep, opt)
	}
	if rep.DamagedTotal == 0 {
		return nil
	}
	if len(rep.BadSnapshots) == 0 {
		return failure("the repository is damaged, but no snapshot needs what is: keep it as it is, and look after its disk")
	}
	return failure("the repository is damaged: %s of %s cannot be restored whole: keep the repository as it is, and back up again what still exists",
		count(len(rep.BadSnapshots), "snapshot", "snapshots"), number(rep.Snapshots))
}

func (a *app) tellVerify(rep verify.Report, opt verify.Options) {
	for _, d := range rep.Damaged {
		a.errLine("damaged: " + damageText(d))
	}
	if more := rep.DamagedTotal - int64(len(rep.Damaged)); more > 0 {
		a.errLine("damaged: " + number(more) + " more findings are not shown")
	}
	a.say("Checked %s in %s (%s).", count(rep.Snapshots, "snapshot", "snapshots"), count(rep.Packs, "pack", "packs"), size(rep.Bytes))
	if opt.ReadData {
		a.say("Read %s (%s): %s.", count(rep.PacksRead, "pack", "packs"), size(rep.BytesRead), count(rep.Chunks, "chunk", "chunks"))
	}
	if rep.Orphans > 0 {
		a.say("%s left by runs that were cut off; this does no harm.", count(rep.Orphans, "pack was", "packs were"))
	}
	if rep.DamagedTotal == 0 {
		a.say("No damage found.")
	}
}

func damageText(d verify.Damage) string {
	var parts []string
	add := func(word, value string) {
		if value != "" {
			parts = append(parts, word+" "+value)
		}
	}
	add("pack", d.Pack)
	add("chunk", shortID(d.Chunk))
	add("snapshot", shortID(d.Snapshot))
	add("path", printable(d.Path))
	return strings.Join(append(parts, d.Err), ": ")
}
