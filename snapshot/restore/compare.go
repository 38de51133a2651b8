package restore

import (
	"errors"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A verdict is how what is in the target compares with an entry.
type verdict uint8

const (
	absent    verdict = iota
	differs           // it must be made anew
	unread            // a file whose content is still to be compared
	otherMeta         // content is the same, metadata is not
	same
)

func (v verdict) action() Action {
	return [...]Action{Make, Replace, Replace, Change, Keep}[v]
}

// compare looks at what has the name of an entry. Only a directory that this run
// did not make can have anything.
func (r *run) compare(f *file) (verdict, error) {
	if f.dir.fresh || f.dir.absent || !r.inPlace {
		return absent, nil
	}
	dfd, err := f.dir.acquire()
	if err != nil {
		return absent, err
	}
	defer f.dir.release()
	st, err := lstat(dfd, f.name)
	if errors.Is(err, unix.ENOENT) {
		return absent, nil
	}
	if err != nil {
		return absent, err
	}
	if snapshot.TypeOf(st.Mode) != f.e.Type || r.claimedByOther(f, &st) {
		return differs, nil
	}
	return f.compareWith(dfd, &st)
}

// claimedByOther reports whether an inode with several names was kept for an
// entry that is not this one's: they must be two inodes.
func (r *run) claimedByOther(f *file, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	by, ok := r.claimed[idOf(st)]
	if !ok {
		r.claimed[idOf(st)] = f.e.LinkGroup
		return false
	}
	return by == "" || by != f.e.LinkGroup
}

func (f *file) compareWith(dfd int, st *unix.Stat_t) (verdict, error) {
	switch f.e.Type {
	case snapshot.File:
		return f.compareFile(dfd, st)
	case snapshot.Symlink:
		if target, err := readlink(dfd, f.name); err != nil || target != f.e.Target {
			return differs, err
		}
	case snapshot.Block, snapshot.Char:
		if st.Rdev != unix.Mkdev(f.e.Major, f.e.Minor) {
			return differs, nil
		}
	}
	return f.compareMeta(dfd, st, differs)
}

func (f *file) compareFile(dfd int, st *unix.Stat_t) (verdict, error) {
	checksum := f.run.opt.Checksum
	if st.Size != f.e.Size || !checksum && timeOf(st) != f.e.MTime {
		return differs, nil
	}
	if ok, err := f.sameHoles(dfd, st); !ok || err != nil {
		return differs, err
	}
	if checksum {
		return unread, nil
	}
	return f.compareMeta(dfd, st, f.remedy(st))
}

// remedy is what helps where only metadata differs. An inode with further names
// may have them outside of the target, where it must stay as it is: it is left
// to them.
func (f *file) remedy(st *unix.Stat_t) verdict {
	if st.Nlink > 1 {
		return differs
	}
	return otherMeta
}

func (f *file) compareMeta(dfd int, st *unix.Stat_t, remedy verdict) (verdict, error) {
	if !f.sameStat(st) {
		return remedy, nil
	}
	n, err := openInode(dfd, f.name)
	if err != nil {
		return differs, err
	}
	defer n.close()
	ok, err := f.same(n, st)
	if err != nil || ok {
		return same, err
	}
	return remedy, nil
}

// refit gives an inode that is kept the metadata that it has not.
func (r *run) refit(f *file, v verdict) error {
	if v == otherMeta && !r.opt.DryRun {
		if err := f.applyInPlace(); err != nil {
			return err
		}
	}
	r.rep.done(v.action(), f.dir, f.name, f.e)
	return nil
}

func (f *file) applyInPlace() error {
	dfd, err := f.dir.acquire()
	if err != nil {
		return err
	}
	defer f.dir.release()
	n, err := openInode(dfd, f.name)
	if err != nil {
		return err
	}
	defer n.close()
	st, err := n.stat()
	if err != nil {
		return err
	}
	if st.Nlink > 1 || snapshot.TypeOf(st.Mode) != f.e.Type {
		return errMoved
	}
	if err := clearFlags(n); err != nil && f.run.own.root {
		return err
	}
	_, err = f.apply(n, haveOf(&st, true))
	return err
}

func readlink(dfd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax+1)
	n, err := unix.Readlinkat(dfd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
