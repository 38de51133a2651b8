package restore

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// errOtherFS keeps deletion on the file system that the target is on.
var errOtherFS = errors.New("another file system is mounted there")

// mayHoldExtras reports whether d may have what its listing has not.
func (r *run) mayHoldExtras(d *dir) bool { return d.ready && !d.fresh && !d.absent }

// wantsNames reports whether the names in d's listing matter later.
func (r *run) wantsNames(d *dir) bool {
	return r.opt.Delete && r.opt.InPlace && d.chosen && r.mayHoldExtras(d)
}

// clean removes what should not be in d: extras, if that is wanted and the
// listing was read as a whole, and what an interrupted run left.
func (r *run) clean(d *dir, listed *names, whole bool) error {
	extras := whole && r.wantsNames(d)
	if !r.mayHoldExtras(d) || !extras && !r.target.resumed {
		return nil
	}
	fd, err := d.acquire()
	if err != nil {
		return r.settle(d, "", "delete", err)
	}
	defer d.release()
	err = eachName(fd, func(name string) error {
		switch {
		case r.isLeftover(name):
			return r.settle(d, name, "delete", r.removeLeftover(d, name))
		case extras && !listed.has(name) && !r.isOurs(d, name):
			return r.settle(d, name, "delete", r.deleteExtra(d, name))
		}
		return nil
	})
	if fatal(err) {
		return err
	}
	return r.settle(d, "", "delete", err)
}

func (r *run) removeLeftover(d *dir, name string) error {
	if r.opt.DryRun {
		return nil
	}
	return r.removeAll(d, name)
}

// isLeftover reports whether name is a partial of an earlier run.
func (r *run) isLeftover(name string) bool {
	return r.target.id != "" && strings.HasPrefix(name, r.target.id) && !strings.HasPrefix(name, r.target.prefix)
}

func (r *run) isOurs(d *dir, name string) bool {
	return d.parent == nil && name == markerName && r.target.marker >= 0 ||
		r.target.prefix != "" && strings.HasPrefix(name, r.target.prefix)
}

func (r *run) deleteExtra(d *dir, name string) error {
	st, err := d.lstat(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	t := snapshot.TypeOf(st.Mode)
	if r.opt.Exclude != nil && r.opt.Exclude(d.below(name), t == snapshot.Dir) {
		return nil
	}
	if !r.opt.DryRun {
		if err := r.removeAll(d, name); err != nil {
			return err
		}
	}
	r.rep.done(Delete, d, name, &snapshot.Entry{Type: t})
	return nil
}

// removeAll removes a name and all below it. Paths of any depth are no problem:
// each directory is reached from the one above.
func (r *run) removeAll(d *dir, name string) error {
	st, err := d.lstat(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case snapshot.TypeOf(st.Mode) != snapshot.Dir:
		return d.with(func(fd int) error { return d.unlink(fd, name) })
	case st.Dev != d.id.dev:
		return errOtherFS
	}
	return r.removeDir(d, name, &st)
}

func (d *dir) lstat(name string) (st unix.Stat_t, err error) {
	err = d.with(func(fd int) error {
		st, err = lstat(fd, name)
		return err
	})
	return st, err
}

// with calls fn with a descriptor of d.
func (d *dir) with(fn func(fd int) error) error {
	fd, err := d.acquire()
	if err != nil {
		return err
	}
	defer d.release()
	return fn(fd)
}

func (r *run) removeDir(parent *dir, name string, st *unix.Stat_t) error {
	d := &dir{run: r, parent: parent, name: name, ready: true, id: idOf(st)}
	d.h.what = d
	err := parent.with(func(fd int) error { return d.unlock(fd, st) })
	if err == nil {
		err = d.empty()
	}
	r.fds.drop(&d.h)
	if err != nil {
		return err
	}
	return parent.with(func(fd int) error { return parent.rmdir(fd, name) })
}

func (d *dir) rmdir(dfd int, name string) error {
	err := unix.Unlinkat(dfd, name, unix.AT_REMOVEDIR)
	if d.frees(dfd, name, err) {
		err = unix.Unlinkat(dfd, name, unix.AT_REMOVEDIR)
	}
	return err
}

// empty removes what is in d, a handful of names at a time, because its
// descriptor must not be held while what is below it is open.
func (d *dir) empty() error {
	for {
		names, err := d.someNames()
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := d.run.removeAll(d, name); err != nil {
				return fmt.Errorf("remove %q: %w", name, err)
			}
		}
	}
}

func (d *dir) someNames() ([]string, error) {
	fd, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer d.release()
	if err := clearFlags(inode{fd: fd}); err != nil {
		return nil, err
	}
	return readNames(fd, 1000)
}

// readNames returns up to max names in a directory, in no order.
func readNames(fd, max int) ([]string, error) {
	var names []string
	enough := errors.New("enough")
	err := eachName(fd, func(name string) error {
		if names = append(names, name); len(names) == max {
			return enough
		}
		return nil
	})
	if err == enough {
		err = nil
	}
	return names, err
}

// eachName calls fn with the names in a directory, without moving fd.
func eachName(fd int, fn func(name string) error) error {
	own, err := openat(fd, ".", openDir, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(own) }()
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(own, buf)
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
	}
}
