package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A run is one restore in progress. Two stages work side by side: the walk reads
// the tree, makes directories and all that has no content, and gathers the
// chunks of files into batches; the writer has a batch loaded and writes each
// chunk to all places that want it. With Checksum, files are compared between
// the two.
type run struct {
	tree tree
	goal goal
	opt  Options
	rep  *reporter
	fds  *fdCache
	own  *owners

	syncfs  func(fd int) error
	target  *target
	inPlace bool // what is there may stay
	norepl  bool // nothing that is there may be replaced
	groups  map[snapshot.LinkGroup]*group
	claimed map[inodeID]snapshot.LinkGroup     // inodes with several names that were kept, and for whom
	serial  atomic.Uint64                      // of partials
	send    func(context.Context, *file) error // takes the files that the walk finds
	seed    maphash.Seed
}

// inodeID names an inode on this machine while it exists.
type inodeID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) inodeID { return inodeID{st.Dev, st.Ino} }

func newRun(t tree, g goal, opt Options) *run {
	return &run{
		tree: t, goal: g, opt: opt,
		rep: newReporter(g, opt), fds: newFDCache(), own: newOwners(opt),
		syncfs:  unix.Syncfs,
		seed:    maphash.MakeSeed(),
		groups:  make(map[snapshot.LinkGroup]*group),
		claimed: make(map[inodeID]snapshot.LinkGroup),
	}
}

// all does the whole run.
func (r *run) all(ctx context.Context) error {
	t, err := openTarget(r.goal, r.opt)
	if err != nil {
		return err
	}
	defer t.close()
	defer r.fds.closeAll()
	r.target = t
	r.inPlace = r.opt.InPlace || t.resumed
	r.norepl = !r.inPlace
	r.rep.rep.Resumed = t.resumed
	top := r.topDir()
	if err := r.stages(ctx, func(ctx context.Context) error { return r.walkTop(ctx, top) }); err != nil {
		return err
	}
	return r.conclude(ctx, top)
}

// stages runs the stages to their end, over what walk finds.
func (r *run) stages(ctx context.Context, walk func(context.Context) error) error {
	p := newPlanner(r)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.write(ctx) })
	r.send = p.file
	if r.opt.Checksum {
		walk = r.sifted(g, p, walk)
	}
	g.Go(func() error { return p.plan(ctx, walk) })
	err := g.Wait()
	if err != nil {
		p.abandon()
	}
	return err
}

// conclude finishes what had to wait for everything else. The order makes the
// marker go only when all is on disk, and be gone before the target gets its
// own metadata, which its removal would change.
func (r *run) conclude(ctx context.Context, top *dir) error {
	if err := r.finishGroups(); err != nil {
		return err
	}
	if r.opt.DryRun {
		return r.leave(top)
	}
	if err := r.sync(); err != nil {
		return err
	}
	if err := r.target.unmark(); err != nil {
		return err
	}
	if err := r.late(ctx, top); err != nil {
		return err
	}
	if err := r.leave(top); err != nil {
		return err
	}
	return r.sync()
}

// sync writes the whole file system to disk: one call is far cheaper than one for
// each file.
func (r *run) sync() error {
	if err := r.syncfs(r.target.fd); err != nil {
		return fmt.Errorf("write to disk: %w", err)
	}
	return nil
}

// late restores an entry that has the marker's name, now that it is free.
func (r *run) late(ctx context.Context, top *dir) error {
	if r.target.late == nil {
		return nil
	}
	err := r.stages(ctx, func(ctx context.Context) error { return r.entry(ctx, top, r.target.late) })
	if err != nil {
		return err
	}
	return r.finishGroups()
}

// settle decides what an error about one item is: a problem of that item, or the
// end of the run.
func (r *run) settle(d *dir, name, what string, err error) error {
	if err == nil {
		return nil
	}
	if fatal(err) {
		return fmt.Errorf("%s %q: %w", what, d.below(name), err)
	}
	r.rep.problem(Problem{Path: d.below(name), What: what, Err: err})
	return nil
}

// fatal reports whether all other items would fail in the same way.
func fatal(err error) bool {
	if source := (*sourceError)(nil); errors.As(err, &source) {
		return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	for _, e := range []error{
		unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// partial returns a name for something that is not finished. It belongs to this
// target's restore, so that whoever finishes it can tell it from a user's file.
func (r *run) partial() string {
	return r.target.prefix + strconv.FormatUint(r.serial.Add(1), 36)
}
