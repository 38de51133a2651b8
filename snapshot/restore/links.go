package restore

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A group is an inode with several names. The first one met is restored like
// any other item, the further ones are linked to it when it is there. The
// directory of the first is not finished before the group is, so that an
// ordinary user can still open it.
type group struct {
	run   *run
	dir   *dir // of the first name
	name  string
	typ   snapshot.Type
	flags uint32
	links uint32 // names that the source had
	met   uint32

	mu       sync.Mutex
	waiting  []link
	resolved bool // the first is there, or failed
	complete bool // all names were met
	failed   bool
}

// A link is a further name.
type link struct {
	dir *dir
	e   *snapshot.Entry
}

// groupOf returns the group of an entry, and whether it is the first of it.
func (r *run) groupOf(d *dir, e *snapshot.Entry) (g *group, isNew bool) {
	if g := r.groups[e.LinkGroup]; g != nil {
		return g, false
	}
	g = &group{run: r, dir: d, name: e.Name, typ: e.Type, flags: e.Flags, links: e.Links}
	d.pending.Add(1)
	r.groups[e.LinkGroup] = g
	r.meet(g, e)
	return g, true
}

// meet counts a name. The caller is the walk, before others know g, or holds mu.
func (r *run) meet(g *group, e *snapshot.Entry) {
	if g.met++; g.met >= g.links {
		g.complete = true
		delete(r.groups, e.LinkGroup)
	}
}

// resolve says that the first name is there, or why not, and links what waits
// for it. It returns only what ends the run.
func (g *group) resolve(err error) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	g.resolved, g.failed = true, err != nil
	waiting, complete := g.waiting, g.complete
	g.waiting = nil
	g.mu.Unlock()
	for _, l := range waiting {
		if err := g.link(l); err != nil {
			return err
		}
	}
	if complete {
		return g.finish()
	}
	return nil
}

// further restores a name that is not the first.
func (r *run) further(d *dir, e *snapshot.Entry, g *group) error {
	d.pending.Add(1)
	g.mu.Lock()
	r.meet(g, e)
	l, complete := link{d, e}, g.complete
	if !g.resolved {
		g.waiting = append(g.waiting, l)
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()
	if err := g.link(l); err != nil {
		return err
	}
	if complete {
		return g.finish()
	}
	return nil
}

func (g *group) link(l link) error {
	err := g.tryLink(l)
	if err := g.run.settle(l.dir, l.e.Name, "hard link", err); err != nil {
		return err
	}
	return g.run.leave(l.dir)
}

func (g *group) tryLink(l link) error {
	if g.failed {
		return fmt.Errorf("its first name %q could not be restored", g.dir.below(g.name))
	}
	if g.dir.absent || l.dir.absent {
		g.run.rep.done(Link, l.dir, l.e.Name, l.e)
		return nil
	}
	from, err := g.dir.acquire()
	if err != nil {
		return err
	}
	defer g.dir.release()
	to, err := l.dir.acquire()
	if err != nil {
		return err
	}
	defer l.dir.release()
	return g.linkAt(from, to, l)
}

func (g *group) linkAt(from, to int, l link) error {
	r, action := g.run, Link
	switch {
	case g.isLinked(from, to, l):
		action = Keep
	case r.opt.DryRun:
	default:
		if err := g.makeLink(from, to, l); err != nil {
			return err
		}
	}
	r.rep.done(action, l.dir, l.e.Name, l.e)
	return nil
}

func (g *group) isLinked(from, to int, l link) bool {
	if l.dir.fresh || !g.run.inPlace {
		return false
	}
	a, err := lstat(from, g.name)
	if err != nil {
		return false
	}
	b, err := lstat(to, l.e.Name)
	return err == nil && idOf(&a) == idOf(&b)
}

// makeLink links to a partial first where there may be something to replace.
func (g *group) makeLink(from, to int, l link) error {
	name := l.e.Name
	if !g.run.norepl {
		name = g.run.partial()
	}
	err := unix.Linkat(from, g.name, to, name, 0)
	if errors.Is(err, unix.EPERM) && (l.dir.unlocks(to, err) || unlockName(from, g.name) == nil) {
		_ = unlockName(from, g.name) // either may be the reason, or both
		err = unix.Linkat(from, g.name, to, name, 0)
	}
	if err != nil || g.run.norepl {
		return err
	}
	it := item{run: g.run, dir: l.dir, name: l.e.Name, e: l.e}
	if err := it.place(to, name); err != nil {
		_ = unix.Unlinkat(to, name, 0) // the error says what happened
		return err
	}
	return nil
}

// finishGroups finishes the groups that have names outside of what was restored.
func (r *run) finishGroups() error {
	for key, g := range r.groups {
		delete(r.groups, key)
		if err := g.finish(); err != nil {
			return err
		}
	}
	return nil
}

// finish sets the flags that would have kept the inode from being linked to.
func (g *group) finish() error {
	if g.typ == snapshot.File && !g.failed && !g.run.opt.DryRun && (g.flags&lockFlags != 0 || !g.dir.fresh) {
		if err := g.run.settle(g.dir, g.name, "flags", g.lock()); err != nil {
			return err
		}
	}
	return g.run.leave(g.dir)
}

func (g *group) lock() error {
	dfd, err := g.dir.acquire()
	if err != nil {
		return err
	}
	defer g.dir.release()
	n, err := openInode(dfd, g.name)
	if err != nil {
		return err
	}
	defer n.close()
	return ifSet(g.flags&lockFlags, setFlags(n, g.flags&lockFlags, lockFlags))
}
