package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// A smallRecord is one that Check opens, and what is lost with it.
type smallRecord struct {
	name, cost string
	open       func(ctx context.Context) error
}

// records opens the small records: most are only read on occasion, and those
// that opening the repository has read may have come from memory.
func (c *checker) records(ctx context.Context, v *view) error {
	if err := c.keys(ctx); err != nil {
		return err
	}
	var list []smallRecord
	for _, find := range []func(context.Context, *view) ([]smallRecord, error){c.generations, c.catalogue, c.sessions, c.fates, c.requests} {
		some, err := find(ctx, v)
		if err != nil {
			return err
		}
		list = append(list, some...)
	}
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for _, r := range list {
		group.Go(func() error {
			_, err := twice(running, func() (struct{}, error) { return struct{}{}, r.open(running) })
			if err == nil {
				return nil
			}
			return c.unreadable(running, r.name, r.cost, err)
		})
	}
	return group.Wait()
}

// twice reads once more what could not be read: only the transfer may have gone
// wrong.
func twice[T any](ctx context.Context, read func() (T, error)) (T, error) {
	v, err := read()
	if err == nil || ctx.Err() != nil || errors.Is(err, errNewer) {
		return v, err
	}
	return read()
}

func (c *checker) keys(ctx context.Context) error {
	keys, err := c.s.Keys(ctx)
	for _, k := range keys {
		if k.Err != nil {
			c.damage(&DamageError{Pack: keyPrefix + k.ID, Err: fmt.Errorf("%w; it opens nothing any more: remove this key, and add it again", k.Err)})
		}
	}
	return err
}

// generations are never deleted. Those that a repair has done without are left
// alone.
func (c *checker) generations(_ context.Context, v *view) (list []smallRecord, err error) {
	for g := v.Mended; g <= v.Number; g++ {
		cost := "nothing needs it but a repair of others like it"
		if g == v.Number {
			cost = "it says what the repository is made of"
		}
		list = append(list, smallRecord{generationName(g), cost, func(ctx context.Context) error {
			_, err := c.s.getGeneration(ctx, g)
			return err
		}})
		if g == v.Number && v.done == nil && g > 0 { // it is open
			continue
		}
		list = append(list, smallRecord{closingName(g), cost, func(ctx context.Context) error {
			_, err := c.s.getClosing(ctx, g)
			return err
		}})
	}
	return list, nil
}

func (c *checker) catalogue(_ context.Context, v *view) (list []smallRecord, err error) {
	for _, r := range v.catalogue() {
		for _, name := range []string{r.Name, r.Name + copySuffix} {
			list = append(list, smallRecord{name, "nothing is lost as long as its other copy is good", func(ctx context.Context) error {
				return c.s.checkPiece(ctx, name, r)
			}})
		}
	}
	return list, nil
}

func (s *Store) checkPiece(ctx context.Context, name string, r pieceRef) error {
	commits, err := s.getOnePiece(ctx, name)
	if err == nil && len(commits) != r.Commits {
		err = fmt.Errorf("it has %d commits and should have %d", len(commits), r.Commits)
	}
	return err
}

// vanishing is for records that a sweep may delete while they are checked.
func vanishing(name, cost string, open func(ctx context.Context) error) smallRecord {
	return smallRecord{name, cost, func(ctx context.Context) error {
		if err := open(ctx); !isMissing(err) {
			return err
		}
		return nil
	}}
}

func (c *checker) sessions(ctx context.Context, v *view) (list []smallRecord, err error) {
	names, err := c.s.list(ctx, "sessions/")
	for _, name := range names {
		if g, err := generationOf(name); err == nil && g > v.Number { // its generation has just begun, or has been lost
			list = append(list, smallRecord{generationName(g), "what was done since is not seen", func(ctx context.Context) error {
				_, err := c.s.getGeneration(ctx, g)
				return err
			}})
		}
		if !slices.Contains(v.Void, name) {
			list = append(list, vanishing(name, "nothing is lost", func(ctx context.Context) error {
				_, err := c.s.getIntent(ctx, name)
				return err
			}))
		}
	}
	return list, err
}

// getIntent reads a registration.
func (s *Store) getIntent(ctx context.Context, name string) (in intent, err error) {
	err = s.getCBOR(ctx, name, &in, &in.Version)
	return in, err
}

// fates are checked as far as the view builds on them.
func (c *checker) fates(ctx context.Context, v *view) (list []smallRecord, err error) {
	from := v.Number
	if v.done == nil && from > 0 {
		from--
	}
	for g := from; g <= v.Number; g++ {
		names, err := c.s.list(ctx, fatePrefix(g))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !slices.Contains(v.Void, name) {
				list = append(list, vanishing(name, "if it was a snapshot, that is lost", func(ctx context.Context) error {
					_, err := c.s.getFate(ctx, name)
					return err
				}))
			}
		}
	}
	return list, nil
}

// requests are asks and notes.
func (c *checker) requests(ctx context.Context, v *view) (list []smallRecord, err error) {
	for _, prefix := range []string{askPrefix, notePrefix} {
		names, err := c.s.list(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if slices.Contains(v.Void, name) {
				continue
			}
			list = append(list, vanishing(name, "what it says is lost", func(ctx context.Context) error {
				return c.s.openRequest(ctx, name)
			}))
		}
	}
	return list, nil
}

// openRequest opens an ask or a note.
func (s *Store) openRequest(ctx context.Context, name string) (err error) {
	if strings.HasPrefix(name, askPrefix) {
		_, err = s.getAsk(ctx, name)
		return err
	}
	n, err := s.getNote(ctx, name)
	if err == nil {
		err = readLog{}.decode(n.Reads, s.env.Now())
	}
	return err
}
