package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// CheckOptions say how much of the packs to read.
type CheckOptions struct {
	Data   bool                          // read and check all bytes
	Pick   func(names []string) []string // with Data: which of all packs to read; nil for all
	Log    bool                          // with Data: record which packs were read and found good; see ReadTimes
	Report func(done, total int64)       // bytes; called from several goroutines, one at a time
	Damage func(*DamageError)            // called for each thing found, from several goroutines, one at a time
}

// A CheckReport says what was looked at.
type CheckReport struct {
	Packs     int   // named by the index
	Bytes     int64 // of them
	PacksRead int
	BytesRead int64
	Chunks    int64 // whose IDs were recomputed
	Orphans   int   // packs that no commit names: of runs that were cut off, or that go on; prune removes the former
}

// Check compares what the index says with what the bucket holds. With Data it
// reads packs whole: every block and the ID of every chunk at the place that
// the index gives, the trailer, and the hash in the footer; and it opens all
// small records. What seems damaged is read again before it is reported. What a
// prune or a repair has given up is not looked at.
func (s *Store) Check(ctx context.Context, opt CheckOptions) (CheckReport, error) {
	c := checker{s: s, opt: opt, packs: map[string]index.Pack{}, dead: map[string]bool{}, listed: map[string]int64{}}
	if err := s.Refresh(ctx); err != nil {
		return c.rep, err
	}
	v, err := s.current(ctx)
	if err != nil {
		return c.rep, err
	}
	defer v.release()
	if opt.Log && opt.Data {
		begun := s.env.Now()
		defer func() { s.logReads(ctx, c.good, begun) }()
	}
	steps := []func(context.Context, *view) error{c.findPacks, c.listPacks, c.pick, c.missing}
	if opt.Data {
		steps = append(steps, c.records, c.readPacks)
	}
	for _, step := range steps {
		if err := step(ctx, v); err != nil {
			return c.rep, err
		}
	}
	return c.rep, ctx.Err()
}

// A checker is a Check under way.
type checker struct {
	s      *Store
	opt    CheckOptions
	packs  map[string]index.Pack // that the index names
	dead   map[string]bool       // packs that are given up
	listed map[string]int64      // sizes of those that are there
	picked map[string]bool       // to be read, if they are there
	total  int64                 // bytes to be read

	mu   sync.Mutex
	rep  CheckReport
	good []index.Pack // read whole, and nothing is wrong with them
}

func (c *checker) damage(list ...*DamageError) {
	if c.opt.Damage == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range list {
		c.opt.Damage(d)
	}
}

// findPacks gathers all packs that the segments name.
func (c *checker) findPacks(ctx context.Context, v *view) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for _, ref := range v.segments {
		group.Go(func() error {
			seg, err := c.s.readSegment(ctx, ref.Name)
			if err != nil {
				return c.unreadable(ctx, ref.Name, "where its chunks are is told by their packs, too", err)
			}
			c.name(seg, ref.Dead)
			return nil
		})
	}
	return group.Wait()
}

// name takes on the packs that a segment names.
func (c *checker) name(seg *index.Segment, dead []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range seg.Packs {
		if _, gone := slices.BinarySearch(dead, uint32(i)); gone {
			c.dead[packName(p)] = true
			continue
		}
		c.packs[packName(p)] = p
		c.rep.Packs++
		c.rep.Bytes += int64(p.Size)
	}
}

// unreadable reports a record and what it costs, unless it is the context that
// has ended.
func (c *checker) unreadable(ctx context.Context, name, cost string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if isMissing(err) {
		err = errors.New("it is missing")
	}
	c.damage(&DamageError{Pack: name, Err: fmt.Errorf("%w; %s: run 'coffer repair'", err, cost)})
	return nil
}

func (c *checker) listPacks(ctx context.Context, _ *view) error {
	for info, err := range c.s.bucket.List(ctx, "packs/", "") {
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		if _, ok := c.packs[info.Name]; ok {
			c.listed[info.Name] = info.Size
		} else if !c.dead[info.Name] {
			c.rep.Orphans++
		}
	}
	return nil
}

// missing reports packs that are not there, or not with their size. A listing
// that leaves one out is not believed alone.
func (c *checker) missing(ctx context.Context, _ *view) error {
	for name, p := range c.packs {
		size, ok := c.listed[name]
		var err error
		if !ok {
			err = c.s.readAt(ctx, name, make([]byte, pack.FooterSize), int64(p.Size)-pack.FooterSize)
		} else if size != int64(p.Size) {
			err = fmt.Errorf("it has %d bytes and should have %d; what is missing from it is lost: run 'coffer repair'", size, p.Size)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("it is missing; what was only in it is lost: run 'coffer repair', then back up again what still exists")
			delete(c.listed, name)
		} else {
			c.listed[name] = int64(p.Size)
		}
		if err != nil {
			_, there := c.listed[name]
			c.damage(&DamageError{Pack: name, Whole: !there || !c.picked[name], Err: err})
		}
	}
	return nil
}

// pick chooses the packs to read.
func (c *checker) pick(context.Context, *view) error {
	if !c.opt.Data {
		return nil
	}
	names := slices.Sorted(maps.Keys(c.packs))
	if c.opt.Pick != nil {
		names = c.opt.Pick(names)
	}
	c.picked = make(map[string]bool, len(names))
	for _, name := range names {
		c.picked[name] = true
	}
	return nil
}

// readPacks reads the packs of one segment after the other, as many packs at
// once as there are workers.
func (c *checker) readPacks(ctx context.Context, v *view) error {
	for name := range c.listed {
		if c.picked[name] {
			c.total += int64(c.packs[name].Size)
		}
	}
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(c.s.env.Workers)
	for _, ref := range v.segments {
		seg, err := c.s.readSegment(running, ref.Name)
		if err != nil {
			continue // findPacks has reported it
		}
		n := -1
		for p, blocks := range seg.Contents() {
			n++
			_, dead := slices.BinarySearch(ref.Dead, uint32(n))
			_, there := c.listed[packName(p)]
			if there && !dead && c.picked[packName(p)] && running.Err() == nil {
				group.Go(func() error { return c.readPack(running, p, blocks) })
			}
		}
	}
	return group.Wait()
}

func (c *checker) readPack(ctx context.Context, p index.Pack, blocks []index.Filled) error {
	r := packCheck{s: c.s, p: p, name: packName(p), want: blocks}
	r.run(ctx)
	if len(r.found) > 0 && ctx.Err() == nil { // only the transfer may have gone wrong
		r.found, r.chunks = nil, 0
		r.run(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, d := range r.found {
		if d.Chunk == (chunk.ID{}) {
			d.Err = fmt.Errorf("%w; what is good in it can be saved: run 'coffer repair'", d.Err)
		}
	}
	c.damage(r.found...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(r.found) == 0 {
		c.good = append(c.good, p)
	}
	c.rep.PacksRead++
	c.rep.BytesRead += int64(p.Size)
	c.rep.Chunks += r.chunks
	if c.opt.Report != nil {
		c.opt.Report(c.rep.BytesRead, c.total)
	}
	return nil
}
