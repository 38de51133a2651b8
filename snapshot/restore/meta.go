package restore

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// An item is an entry and where it is restored to.
type item struct {
	run   *run
	dir   *dir
	name  string // "" for the target itself
	e     *snapshot.Entry
	attrs []snapshot.Xattr
	keep  uint32 // inode flags that are set later
}

// have is the metadata that an inode has already. What it has need not be set.
type have struct {
	uid, gid uint32
	mode     uint32 // unknown if a call may have changed it
	mtime    snapshot.Time
	hasTime  bool // mtime is known
	exact    bool // it may have attributes and flags, which must be compared
}

const unknownMode = math.MaxUint32

func haveOf(st *unix.Stat_t, exact bool) have {
	return have{uid: st.Uid, gid: st.Gid, mode: st.Mode & 07777, mtime: timeOf(st), hasTime: true, exact: exact}
}

// problem settles an error of one part of the metadata.
func (it *item) problem(what string, err error) error {
	return it.run.settle(it.dir, it.name, what, err)
}

// apply gives the inode what it has not, in the only order in which nothing
// undoes what came before: a change of owner clears setuid and capabilities, an
// ACL needs the mode under it, attributes of the user need permission to write,
// and flags may forbid all of it. Only an error that ends the run is returned.
func (it *item) apply(n inode, h have) (changed bool, err error) {
	steps := [...]func(inode, *have) (bool, error){
		it.setOwner, it.setPlainXattrs, it.setMode, it.setACLs, it.setTime, it.setFlags,
	}
	for _, step := range steps {
		did, err := step(n, &h)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (it *item) setOwner(n inode, h *have) (bool, error) {
	uid, gid := it.run.own.want(it.e, h.uid, h.gid)
	if uid == h.uid && gid == h.gid {
		return false, nil
	}
	err := n.chown(int(uid), int(gid))
	if err == nil {
		h.uid, h.gid = uid, gid
	} else if gid != h.gid && n.chown(-1, int(gid)) == nil {
		h.gid = gid // an ordinary user may give a file to a group of his
	}
	h.mode = unknownMode
	return true, it.problem("owner", err)
}

// setMode leaves out setuid and setgid where the owner could not be set: the
// program would run as somebody else than it is meant to.
func (it *item) setMode(n inode, h *have) (bool, error) {
	mode := it.e.Mode
	if it.e.Type == snapshot.Symlink {
		return false, nil
	}
	mode &^= it.unsafe(h)
	if mode == h.mode {
		return false, nil
	}
	if err := n.chmod(mode); err != nil {
		return false, it.problem("mode", err)
	}
	h.mode = mode
	return true, it.checkMode(n, mode)
}

func (it *item) unsafe(h *have) uint32 {
	uid, gid := it.run.own.want(it.e, it.e.UID, it.e.GID)
	var bits uint32
	if h.uid != uid && it.e.Type != snapshot.Dir {
		bits |= unix.S_ISUID
	}
	if h.gid != gid && it.e.Type != snapshot.Dir {
		bits |= unix.S_ISGID
	}
	return bits
}

// checkMode sees what the kernel drops without an error: setgid, when an
// ordinary user is not in the group.
func (it *item) checkMode(n inode, mode uint32) error {
	if it.run.own.root || mode&unix.S_ISGID == 0 {
		return nil
	}
	st, err := n.stat()
	if err == nil && st.Mode&07777 != mode {
		err = fmt.Errorf("it is %04o, not %04o", st.Mode&07777, mode)
	}
	return it.problem("mode", err)
}

func (it *item) setTime(n inode, h *have) (bool, error) {
	if h.hasTime && h.mtime == it.e.MTime {
		return false, nil
	}
	if err := n.setTime(it.e.MTime); err != nil {
		return false, it.problem("time", err)
	}
	return true, it.checkTime(n)
}

// checkTime sees a time that the file system can not hold, and has clamped
// without an error. All can hold what lies between 1970 and 2038.
func (it *item) checkTime(n inode) error {
	want := it.e.MTime
	if want.Sec >= 0 && want.Sec <= math.MaxInt32 {
		return nil
	}
	st, err := n.stat()
	if err == nil && timeOf(&st) != want {
		err = fmt.Errorf("the file system can not keep %s", want.AsTime().Format("2006-01-02T15:04:05.999999999Z"))
	}
	return it.problem("time", err)
}

// same reports whether the inode has all metadata that the entry has.
func (it *item) same(n inode, st *unix.Stat_t) (bool, error) {
	if !it.sameStat(st) {
		return false, nil
	}
	if ok, err := it.sameXattrs(n); !ok || err != nil {
		return false, err
	}
	return it.sameFlags(n)
}

func (it *item) sameStat(st *unix.Stat_t) bool {
	uid, gid := it.run.own.want(it.e, st.Uid, st.Gid)
	h := haveOf(st, true)
	mode := it.e.Type == snapshot.Symlink || h.mode == it.e.Mode&^it.unsafe(&h)
	return uid == st.Uid && gid == st.Gid && mode && timeOf(st) == it.e.MTime
}
