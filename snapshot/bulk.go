package snapshot

import (
	"context"
	"fmt"
	"iter"

	"coffer/chunk"
)

// When an entry's bulk (attributes, holes, content) weighs more than maxInline,
// all of it moves to pieces of its own and the entry names those. The figures
// are part of the format: equal entries must be cut alike.
const (
	maxInline   = 16 << 10  // keeps many entries in a page
	maxPiece    = 224 << 10 // weight at which a piece ends
	minRefs     = 512       // references in a piece before it may end early
	maxRefs     = 6000      // at most, about maxPiece
	maxXattrs   = 4096      // in a piece
	maxSpillIDs = 512       // in an entry: 16 KiB
	indexIDs    = 4096      // in a list of pieces: 128 KiB
	refWeight   = chunk.IDSize + 5
	holeWeight  = 12
)

// bulk is an upper bound of what the entry's bulk takes when encoded. It is
// cheaper than encoding, and as good for a decision.
func (e *Entry) bulk() int {
	n := len(e.Content)*refWeight + len(e.Holes)*holeWeight
	for i := range e.Xattrs {
		n += xattrWeight(&e.Xattrs[i])
	}
	return n
}

func xattrWeight(x *Xattr) int { return len(x.Name) + len(x.Value) + 9 }

// spill saves the bulk of e and returns a copy of e that names it.
func spill(ctx context.Context, s Saver, e *Entry) (*Entry, error) {
	w := spiller{ctx: ctx, saver: s}
	for _, step := range []func(*Entry) error{w.xattrs, w.holes, w.refs, w.lift} {
		if err := step(e); err != nil {
			return nil, fmt.Errorf("spill entry %q: %w", e.Name, err)
		}
	}
	out := *e
	out.Xattrs, out.Holes, out.Content, out.Spill = nil, nil, nil, w.out
	return &out, nil
}

type spiller struct {
	ctx   context.Context
	saver Saver
	out   Spill
}

// xattrs writes the attributes, first because restoring needs them apart from
// the content.
func (w *spiller) xattrs(e *Entry) error {
	for xs := e.Xattrs; len(xs) > 0; {
		n, weight := 0, 0
		for n < len(xs) && n < maxXattrs {
			weight += xattrWeight(&xs[n])
			if n > 0 && weight > maxPiece {
				break
			}
			n++
		}
		if err := w.piece(&wirePiece{Xattrs: xs[:n]}); err != nil {
			return err
		}
		xs = xs[n:]
	}
	return nil
}

func (w *spiller) holes(e *Entry) error {
	for hs := e.Holes; len(hs) > 0; {
		n := min(len(hs), maxPiece/holeWeight)
		if err := w.piece(&wirePiece{Holes: appendHoles(nil, hs[:n])}); err != nil {
			return err
		}
		hs = hs[n:]
	}
	return nil
}

// refs writes the content, cut where the content itself says: after an
// insertion in a huge file the pieces behind it stay the same.
func (w *spiller) refs(e *Entry) error {
	for refs := e.Content; len(refs) > 0; {
		n := cutRefs(refs)
		ids, lengths := joinRefs(refs[:n])
		if err := w.piece(&wirePiece{Content: ids, Lengths: lengths}); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// cutRefs says how many of refs the next piece takes.
func cutRefs(refs []Ref) int {
	limit := min(len(refs), maxRefs)
	for i := minRefs - 1; i < limit; i++ {
		if id := &refs[i].ID; id[0] == 0 && id[1]&7 == 0 { // one in 2048
			return i + 1
		}
	}
	return limit
}

func (w *spiller) piece(p *wirePiece) error {
	b, err := marshal(p)
	if err != nil {
		return err
	}
	return w.save(0, b)
}

func (w *spiller) save(level int, body []byte) error {
	id, err := w.saver.Save(w.ctx, chunk.Tree, append(header(kindBulk, level), body...))
	w.out.IDs = append(w.out.IDs, id)
	return err
}

// lift puts a list of pieces between the entry and its pieces if they are many.
func (w *spiller) lift(*Entry) error {
	if len(w.out.IDs) <= maxSpillIDs {
		return nil
	}
	ids := w.out.IDs
	w.out = Spill{Level: 1}
	for len(ids) > 0 {
		n := min(len(ids), indexIDs)
		body := appendHead(nil, majorBytes, uint64(n*chunk.IDSize))
		if err := w.save(1, joinIDs(body, ids[:n])); err != nil {
			return err
		}
		ids = ids[n:]
	}
	if len(w.out.IDs) > maxSpillIDs {
		return fmt.Errorf("%d lists of pieces are too many", len(w.out.IDs))
	}
	return nil
}

// Refs streams the content of a file, wherever it is kept, in bounded memory.
// It ends with an error if content and size do not agree.
func Refs(ctx context.Context, l Loader, e *Entry) iter.Seq2[Ref, error] {
	return func(yield func(Ref, error) bool) {
		r := sumReader{e: e}
		for p, err := range pieces(ctx, l, e) {
			if err != nil {
				yield(Ref{}, err)
				return
			}
			r.add(p)
			for _, ref := range p.Content {
				if !yield(ref, nil) {
					return
				}
			}
		}
		if err := r.close(); err != nil {
			yield(Ref{}, err)
		}
	}
}

// Attrs returns an entry's attributes and holes, wherever they are kept, and
// leaves the entry and its content alone.
func Attrs(ctx context.Context, l Loader, e *Entry) ([]Xattr, []Extent, error) {
	var xs []Xattr
	var hs []Extent
	for p, err := range pieces(ctx, l, e) {
		if err != nil {
			return nil, nil, err
		}
		xs, hs = append(xs, p.Xattrs...), append(hs, p.Holes...)
		if e.Spilled() && len(p.Content) > 0 { // content comes last
			break
		}
	}
	if err := checkAttrs(e, xs, hs); err != nil {
		return nil, nil, fmt.Errorf("%w: entry %q: %w", ErrDamaged, e.Name, err)
	}
	return xs, hs, nil
}

func checkAttrs(e *Entry, xs []Xattr, hs []Extent) error {
	if _, err := dataSize(e.Size, hs); err != nil {
		return err
	}
	return checkXattrs(xs)
}

// Fill loads what spilled into the entry's own fields and clears its Spill. It
// does nothing for an entry that holds all of itself.
func Fill(ctx context.Context, l Loader, e *Entry) error {
	if !e.Spilled() {
		return nil
	}
	out := *e
	out.Spill = Spill{}
	for p, err := range pieces(ctx, l, e) {
		if err != nil {
			return err
		}
		out.Xattrs = append(out.Xattrs, p.Xattrs...)
		out.Holes = append(out.Holes, p.Holes...)
		out.Content = append(out.Content, p.Content...)
	}
	if err := out.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	*e = out
	return nil
}
