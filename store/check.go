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

	"coffer/index"
	"coffer/store/pack"
)

// CheckOptions say how much of the packs to read.
type CheckOptions struct {
	Data   bool                          // read and check all bytes
	Pick   func(names []string) []string // with Data: which of all packs to read; nil for all
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
// small records. What seems damaged is read again before it is reported.
func (s *Store) Check(ctx context.Context, opt CheckOptions) (CheckReport, error) {
	c := checker{s: s, opt: opt, packs: map[string]index.Pack{}, listed: map[string]int64{}}
	if err := s.Refresh(ctx); err != nil {
		return c.rep, err
	}
	v, err := s.current(ctx)
	if err != nil {
		return c.rep, err
	}
	defer v.release()
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
	listed map[string]int64      // sizes of those that are there
	picked map[string]bool       // to be read, if they are there
	total  int64                 // bytes to be read

	mu  sync.Mutex
	rep CheckReport
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
				return c.unreadable(ctx, ref.Name, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, p := range seg.Packs {
				c.packs[packName(p)] = p
				c.rep.Packs++
				c.rep.Bytes += int64(p.Size)
			}
			return nil
		})
	}
	return group.Wait()
}

// unreadable reports a record, unless it is the context that has ended.
func (c *checker) unreadable(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.damage(&DamageError{Pack: name, Err: err})
	return nil
}

func (c *checker) listPacks(ctx context.Context, _ *view) error {
	for info, err := range c.s.bucket.List(ctx, "packs/", "") {
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		if _, ok := c.packs[info.Name]; ok {
			c.listed[info.Name] = info.Size
		} else {
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
			err = fmt.Errorf("it has %d bytes and should have %d", size, p.Size)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("it is missing")
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

// records opens the small records that are only read on occasion.
func (c *checker) records(ctx context.Context, v *view) error {
	keys, err := c.s.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Err != nil {
			c.damage(&DamageError{Pack: keyPrefix + k.ID, Err: k.Err})
		}
	}
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for _, prefix := range []string{generationPrefix, "sessions/"} {
		for info, err := range c.s.bucket.List(running, prefix, "") {
			if err != nil {
				return errors.Join(fmt.Errorf("list %s: %w", prefix, err), group.Wait())
			}
			group.Go(func() error { return c.record(running, info.Name) })
		}
	}
	return errors.Join(group.Wait(), c.generations(ctx, v))
}

// generations sees that no record of a generation is gone: none is ever deleted.
func (c *checker) generations(ctx context.Context, v *view) error {
	for g := range v.Number + 1 {
		names := []string{generationName(g)}
		if g == 0 || g < v.Number { // the newest may be open
			names = append(names, closingName(g))
		}
		for _, name := range names {
			if _, err := c.s.getRecord(ctx, name, maxRecord); isMissing(err) {
				c.damage(&DamageError{Pack: name, Err: errors.New("it is missing")})
			} else if err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func (c *checker) record(ctx context.Context, name string) error {
	_, err := c.s.getRecord(ctx, name, maxRecord)
	if err == nil || errors.Is(err, fs.ErrNotExist) { // swept meanwhile
		return nil
	}
	return c.unreadable(ctx, name, err)
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
		for p, blocks := range seg.Contents() {
			if _, there := c.listed[packName(p)]; there && c.picked[packName(p)] && running.Err() == nil {
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
	c.damage(r.found...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rep.PacksRead++
	c.rep.BytesRead += int64(p.Size)
	c.rep.Chunks += r.chunks
	if c.opt.Report != nil {
		c.opt.Report(c.rep.BytesRead, c.total)
	}
	return nil
}
