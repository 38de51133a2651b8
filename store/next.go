package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"coffer/index"
)

// A next is a generation that is being made.
type next struct {
	s         *Store
	v         *view // of the generation before
	p         *packer
	drop      []string
	lost      []byte
	condemned map[int][]uint32 // packs by the segment of v that lists them
	ours      bool             // the record that stands is ours
	left      map[int]int      // entries that are left in a segment of v; nil: all
}

// begin makes a packer. What it writes bears the number of the old generation,
// so that the sweep removes it should the new one never come to be.
func (n *next) begin() error {
	n.p, n.condemned = newPacker(n.s), map[int][]uint32{}
	return n.p.name(n.v.Number)
}

// beginAgain removes what was copied, which nobody names and nobody ever will, and
// which takes the room that is needed. Then it begins.
func (n *next) beginAgain(ctx context.Context) error {
	n.p.packs.Wait()
	n.p.mu.Lock()
	written := slices.Sorted(maps.Keys(n.p.sizes))
	n.p.mu.Unlock()
	if len(written) > 0 {
		if err := n.s.bucket.Delete(ctx, written...); err != nil {
			return fmt.Errorf("remove what was copied in vain: %w", err)
		}
	}
	return n.begin()
}

// publish makes the new generation and writes it. That another prune has been
// quicker is no error: its generation stands, and what we have copied is swept.
func (n *next) publish(ctx context.Context) error {
	gen, err := n.make(ctx)
	if err == nil {
		n.ours, err = n.put(ctx, gen)
	}
	return err
}

// make writes what the record of the new generation is to name.
func (n *next) make(ctx context.Context) (generation, error) {
	gen := generation{Version: recordVersion, Number: n.v.Number + 1, Dropped: n.drop, Lost: n.lost, Host: n.s.env.Host,
		Time: n.s.env.Now().Unix(), Mended: n.v.Mended}
	for _, c := range n.v.settled {
		if c.Generation == n.v.Number {
			gen.Covered = append(gen.Covered, c.ID)
		}
	}
	err := n.s.vital(func() (err error) { gen.Base, err = n.base(ctx); return err })
	if err == nil {
		err = n.s.vital(func() (err error) { gen.Catalogue, err = n.catalogue(ctx); return err })
	}
	if err == nil {
		err = n.p.landed(ctx)
	}
	for _, list := range n.condemned {
		gen.Condemned += len(list)
	}
	return gen, err
}

// put writes the record, and reports whether it is ours that stands.
func (n *next) put(ctx context.Context, gen generation) (ours bool, err error) {
	plain, err := cbor.Marshal(gen)
	if err != nil {
		return false, fmt.Errorf("encode generation: %w", err)
	}
	err = n.s.vital(func() (err error) {
		ours, err = n.s.publish(ctx, generationName(gen.Number), plain)
		return err
	})
	return ours, err
}

// vital runs something that must work on a full disk: once more after the
// reserve has been given up.
func (s *Store) vital(fn func() error) error {
	err := fn()
	if !isFull(err) {
		return err
	}
	if resErr := s.releaseReserve(); resErr != nil {
		return errors.Join(err, resErr)
	}
	return fn()
}

// catalogue returns the pieces of the new generation.
func (n *next) catalogue(ctx context.Context) ([]pieceRef, error) {
	dropped := make(map[string]struct{}, len(n.drop))
	for _, id := range n.drop {
		dropped[id] = struct{}{}
	}
	known := n.v.catalogue()
	var fresh []settled
	for _, c := range n.v.settled {
		if c.Generation == n.v.Number {
			fresh = append(fresh, c)
		}
	}
	return n.p.extendCatalogue(ctx, known, without(fresh, dropped), dropped)
}

// Small segments are merged as small pieces of the catalogue are: a segment of
// fewer than smallSegment entries goes together with others when those are not
// much less. A piece gets mergedSegment entries, 22 MB of memory while it is made.
const (
	smallSegment  = 250_000
	mergedSegment = 500_000
)

// base returns the index of the new generation: segments without packs are left
// out, and small ones written together.
func (n *next) base(ctx context.Context) ([]segmentRef, error) {
	var keep, small, anew []segmentRef
	for i, r := range n.v.segments {
		r.Dead = slices.Sorted(slices.Values(slices.Concat(r.Dead, n.condemned[i])))
		switch gone, err := n.gone(ctx, r); {
		case err != nil:
			return nil, err
		case gone:
		case r.Entries >= smallSegment && n.left != nil && n.left[i] < int(r.Entries)/2:
			anew = append(anew, r)
		case r.Entries >= smallSegment:
			keep = append(keep, r)
		default:
			small = append(small, r)
		}
	}
	small = append(small, n.p.written...)
	slices.SortStableFunc(small, func(a, b segmentRef) int { return int(a.Entries) - int(b.Entries) })
	m, sum := 0, uint32(0)
	for m < len(small) && (m == 0 || small[m].Entries <= 2*sum+1024) {
		sum += small[m].Entries
		m++
	}
	if m < 2 && len(anew) == 0 && !slices.ContainsFunc(small[:m], func(r segmentRef) bool { return len(r.Dead) > 0 }) {
		return append(keep, small...), nil
	}
	merged, err := n.merge(ctx, slices.Concat(small[:m], anew))
	if isFull(err) { // it can stay as it is
		return slices.Concat(keep, small, anew), nil
	}
	return slices.Concat(keep, small[m:], merged), err
}

// gone reports whether all packs of a segment are dead.
func (n *next) gone(ctx context.Context, r segmentRef) (bool, error) {
	if len(r.Dead) == 0 {
		return false, nil
	}
	seg, err := n.s.readSegment(ctx, r.Name)
	return err == nil && len(r.Dead) == len(seg.Packs), err
}

// merge writes segments anew, together and without their dead packs.
func (n *next) merge(ctx context.Context, refs []segmentRef) ([]segmentRef, error) {
	parts := func(yield func(index.Part, error) bool) {
		for _, r := range refs {
			seg, err := n.s.readSegment(ctx, r.Name)
			if !yield(index.Part{Segment: seg, Dead: r.Dead}, err) {
				return
			}
		}
	}
	var merged []segmentRef
	for seg, err := range index.Merge(parts, mergedSegment) {
		if err != nil {
			return nil, err
		}
		ref, err := n.p.putPlainSegment(ctx, seg.Bytes(), seg.Len())
		if err != nil {
			return nil, err
		}
		merged = append(merged, ref)
	}
	return merged, nil
}
