package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

const (
	// maxName is the longest name that Linux file systems have.
	maxName = 255
	// maxDepth is four times what a path of PATH_MAX bytes can have. A tree
	// that is deeper was made to exhaust us.
	maxDepth = 1 << 13
)

// walkTop walks all that is to be restored.
func (r *run) walkTop(ctx context.Context, top *dir) error {
	e := r.goal.e
	if e.Type != snapshot.Dir {
		if err := r.entry(ctx, top, e); err != nil {
			return err
		}
		return r.leave(top)
	}
	if err := r.prepareTop(ctx, top); err != nil {
		return err
	}
	return r.walk(ctx, top, e)
}

func (r *run) prepareTop(ctx context.Context, top *dir) (err error) {
	if top.e == nil || top.absent {
		return nil
	}
	if top.xattrs, _, err = r.tree.attrs(ctx, top.e); err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	return nil
}

// walk restores the entries of d. An unreadable listing is a problem of d.
func (r *run) walk(ctx context.Context, d *dir, e *snapshot.Entry) error {
	seen := names{seed: r.seed}
	whole := true
	for c, err := range r.tree.list(ctx, e) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if err := r.settle(d, "", "list", err); err != nil {
				return err
			}
			whole = false
			break
		}
		if r.wantsNames(d) {
			seen.add(c.Name)
		}
		if err := r.next(ctx, d, c); err != nil {
			return err
		}
	}
	if err := r.clean(d, &seen, whole); err != nil {
		return err
	}
	return r.leave(d)
}

// next restores an entry, unless it needs the name that the marker has now.
func (r *run) next(ctx context.Context, d *dir, e *snapshot.Entry) error {
	if d.parent == nil && e.Name == markerName && r.target.marker >= 0 && !r.opt.DryRun {
		r.target.late = e
		return nil
	}
	return r.entry(ctx, d, e)
}

func (r *run) entry(ctx context.Context, d *dir, e *snapshot.Entry) error {
	if err := checkEntry(e); err != nil {
		return r.settle(d, strings.ReplaceAll(e.Name, "/", "\\"), "name", err)
	}
	chosen, descend := r.choose(d, e)
	switch {
	case !chosen && !descend:
		r.rep.skipped()
		return nil
	case e.Type == snapshot.Dir:
		return r.subdir(ctx, d, e, chosen)
	}
	return r.settle(d, e.Name, "restore", r.leaf(ctx, d, e))
}

// checkEntry refuses what would leave the directory or mean something else to
// the kernel. The decoder of trees does so too; it stands here because this is
// the place that must be right.
func checkEntry(e *snapshot.Entry) error {
	switch {
	case e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00"):
		return fmt.Errorf("%q is no name for an entry", e.Name)
	case len(e.Name) > maxName:
		return fmt.Errorf("the name is longer than %d bytes", maxName)
	case e.MTime.Nsec >= 1e9:
		return errors.New("the time has a second or more of nanoseconds")
	case e.Mode&^07777 != 0 || e.Size < 0:
		return errors.New("mode or size is out of range")
	}
	return nil
}

// choose asks the filters: whether e is restored, and else whether something
// below it may be.
func (r *run) choose(d *dir, e *snapshot.Entry) (chosen, descend bool) {
	if r.opt.Include == nil && r.opt.Exclude == nil {
		return true, true
	}
	path, isDir := d.below(e.Name), e.Type == snapshot.Dir
	if r.opt.Exclude != nil && r.opt.Exclude(path, isDir) {
		return false, false
	}
	chosen = d.chosen || r.opt.Include(path, isDir)
	return chosen, isDir
}

func (r *run) subdir(ctx context.Context, parent *dir, e *snapshot.Entry, chosen bool) error {
	if parent.depth >= maxDepth {
		return r.settle(parent, e.Name, "make directory", fmt.Errorf("it is more than %d directories deep", maxDepth))
	}
	d := r.newDir(parent, e)
	d.chosen = chosen
	if chosen {
		if err := d.ensure(ctx); err != nil {
			return r.lost(d, err)
		}
	}
	return r.walk(ctx, d, e)
}

// lost gives up a directory that can not be made, with all below it.
func (r *run) lost(d *dir, err error) error {
	if err := r.settle(d, "", "make directory", err); err != nil {
		return err
	}
	d.ready = false
	return r.leave(d)
}

// leaf restores what is not a directory, or sends it on.
func (r *run) leaf(ctx context.Context, d *dir, e *snapshot.Entry) error {
	if err := d.ensure(ctx); err != nil {
		return err
	}
	if e.LinkGroup == "" {
		_, err := r.single(ctx, d, e, nil)
		return err
	}
	g, isNew := r.groupOf(d, e)
	if !isNew {
		return r.further(d, e, g)
	}
	sent, err := r.single(ctx, d, e, g)
	if sent {
		return err
	}
	if err := r.settle(d, e.Name, "restore", err); err != nil {
		return err
	}
	return g.resolve(err)
}

// single restores one inode under its first name, or sends it to the planner,
// who then looks after the group.
func (r *run) single(ctx context.Context, d *dir, e *snapshot.Entry, g *group) (sent bool, err error) {
	attrs, holes, err := r.tree.attrs(ctx, e)
	if err != nil {
		return false, err
	}
	f := &file{item: item{run: r, dir: d, name: e.Name, e: e, attrs: attrs}, group: g, holes: holes}
	if f.verdict, err = r.compare(f); err != nil {
		return false, err
	}
	switch {
	case f.verdict == same || f.verdict == otherMeta:
		return false, r.refit(f, f.verdict)
	case r.opt.DryRun && f.verdict != unread:
		r.rep.done(f.verdict.action(), d, e.Name, e)
		return false, nil
	case e.Type == snapshot.File:
		f.begin()
		return true, r.send(ctx, f)
	}
	return false, f.makeNode()
}

// names is a sorted set of names, kept as hashes: the one for a directory of a
// million files takes 8 MB.
type names struct {
	seed   maphash.Seed
	sums   []uint64
	sorted bool
}

func (n *names) add(name string) { n.sums = append(n.sums, maphash.String(n.seed, name)) }

func (n *names) has(name string) bool {
	if !n.sorted {
		slices.Sort(n.sums)
		n.sorted = true
	}
	_, ok := slices.BinarySearch(n.sums, maphash.String(n.seed, name))
	return ok
}

// unlink removes one name that is not a directory, immutable or not.
func (d *dir) unlink(dfd int, name string) error {
	err := unix.Unlinkat(dfd, name, 0)
	if d.frees(dfd, name, err) {
		err = unix.Unlinkat(dfd, name, 0)
	}
	return err
}

// frees reports whether to try again to remove or replace a name, because flags
// that forbade it are cleared, of the directory or what has the name.
func (d *dir) frees(dfd int, name string, err error) bool {
	if !errors.Is(err, unix.EPERM) {
		return false
	}
	again := d.unlocks(dfd, err)
	return unlockName(dfd, name) == nil || again
}
