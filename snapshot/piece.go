package snapshot

import (
	"context"
	"fmt"
	"iter"

	"coffer/chunk"
)

// A piece is a part of an entry's bulk in memory. One that spilled holds one
// sort only, and the sorts come in the order of the fields: who wants
// attributes needs not read content.
type piece struct {
	Xattrs  []Xattr
	Holes   []Extent
	Content []Ref
}

// sort is the number of the field that is set, or 0 if that is not just one.
func (p *piece) sort() int {
	found := 0
	for i, n := range []int{len(p.Xattrs), len(p.Holes), len(p.Content)} {
		if n > 0 && found > 0 {
			return 0
		}
		if n > 0 {
			found = i + 1
		}
	}
	return found
}

// pieces yields an entry's bulk, from itself or from its pieces one by one.
func pieces(ctx context.Context, l Loader, e *Entry) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		if !e.Spilled() {
			yield(piece{Xattrs: e.Xattrs, Holes: e.Holes, Content: e.Content}, nil)
			return
		}
		last := 0
		for id, err := range pieceIDs(ctx, l, e.Spill) {
			var p piece
			if err == nil {
				p, err = loadPiece(ctx, l, id)
			}
			if err == nil && p.sort() < last {
				err = damaged("tree chunk %s is out of its place", id)
			}
			if err != nil {
				yield(piece{}, fmt.Errorf("read the spill of %q: %w", e.Name, err))
				return
			}
			last = p.sort()
			if !yield(p, nil) {
				return
			}
		}
	}
}

func pieceIDs(ctx context.Context, l Loader, s Spill) iter.Seq2[chunk.ID, error] {
	return func(yield func(chunk.ID, error) bool) {
		for _, id := range s.IDs {
			ids, err := []chunk.ID{id}, error(nil)
			if s.Level == 1 {
				ids, err = loadPieceList(ctx, l, id)
			}
			if err != nil {
				yield(chunk.ID{}, err)
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
		}
	}
}

func loadPieceList(ctx context.Context, l Loader, id chunk.ID) ([]chunk.ID, error) {
	data, err := l.Load(ctx, chunk.Tree, id)
	if err != nil {
		return nil, err
	}
	ids, err := decodePieceList(data)
	if err != nil {
		return nil, fmt.Errorf("read tree chunk %s: %w", id, err)
	}
	return ids, nil
}

func decodePieceList(data []byte) ([]chunk.ID, error) {
	h, body, err := splitHeader(data)
	if err != nil {
		return nil, err
	}
	if h.kind != kindBulk || h.level != 1 {
		return nil, damaged("it is no list of pieces")
	}
	var joined []byte
	if err := decode(codecs().strict, body, &joined); err != nil {
		return nil, err
	}
	ids, err := splitIDs(joined)
	if err == nil && (len(ids) == 0 || len(ids) > indexIDs) {
		err = damaged("a list of %d pieces", len(ids))
	}
	return ids, err
}

func loadPiece(ctx context.Context, l Loader, id chunk.ID) (piece, error) {
	data, err := l.Load(ctx, chunk.Tree, id)
	if err != nil {
		return piece{}, err
	}
	p, err := decodePiece(data)
	if err != nil {
		return piece{}, fmt.Errorf("read tree chunk %s: %w", id, err)
	}
	return p, nil
}

func decodePiece(data []byte) (p piece, err error) {
	h, body, err := splitHeader(data)
	if err != nil {
		return p, err
	}
	if h.kind != kindBulk || h.level != 0 {
		return p, damaged("it is no piece of an entry")
	}
	var w wirePiece
	if err := decode(codecs().strict, body, &w); err != nil {
		return p, err
	}
	return pieceOf(&w)
}

func pieceOf(w *wirePiece) (p piece, err error) {
	p.Xattrs = w.Xattrs
	if err := checkXattrs(p.Xattrs); err != nil {
		return p, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if p.Holes, err = splitHoles(w.Holes); err != nil {
		return p, err
	}
	if len(w.Content) > 0 || len(w.Lengths) > 0 {
		var slab []Ref
		if p.Content, err = splitRefs(w.Content, w.Lengths, &slab); err != nil {
			return p, err
		}
	}
	if p.sort() == 0 {
		return p, damaged("a piece holds one sort of bulk")
	}
	return p, nil
}

// A sumReader proves, over all pieces of a file, that holes and content make
// up its size.
type sumReader struct {
	e     *Entry
	holes []Extent
	sum   uint64
}

func (r *sumReader) add(p piece) {
	r.holes = append(r.holes, p.Holes...)
	for i := range p.Content {
		r.sum += uint64(p.Content[i].Length)
	}
}

func (r *sumReader) close() error {
	if r.e.Type != File {
		return nil
	}
	data, err := dataSize(r.e.Size, r.holes)
	if err != nil {
		return fmt.Errorf("%w: entry %q: %w", ErrDamaged, r.e.Name, err)
	}
	if uint64(data) != r.sum {
		return damaged("content and holes of %q do not make up its size", r.e.Name)
	}
	return nil
}
