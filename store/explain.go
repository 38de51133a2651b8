package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coffer/chunk"
)

// OnlyFor returns the stored bytes that only the given commits keep: what would
// become free if they were forgotten.
func (p *PrunePlan) OnlyFor(ctx context.Context, commits []string) (int64, error) {
	gone := slices.Sorted(slices.Values(slices.Concat(commits, p.Drop)))
	rest, err := p.s.settleAccount(ctx, p.v, p.opt.Marker, p.v.except(gone))
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for i := range rest.packs {
		n -= rest.packs[i].live
	}
	return n + p.Live, nil
}

// PackUse says what of a pack lives, for people who want to know why it stays.
type PackUse struct {
	Name           string     `json:"name"`
	Kind           chunk.Kind `json:"kind"`
	Size           int64      `json:"size"`
	Live           int64      `json:"live"`
	Chunks         int        `json:"chunks"`
	LiveChunks     int        `json:"live_chunks"`
	Going          bool       `json:"going"`            // the plan removes it or writes it again
	LiveElsewhere  int        `json:"copies_elsewhere"` // chunks that live in another pack
	LiveChunkNames []chunk.ID `json:"-"`
}

// ExplainPack finds a pack by its name or the end of it.
func (p *PrunePlan) ExplainPack(ctx context.Context, name string) (PackUse, error) {
	for i := range p.acc.packs {
		u := &p.acc.packs[i]
		full := packName(u.Pack)
		if full != name && !strings.HasSuffix(full, "/"+name) {
			continue
		}
		use := PackUse{Name: full, Kind: u.Kind, Size: int64(u.Size), Live: u.live, Chunks: u.entries, LiveChunks: u.counted,
			LiveElsewhere: u.copies, Going: slices.Contains(p.chosen, u)}
		seg, err := p.acc.segment(ctx, u.ref)
		if err != nil {
			return use, err
		}
		for _, e := range seg.Entries() {
			if int(seg.Block(int(e.Block)).Pack) == u.at && p.acc.live.Has(e.ID) {
				use.LiveChunkNames = append(use.LiveChunkNames, e.ID)
			}
		}
		return use, nil
	}
	return PackUse{}, fmt.Errorf("no pack of the index is called %q", name)
}
