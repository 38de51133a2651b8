package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"coffer/bucket"
	"coffer/seal"
)

// A turn is what a listing of the generations shows: the newest one, and the
// newest that is closed. The latter is at most one behind.
type turn struct{ newest, closed uint64 }

func (t turn) open() bool { return t.closed != t.newest }

// putFirstGeneration writes generation 0 and closes it.
func (s *Store) putFirstGeneration(ctx context.Context) error {
	err := s.putCBOR(ctx, generationName(0), generation{Version: recordVersion})
	if err == nil {
		err = s.putCBOR(ctx, closingName(0), closing{Version: recordVersion})
	}
	if err != nil {
		return fmt.Errorf("write first generation: %w", err)
	}
	return nil
}

// turn lists the generations. A listing that took so long that a generation was
// closed and another one made meanwhile may show the latter only: it is made again.
func (s *Store) turn(ctx context.Context) (t turn, err error) {
	for range 3 {
		if t, err = s.listTurn(ctx); !errors.Is(err, seal.ErrDamaged) {
			break
		}
	}
	return t, err
}

func (s *Store) listTurn(ctx context.Context) (turn, error) {
	var t turn
	found := false
	for info, err := range s.bucket.List(ctx, generationPrefix, "") {
		if err != nil {
			return t, fmt.Errorf("list generations: %w", err)
		}
		text, isClosing := strings.CutSuffix(strings.TrimPrefix(info.Name, generationPrefix), doneSuffix)
		g, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			continue
		}
		if isClosing {
			t.closed = max(t.closed, g)
		} else {
			t.newest, found = max(t.newest, g), true
		}
	}
	if err := t.ahead(ctx, s); err != nil {
		return t, err
	}
	missing := ""
	switch {
	case !found || t.closed > t.newest:
		missing = generationName(t.closed)
	case t.newest-t.closed > 1:
		missing = closingName(t.newest - 1)
	default:
		return t, nil
	}
	return t, fmt.Errorf("part of the repository is missing (%s): run 'coffer repair': %w", missing, seal.ErrDamaged)
}

// ahead moves on to generations that the listing has left out. A session that
// registers with one that is not the newest is seen by no prune, so a stale
// listing alone is not believed. Generations follow each other without a gap.
func (t *turn) ahead(ctx context.Context, s *Store) error {
	for {
		there, err := s.exists(ctx, generationName(t.newest+1))
		if err != nil {
			return err
		}
		if !there {
			break
		}
		t.newest++
		t.closed = max(t.closed, t.newest-1)
	}
	if t.closed >= t.newest {
		return nil
	}
	there, err := s.exists(ctx, closingName(t.newest))
	if there {
		t.closed = t.newest
	}
	return err
}

// exists asks for an object by its name.
func (s *Store) exists(ctx context.Context, name string) (bool, error) {
	r, err := s.bucket.Get(ctx, name, 0, 1)
	switch {
	case isMissing(err):
		return false, nil
	case errors.Is(err, io.ErrUnexpectedEOF): // it is empty
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	return true, r.Close()
}

// newestGeneration lists the generations and returns the highest number.
func (s *Store) newestGeneration(ctx context.Context) (uint64, error) {
	t, err := s.turn(ctx)
	return t.newest, err
}

// A state is what the records of one generation say.
type state struct {
	generation
	done *closing // nil while the generation is open
}

// catalogue returns the pieces that list the valid commits of earlier
// generations; those that the state does not cover yet are not in them.
func (st state) catalogue() []pieceRef {
	if st.done != nil {
		return st.done.Catalogue
	}
	return st.Catalogue
}

// segments returns the index, as far as the state covers it.
func (st state) segments() []segmentRef {
	if st.done == nil {
		return slices.Clone(st.Base)
	}
	return slices.Concat(st.Base, st.done.Segments)
}

// readState reads the records of generation g. They are settled: what this
// process builds on must not vanish in a power cut.
func (s *Store) readState(ctx context.Context, g uint64) (state, error) {
	st := state{}
	if err := bucket.Settle(ctx, s.bucket, generationName(g), closingName(g)); err != nil {
		return st, fmt.Errorf("settle generation: %w", err)
	}
	gen, err := s.getGeneration(ctx, g)
	if err != nil {
		return st, err
	}
	st.generation = gen
	done, err := s.getClosing(ctx, g)
	if err == nil {
		st.done = &done
	} else if !isMissing(err) {
		return st, err
	}
	return st, nil
}

func (s *Store) getGeneration(ctx context.Context, g uint64) (generation, error) {
	var r generation
	if err := s.getNumbered(ctx, generationName(g), g, &r, &r.Version, &r.Number); err != nil {
		return r, fmt.Errorf("read generation %d: %w", g, err)
	}
	return r, nil
}

func (s *Store) getClosing(ctx context.Context, g uint64) (closing, error) {
	var r closing
	if err := s.getNumbered(ctx, closingName(g), g, &r, &r.Version, &r.Number); err != nil {
		return r, fmt.Errorf("read the closing of generation %d: %w", g, err)
	}
	return r, nil
}

// getNumbered is getCBOR for a record that says which generation it belongs to.
func (s *Store) getNumbered(ctx context.Context, name string, g uint64, v any, version *int, number *uint64) error {
	err := s.getCBOR(ctx, name, v, version)
	if err == nil && *number != g {
		err = fmt.Errorf("it says that it is %d: %w", *number, seal.ErrDamaged)
	}
	return err
}

// publish writes a record that may be written by somebody else at the same
// time. It reports whether the one that stands is ours: if our own first try
// had won and only its reply was lost, it is.
func (s *Store) publish(ctx context.Context, name string, plain []byte) (ours bool, err error) {
	sealed, err := s.box.SealRecord(name, plain)
	if err != nil {
		return false, err
	}
	err = s.put(ctx, name, sealed)
	if err == nil {
		return true, nil
	}
	got, getErr := readAll(context.WithoutCancel(ctx), s.bucket, name, maxRecord)
	if getErr != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	if settleErr := bucket.Settle(ctx, s.bucket, name); settleErr != nil {
		return false, fmt.Errorf("write %s: %w", name, errors.Join(err, settleErr))
	}
	return bytes.Equal(got, sealed), nil
}
