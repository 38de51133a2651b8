package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"coffer/index"
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

// holds sees that everything that a generation is made of is listed, whole. A
// listing that leaves out what must be there may leave out more, and a pack that
// is short may be the only one that is read in vain when it is too late.
func (l listing) holds(segments []segmentRef, pieces []pieceRef, packs iter.Seq[index.Pack]) error {
	for _, r := range segments {
		if _, ok := l.objects[r.Name]; !ok {
			return fmt.Errorf("the listing lacks the index segment %s; %w", r.Name, errListing)
		}
	}
	for _, r := range pieces {
		for _, name := range []string{r.Name, r.Name + copySuffix} {
			if _, ok := l.objects[name]; !ok {
				return fmt.Errorf("the listing lacks the piece of the catalogue %s; %w", name, errListing)
			}
		}
	}
	for p := range packs {
		name := packName(p)
		size, ok := l.objects[name]
		if !ok {
			return fmt.Errorf("the listing lacks the pack %s; %w", name, errListing)
		}
		if size != int64(p.Size) {
			return fmt.Errorf("the pack %s has %d bytes and should have %d; %w", name, size, p.Size, errListing)
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
