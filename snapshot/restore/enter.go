package restore

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// ensure makes d if it is not there yet. Only the walk calls it. A directory
// that is only there because of what Include took in it is made no sooner.
func (d *dir) ensure(ctx context.Context) error {
	if d.ready || d.absent {
		return nil
	}
	if err := d.parent.ensure(ctx); err != nil {
		return err
	}
	attrs, _, err := d.run.tree.attrs(ctx, d.e)
	if err != nil {
		return err
	}
	d.xattrs = attrs
	if d.run.opt.DryRun {
		return d.look()
	}
	return d.make()
}

// look is make in a dry run.
func (d *dir) look() error {
	d.absent = true
	if d.parent.absent {
		d.run.rep.done(Make, d.parent, d.name, d.e)
		return nil
	}
	st, err := d.parent.lstat(d.name)
	switch {
	case errors.Is(err, unix.ENOENT):
		d.run.rep.done(Make, d.parent, d.name, d.e)
		return nil
	case err != nil:
		return err
	case snapshot.TypeOf(st.Mode) != snapshot.Dir:
		d.run.rep.done(Replace, d.parent, d.name, d.e)
		return nil
	}
	d.note(&st)
	d.absent, d.ready, d.old = false, true, !d.chosen
	return nil
}

// make makes the directory or enters the one that is there.
func (d *dir) make() error {
	pfd, err := d.parent.acquire()
	if err != nil {
		return err
	}
	defer d.parent.release()
	err = d.mkdir(pfd)
	if errors.Is(err, unix.EEXIST) {
		return d.enter(pfd)
	}
	return err
}

// mkdir makes d for our eyes only; finish opens it to others.
func (d *dir) mkdir(pfd int) error {
	err := unix.Mkdirat(pfd, d.name, 0o700)
	if d.parent.unlocks(pfd, err) {
		err = unix.Mkdirat(pfd, d.name, 0o700)
	}
	if err != nil {
		return err
	}
	d.fresh = true
	fd, err := d.acquire()
	if err != nil {
		return err
	}
	defer d.release()
	st, err := inode{fd: fd}.stat()
	if err != nil {
		return err
	}
	d.note(&st)
	d.ready = true
	d.run.rep.done(Make, d.parent, d.name, d.e)
	if d.parent.inherit {
		return d.disinherit(fd)
	}
	d.setEarly(fd)
	return nil
}

// disinherit removes what d got from its parent, so that it does not pass it on.
// finish gives it what it should have.
func (d *dir) disinherit(fd int) error {
	err := unix.Fremovexattr(fd, "system.posix_acl_default")
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	n := inode{fd: fd}
	if flags, err := n.flags(); err != nil || flags&ownFlags == 0 || n.setFlags(flags&^ownFlags) != nil {
		d.inherit = d.inherits(fd)
	}
	d.setEarly(fd)
	return nil
}

func (d *dir) setEarly(fd int) {
	if d.e.Flags&earlyFlags != 0 {
		_ = setFlags(inode{fd: fd}, d.e.Flags&earlyFlags, earlyFlags) // finish reports it
		d.inherit = true
	}
}

// enter takes an existing directory, or removes what stands in its place.
func (d *dir) enter(pfd int) error {
	st, err := lstat(pfd, d.name)
	if err != nil {
		return err
	}
	if snapshot.TypeOf(st.Mode) != snapshot.Dir {
		return d.replace(pfd)
	}
	d.note(&st)
	d.ready, d.old = true, !d.chosen
	if err := d.unlock(pfd, &st); err != nil {
		return err
	}
	fd, err := d.acquire()
	if err != nil {
		return err
	}
	defer d.release()
	d.inherit = d.inherits(fd)
	return nil
}

// unlocks reports whether an operation in d, which got err, should be tried
// again, because flags that forbade it are cleared. finish sets them again.
func (d *dir) unlocks(fd int, err error) bool {
	return d.locked && !d.old && errors.Is(err, unix.EPERM) && clearFlags(inode{fd: fd}) == nil
}

// replace removes what is not a directory, never following it.
func (d *dir) replace(pfd int) error {
	if d.run.norepl {
		return fmt.Errorf("make directory: %w", unix.EEXIST)
	}
	if err := d.parent.unlink(pfd, d.name); err != nil {
		return err
	}
	return d.mkdir(pfd)
}

// unlock lets us, an ordinary user, work in a directory of ours that has not the
// permission for it. finish sets the mode that it should have.
func (d *dir) unlock(pfd int, st *unix.Stat_t) error {
	if d.run.own.root || st.Mode&0o700 == 0o700 || st.Uid != d.run.own.uid {
		return nil
	}
	n, err := openInode(pfd, d.name)
	if err != nil {
		return err
	}
	defer n.close()
	return n.chmod(st.Mode&07777 | 0o700)
}
