package restore

import (
	"context"
	"fmt"

	"coffer/chunk"
)

// The bounds of a batch. 65,536 places take 8 MB with their table, and are so
// many that blocks which a batch shares with its neighbour do not matter. The
// first batch is small, to have something to write soon.
const (
	maxPlaces   = 1 << 16
	maxFiles    = 1 << 13
	firstPlaces = 1 << 10
)

// A place is where a chunk is written to.
type place struct {
	f      *file
	off    int64 // in the content, holes not counted
	length uint32
	next   int32 // place of the same chunk, or -1
}

// A batch is what is loaded at once: each chunk one time, for all its places.
type batch struct {
	ids    []chunk.ID
	heads  []int32 // of ids: first place
	index  map[chunk.ID]int32
	places []place
	files  []*file
	bound  int // of places
}

func newBatch() *batch { return &batch{index: make(map[chunk.ID]int32)} }

func (b *batch) reset(bound int) {
	b.ids, b.heads, b.places = b.ids[:0], b.heads[:0], b.places[:0]
	clear(b.index)
	clear(b.files)
	b.files = b.files[:0]
	b.bound = bound
}

func (b *batch) isFull() bool { return len(b.places) >= b.bound || len(b.files) >= maxFiles }

func (b *batch) add(id chunk.ID, p place) {
	i, ok := b.index[id]
	if !ok {
		i = int32(len(b.ids))
		b.index[id] = i
		b.ids, b.heads = append(b.ids, id), append(b.heads, -1)
	}
	p.next = b.heads[i]
	b.heads[i] = int32(len(b.places))
	b.places = append(b.places, p)
}

// deliver writes a chunk to its places. An error of the chunk, or of one file,
// is of those files only.
func (b *batch) deliver(ctx context.Context, i int, data []byte, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for k := b.heads[i]; k >= 0; k = b.places[k].next {
		if err := b.places[k].fill(data, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *place) fill(data []byte, err error) error {
	f := p.f
	switch {
	case err != nil:
		f.fail(fromSource(err))
	case len(data) != int(p.length):
		f.fail(fromSource(fmt.Errorf("a chunk has %d bytes and should have %d", len(data), p.length)))
	default:
		if err := f.take(p.off, data); fatal(err) {
			return f.run.settle(f.dir, f.name, "restore", err)
		} else if err != nil {
			f.fail(err)
		}
	}
	return f.part()
}

// A planner cuts the content of files into batches. There are two: one is
// planned while the other is written.
type planner struct {
	run  *run
	free chan *batch
	full chan *batch
	both [2]*batch
	now  *batch
	size int
}

func newPlanner(r *run) *planner {
	p := &planner{run: r, free: make(chan *batch, 2), full: make(chan *batch), size: firstPlaces}
	for i := range p.both {
		p.both[i] = newBatch()
		p.free <- p.both[i]
	}
	return p
}

// plan gathers what files says, which calls file for each, and the rest at the
// end.
func (p *planner) plan(ctx context.Context, files func(context.Context) error) error {
	defer close(p.full)
	if err := p.turn(ctx); err != nil {
		return err
	}
	if err := files(ctx); err != nil {
		return err
	}
	return p.flush(ctx)
}

// file adds the content of a file, to several batches if it is large.
func (p *planner) file(ctx context.Context, f *file) error {
	if len(f.e.Content) == 0 && !f.e.Spilled() {
		return f.part() // nothing to load: a batch could fill with a million of these
	}
	p.now.files = append(p.now.files, f)
	off := int64(0)
	for ref, err := range p.run.tree.refs(ctx, f.e) {
		if err != nil {
			f.fail(fromSource(err))
			break
		}
		if err := p.room(ctx, f); err != nil {
			return err
		}
		f.left.Add(1)
		p.now.add(ref.ID, place{f: f, off: off, length: ref.Length})
		off += int64(ref.Length)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.part()
}

func (p *planner) room(ctx context.Context, f *file) error {
	if !p.now.isFull() {
		return nil
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	if err := p.turn(ctx); err != nil {
		return err
	}
	p.now.files = append(p.now.files, f) // for abandon
	return nil
}

// turn waits for a batch that is free.
func (p *planner) turn(ctx context.Context) error {
	select {
	case p.now = <-p.free:
		p.now.reset(p.size)
		p.size = min(p.size*4, maxPlaces)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *planner) flush(ctx context.Context) error {
	select {
	case p.full <- p.now:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write has the batches loaded and written.
func (p *planner) write(ctx context.Context) error {
	for b := range p.full {
		err := p.run.tree.each(ctx, b.ids, func(i int, data []byte, err error) error {
			return b.deliver(ctx, i, data, err)
		})
		if err != nil {
			return err
		}
		p.free <- b
	}
	return ctx.Err()
}

// abandon removes what is unfinished when the run has ended with an error.
func (p *planner) abandon() {
	for _, b := range p.both {
		for _, f := range b.files {
			f.discard()
		}
	}
}
