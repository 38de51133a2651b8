package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
)

// A want is one chunk that Each was asked for.
type want struct {
	index int
	id    chunk.ID
	place index.Place
}

// Reads of one pack are coalesced while the gap between blocks is small and
// the whole stays small: a request costs more than skipping maxGap bytes, and
// a run is what one worker holds in memory.
const (
	maxGap = 128 << 10
	maxRun = 4 << 20
)

// Each calls fn once for every index of ids, from several goroutines at once,
// in the order in which the chunks lie in the packs: each block is read and
// opened once. data is valid during the call only. A chunk that cannot be had
// gives fn an error instead. What fn returns ends the streaming.
func (s *Store) Each(ctx context.Context, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error {
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	return s.each(ctx, v, k, ids, fn)
}

// each is Each in a view.
func (s *Store) each(ctx context.Context, v *view, k chunk.Kind, ids []chunk.ID, fn func(i int, data []byte, err error) error) error {
	wants, err := s.plan(ctx, v, ids, fn)
	if err != nil {
		return err
	}
	return s.eachAt(ctx, v, k, wants, fn)
}

// eachAt is each for chunks whose places are known.
func (s *Store) eachAt(ctx context.Context, v *view, k chunk.Kind, wants []want, fn func(i int, data []byte, err error) error) error {
	sortByPlace(wants)
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(s.env.Workers)
	for len(wants) > 0 && running.Err() == nil {
		n := runLength(wants)
		run := wants[:n]
		wants = wants[n:]
		group.Go(func() error { return s.eachRun(running, v, k, run, fn) })
	}
	return cmp.Or(group.Wait(), ctx.Err()) // running itself is over once Wait returns
}

// plan finds the places of all chunks.
func (s *Store) plan(ctx context.Context, v *view, ids []chunk.ID, fn func(int, []byte, error) error) ([]want, error) {
	wants := make([]want, 0, len(ids))
	for i, id := range ids {
		p, err := s.find(ctx, v, id)
		if err == nil {
			wants = append(wants, want{i, id, p})
			continue
		}
		if err := fn(i, nil, err); err != nil {
			return nil, err
		}
	}
	return wants, nil
}

func sortByPlace(wants []want) {
	slices.SortFunc(wants, func(a, b want) int {
		return cmp.Or(bytes.Compare(a.place.Pack.SID[:], b.place.Pack.SID[:]), cmp.Compare(a.place.Pack.Seq, b.place.Pack.Seq),
			cmp.Compare(a.place.BlockOffset, b.place.BlockOffset), cmp.Compare(a.place.Offset, b.place.Offset))
	})
}

func (w want) end() int64 { return int64(w.place.BlockOffset) + int64(w.place.BlockSealed) }

// runLength returns how many of the sorted wants are read together.
func runLength(wants []want) int {
	start, end := int64(wants[0].place.BlockOffset), wants[0].end()
	for i, w := range wants[1:] {
		off := int64(w.place.BlockOffset)
		if w.place.Pack != wants[0].place.Pack || off > end+maxGap || (w.end() > start+maxRun && off >= end) {
			return i + 1
		}
		end = max(end, w.end())
	}
	return len(wants)
}

// eachRun reads a run of blocks of one pack with one request and hands out
// their chunks. If the request fails, blocks are tried one by one, so that a
// bad spot on a disk costs only what lies on it.
func (s *Store) eachRun(ctx context.Context, v *view, k chunk.Kind, run []want, fn func(int, []byte, error) error) error {
	start := int64(run[0].place.BlockOffset)
	size := int(run[len(run)-1].end() - start)
	raw, opened := s.buf.Get(size)[:size], s.buf.Get(maxPlain(run))
	defer s.buf.Put(raw)
	defer s.buf.Put(opened)
	err := s.readAt(ctx, packName(run[0].place.Pack), raw, start)
	for len(run) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(run) && run[n].place.BlockOffset == run[0].place.BlockOffset {
			n++
		}
		p := run[0].place
		sealed := raw[int64(p.BlockOffset)-start:][:p.BlockSealed]
		if err := s.eachInBlock(ctx, v, k, run[:n], sealed, err, opened, fn); err != nil {
			return err
		}
		run = run[n:]
	}
	return ctx.Err()
}

// eachInBlock opens a block and hands out its chunks. failed is why the run
// could not be read.
func (s *Store) eachInBlock(ctx context.Context, v *view, k chunk.Kind, wants []want, sealed []byte, failed error, opened []byte,
	fn func(int, []byte, error) error) error {
	p := wants[0].place
	plain, err := []byte(nil), failed
	if failed == nil {
		plain, err = s.box.OpenBlock(opened, sealed, int(p.BlockPlain))
	}
	if err != nil && ctx.Err() == nil { // once more, alone: only the transfer may have gone wrong
		if err = s.readAt(ctx, packName(p.Pack), sealed, int64(p.BlockOffset)); err == nil {
			plain, err = s.box.OpenBlock(opened, sealed, int(p.BlockPlain))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, w := range wants {
		var data []byte
		var wErr error = &DamageError{Pack: packName(p.Pack), Chunk: w.id, Err: err}
		if err == nil {
			data, wErr = s.verified(plain, w.place, k, w.id)
		} else if isMissing(err) {
			data, wErr = s.loadMoved(ctx, v, k, w.id, wErr)
		}
		if err := fn(w.index, data, wErr); err != nil {
			return err
		}
	}
	return nil
}

// maxPlain is the room that the largest block of a run needs.
func maxPlain(run []want) int {
	n := 0
	for _, w := range run {
		n = max(n, int(w.place.BlockPlain))
	}
	return n + 64 // so that the decoder need not be careful at the end
}
