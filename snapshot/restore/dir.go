package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

var errMoved = errors.New("another directory was put in its place during the restore")

// A dir is a directory of the target while there is something to do below it.
// It gets its metadata when the last of that is done.
type dir struct {
	run     *run
	parent  *dir            // nil for the target
	name    string          // for the target: its path in the snapshot
	e       *snapshot.Entry // nil if its metadata is nobody's business
	depth   int
	h       handle
	id      inodeID
	pending atomic.Int64 // what is not done: the walk of it, entries, subdirectories, link groups

	chosen  bool // Include took it or a directory above
	ready   bool // it exists, and id is known
	absent  bool // in a dry run: it does not exist
	fresh   bool // this run made it
	old     bool // it was there and was not chosen: leave its metadata alone
	inherit bool // gives ACLs or flags to what is made in it
	locked  bool // it came with flags that may forbid to change its names
	setgid  bool // gives its group to what is made in it
	gid     uint32
	xattrs  []snapshot.Xattr
}

func (r *run) newDir(parent *dir, e *snapshot.Entry) *dir {
	own := *e // an entry in a listing keeps the whole page in memory
	d := &dir{run: r, parent: parent, name: e.Name, e: &own, depth: parent.depth + 1}
	d.h.what = d
	d.pending.Store(1)
	parent.pending.Add(1)
	return d
}

// topDir is the target.
func (r *run) topDir() *dir {
	d := &dir{run: r, name: r.goal.base(), ready: true, fresh: r.target.empty || r.target.made}
	if !r.goal.whole() {
		d.e = r.goal.e
	}
	d.chosen = r.opt.Include == nil
	d.h.what = d
	d.pending.Store(2) // the walk, and conclude
	if d.absent = r.target.fd < 0; !d.absent {
		d.lookAtTop()
	}
	return d
}

func (d *dir) lookAtTop() {
	d.h.fd, d.h.isOpen, d.h.users = d.run.target.fd, true, 1 // never idle, so never closed
	st, err := inode{fd: d.h.fd}.stat()
	if err == nil {
		d.note(&st)
	}
	d.inherit = true // until it is known better
	if !d.run.opt.DryRun {
		d.inherit = d.inherits(d.h.fd)
	}
	if d.inherit {
		// A default ACL takes the place of the umask, in the target but not
		// in directories that we make. So the mode of a new file is unknown.
		d.run.target.umask = 0o777
	}
}

// path returns where d is in the snapshot.
func (d *dir) path() string {
	if d.parent == nil {
		return d.name
	}
	return d.parent.below(d.name)
}

// below returns the path of an entry of d.
func (d *dir) below(name string) string {
	if name == "" {
		return d.path()
	}
	n := len(name)
	for up := d; up.parent != nil; up = up.parent {
		n += len(up.name) + 1
	}
	buf := make([]byte, n)
	at := n - copy(buf[n-len(name):], name)
	for up := d; up.parent != nil; up = up.parent {
		at--
		buf[at] = '/'
		at -= len(up.name)
		copy(buf[at:], up.name)
	}
	return strings.TrimSuffix(d.run.goal.base(), "/") + "/" + string(buf)
}

// acquire returns a descriptor of d that stays open until release.
func (d *dir) acquire() (int, error) { return d.run.fds.acquire(&d.h) }
func (d *dir) release()              { d.run.fds.release(&d.h) }

// open opens d by its name in its parent. After the first time it must still be
// the same directory.
func (d *dir) open() (int, error) {
	pfd, err := d.parent.acquire()
	if err != nil {
		return -1, err
	}
	defer d.parent.release()
	fd, err := openat(pfd, d.name, openDir, 0)
	if err != nil || !d.ready {
		return fd, err
	}
	if st, err := (inode{fd: fd}).stat(); err != nil || idOf(&st) != d.id {
		_ = unix.Close(fd)
		return -1, errors.Join(errMoved, err)
	}
	return fd, nil
}

func (d *dir) evicted(int) {}

// note remembers what of d matters to what is made in it.
func (d *dir) note(st *unix.Stat_t) {
	d.id = idOf(st)
	d.gid = st.Gid
	d.setgid = st.Mode&unix.S_ISGID != 0
}

// groupOfNew is the group that a new file in d has.
func (d *dir) groupOfNew() uint32 {
	if d.setgid {
		return d.gid
	}
	return d.run.target.gid
}

// inherits reports whether what is made in the directory gets ACLs or flags,
// and notes whether anything can be made in it at all.
func (d *dir) inherits(fd int) bool {
	flags, err := inode{fd: fd}.flags()
	d.locked = err == nil && flags&lockFlags != 0
	if err == nil && flags&ownFlags != 0 {
		return true
	}
	_, err = unix.Fgetxattr(fd, "system.posix_acl_default", nil)
	return err == nil
}

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
	case typeOf(st.Mode) != snapshot.Dir:
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
	if typeOf(st.Mode) != snapshot.Dir {
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

// leave says that one thing that d waited for is done. The last one gives d its
// metadata, and then d is done for its parent.
func (r *run) leave(d *dir) error {
	for ; d != nil && d.pending.Add(-1) == 0; d = d.parent {
		err := d.finish()
		if d.parent != nil { // the target's descriptor is not the cache's to close
			r.fds.drop(&d.h)
		}
		if err := r.settle(d, "", "directory", err); err != nil {
			return err
		}
	}
	return nil
}

// finish gives d its metadata, if that is anybody's business.
func (d *dir) finish() error {
	if d.e == nil || d.absent || !d.ready {
		return nil
	}
	if d.old {
		d.run.rep.done(Keep, d.parentOrSelf(), d.nameOrNone(), d.e)
		return nil
	}
	fd, err := d.acquire()
	if err != nil {
		return err
	}
	defer d.release()
	return d.finishOpen(inode{fd: fd})
}

func (d *dir) finishOpen(n inode) error {
	if err := d.undoMark(n); err != nil {
		return err
	}
	st, err := n.stat()
	if err != nil {
		return err
	}
	at, name := d.parentOrSelf(), d.nameOrNone()
	it := item{run: d.run, dir: at, name: name, e: d.e, attrs: d.xattrs}
	exact := !d.fresh || at.inherit || d.parent == nil
	if d.run.opt.DryRun {
		same, err := it.same(n, &st)
		d.run.rep.done(keepOr(same, Change), at, name, d.e)
		return err
	}
	changed, err := it.apply(n, haveOf(&st, exact))
	if err == nil && !d.fresh {
		d.run.rep.done(keepOr(!changed, Change), at, name, d.e)
	}
	return err
}

// undoMark gives the target the time back that it had before the marker came and
// went, if it was right.
func (d *dir) undoMark(n inode) error {
	if d.parent != nil || d.run.opt.DryRun || d.run.target.mtime != d.e.MTime {
		return nil
	}
	return n.setTime(d.e.MTime)
}

func keepOr(same bool, a Action) Action {
	if same {
		return Keep
	}
	return a
}

func (d *dir) parentOrSelf() *dir {
	if d.parent == nil {
		return d
	}
	return d.parent
}

func (d *dir) nameOrNone() string {
	if d.parent == nil {
		return ""
	}
	return d.name
}
