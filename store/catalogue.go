package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sync/errgroup"

	"coffer/bucket"
	"coffer/seal"
)

// The catalogue is the list of the valid commits of earlier generations, in
// pieces that are written once. A piece holds what once stood in fates, which
// are swept; so every piece is stored twice.

// A pieceRef names a piece of the catalogue. Low and High are the lowest and
// the highest generation of the commits in it.
type pieceRef struct {
	Name    string `cbor:"1,keyasint"`
	Commits int    `cbor:"2,keyasint"`
	Low     uint64 `cbor:"3,keyasint"`
	High    uint64 `cbor:"4,keyasint"`
}

// A piece is what a piece of the catalogue holds.
type piece struct {
	Version int       `cbor:"1,keyasint"`
	Commits []settled `cbor:"2,keyasint"`
}

// A settled commit is one in the catalogue, with the generation of its session.
type settled struct {
	ID         string `cbor:"1,keyasint"`
	Generation uint64 `cbor:"2,keyasint"`
	Payload    []byte `cbor:"3,keyasint"`
}

// Bounds of a piece: what is full is never written again unless one of its
// commits is dropped.
const (
	maxPieceCommits = 1024
	maxPieceBytes   = 4 << 20
)

// getPiece reads a piece, or its copy if it is damaged or gone.
func (s *Store) getPiece(ctx context.Context, name string) ([]settled, error) {
	list, err := s.getOnePiece(ctx, name)
	if err == nil || ctx.Err() != nil {
		return list, err
	}
	list, err2 := s.getOnePiece(ctx, name+copySuffix)
	if err2 == nil {
		if !isMissing(err) {
			s.env.Log.Warn("a piece of the catalogue is damaged; its copy serves: run 'coffer repair'", "piece", name, "err", err)
		}
		return list, nil
	}
	return nil, fmt.Errorf("read catalogue: %w", errors.Join(err, err2))
}

func (s *Store) getOnePiece(ctx context.Context, name string) ([]settled, error) {
	var p piece
	err := s.getCBOR(ctx, name, &p, &p.Version)
	return p.Commits, err
}

// readCatalogue reads pieces. Those that this process has read before are not
// read again.
func (s *Store) readCatalogue(ctx context.Context, refs []pieceRef) ([]settled, error) {
	lists := make([][]settled, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for i, r := range refs {
		group.Go(func() (err error) {
			lists[i], err = s.pieces.get(r.Name, func() ([]settled, error) { return s.getPiece(ctx, r.Name) })
			if err == nil && len(lists[i]) != r.Commits {
				err = fmt.Errorf("read catalogue: %s has %d commits and should have %d: %w", r.Name, len(lists[i]), r.Commits, seal.ErrDamaged)
			}
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(lists...), err
}

// putCatalogue writes pieces for commits, each twice.
func (p *packer) putCatalogue(ctx context.Context, commits []settled) ([]pieceRef, error) {
	var refs []pieceRef
	for len(commits) > 0 {
		n, size := 0, 0
		for n < len(commits) && n < maxPieceCommits && (n == 0 || size+len(commits[n].Payload) <= maxPieceBytes) {
			size += len(commits[n].Payload)
			n++
		}
		ref, err := p.putPiece(ctx, commits[:n])
		if err != nil {
			return nil, fmt.Errorf("write catalogue: %w", err)
		}
		refs, commits = append(refs, ref), commits[n:]
	}
	return refs, nil
}

func (p *packer) putPiece(ctx context.Context, commits []settled) (pieceRef, error) {
	ref := pieceRef{Name: pieceName(p.generation, p.sid, p.pieces), Commits: len(commits), Low: commits[0].Generation}
	p.pieces++
	for _, c := range commits {
		ref.Low, ref.High = min(ref.Low, c.Generation), max(ref.High, c.Generation)
	}
	plain, err := cbor.Marshal(piece{Version: recordVersion, Commits: commits})
	if err != nil {
		return ref, err
	}
	for _, name := range []string{ref.Name, ref.Name + copySuffix} {
		sealed, err := p.s.box.SealRecord(name, plain)
		if err == nil {
			err = p.s.put(ctx, name, sealed)
		}
		if err != nil {
			return ref, err
		}
		p.stored.Add(int64(len(sealed)))
		p.sizes[name] = int64(len(sealed))
	}
	return ref, nil
}

// extendCatalogue returns the pieces that hold old without the dropped commits,
// and fresh. Pieces that lose a commit are written again; so are small ones,
// together, such that their number grows with the logarithm of the commits.
func (p *packer) extendCatalogue(ctx context.Context, old []pieceRef, fresh []settled, dropped map[string]struct{}) ([]pieceRef, error) {
	var keep []pieceRef
	fresh = slices.Clone(fresh)
	for _, r := range old {
		list, err := p.s.readCatalogue(ctx, []pieceRef{r})
		if err != nil {
			return nil, err
		}
		if left := without(list, dropped); len(left) < len(list) {
			fresh = append(fresh, left...)
		} else {
			keep = append(keep, r)
		}
	}
	if len(fresh) == 0 {
		return keep, nil
	}
	slices.SortStableFunc(keep, func(a, b pieceRef) int { return a.Commits - b.Commits })
	for len(keep) > 0 && keep[0].Commits <= 2*len(fresh) && keep[0].Commits < maxPieceCommits/2 {
		list, err := p.s.readCatalogue(ctx, keep[:1])
		if err != nil {
			return nil, err
		}
		fresh, keep = append(fresh, list...), keep[1:]
	}
	slices.SortStableFunc(fresh, func(a, b settled) int { return int(min(1, max(-1, int64(a.Generation)-int64(b.Generation)))) })
	refs, err := p.putCatalogue(ctx, fresh)
	return append(keep, refs...), err
}

func without(list []settled, dropped map[string]struct{}) []settled {
	return slices.DeleteFunc(slices.Clone(list), func(c settled) bool { _, gone := dropped[c.ID]; return gone })
}

// listed reports whether the catalogue in refs has a commit of generation g.
func (s *Store) listed(ctx context.Context, refs []pieceRef, g uint64, id string) (bool, error) {
	for _, r := range refs {
		if g < r.Low || g > r.High {
			continue
		}
		list, err := s.readCatalogue(ctx, []pieceRef{r})
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list, func(c settled) bool { return c.ID == id }) {
			return true, nil
		}
	}
	return false, nil
}

// settleAll makes durable what others have written under names, before anything
// is built on it.
func (s *Store) settleAll(ctx context.Context, what string, names []string) error {
	if err := bucket.Settle(ctx, s.bucket, names...); err != nil {
		return fmt.Errorf("settle %s: %w", what, err)
	}
	return nil
}
