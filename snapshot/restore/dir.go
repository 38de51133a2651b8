package restore

import (
	"errors"
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
