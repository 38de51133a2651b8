package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A listing is all objects that bear the number of a generation.
type listing struct {
	objects map[string]int64 // sizes by name
}

// listAll lists everything that a sweep may concern; the packs, of which there
// may be very many, only where that is wanted.
func (s *Store) listAll(ctx context.Context, packs bool) (listing, error) {
	l := listing{objects: map[string]int64{}}
	for _, prefix := range numbered() {
		if prefix == "packs/" && !packs {
			continue
		}
		for info, err := range s.bucket.List(ctx, prefix, "") {
			if err != nil {
				return l, fmt.Errorf("list %s: %w", prefix, err)
			}
			l.objects[info.Name] = info.Size
		}
	}
	return l, nil
}

// errListing says that a listing cannot be believed.
var errListing = errors.New("nothing is deleted: run 'coffer verify', and 'coffer repair' if it finds damage")

// vanished reports whether err may come from a prune that went by and swept.
func vanished(err error) bool { return isMissing(err) || errors.Is(err, errListing) }

// holds sees that everything that the view of a names is listed, whole. A
// listing that leaves out what must be there may leave out more, and a pack that
// is short may be the only one that is read in vain when it is too late.
func (l listing) holds(a *account) error {
	for _, r := range a.v.segments {
		if _, ok := l.objects[r.Name]; !ok {
			return fmt.Errorf("the listing lacks the index segment %s; %w", r.Name, errListing)
		}
	}
	if err := l.hasPieces(a.v.catalogue()); err != nil {
		return err
	}
	for i := range a.packs {
		name := packName(a.packs[i].Pack)
		size, ok := l.objects[name]
		if !ok {
			return fmt.Errorf("the listing lacks the pack %s; %w", name, errListing)
		}
		if size != int64(a.packs[i].Size) {
			return fmt.Errorf("the pack %s has %d bytes and should have %d; %w", name, size, a.packs[i].Size, errListing)
		}
	}
	return nil
}

func (l listing) hasPieces(refs []pieceRef) error {
	for _, r := range refs {
		for _, name := range []string{r.Name, r.Name + copySuffix} {
			if _, ok := l.objects[name]; !ok {
				return fmt.Errorf("the listing lacks the piece of the catalogue %s; %w", name, errListing)
			}
		}
	}
	return nil
}

// under yields the names that begin with prefix and belong to generations up to
// g.
func (l listing) under(prefix string, g uint64) []string {
	var names []string
	for name := range l.objects {
		if n, err := generationOf(name); err == nil && n <= g && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}
