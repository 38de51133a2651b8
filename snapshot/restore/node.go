package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// makeNode makes a symlink, device, fifo or socket: under a name of its own
// first, so that it gets its name with all of its metadata.
func (f *file) makeNode() error {
	dfd, err := f.dir.acquire()
	if err != nil {
		return err
	}
	defer f.dir.release()
	partial := f.run.partial()
	err = f.mknod(dfd, partial)
	if f.dir.unlocks(dfd, err) {
		err = f.mknod(dfd, partial)
	}
	if err != nil {
		return err
	}
	err = f.dress(dfd, partial)
	if err == nil {
		err = f.place(dfd, partial)
	}
	if err != nil {
		_ = unix.Unlinkat(dfd, partial, 0) // the error says what happened
		return err
	}
	f.run.rep.done(f.verdict.action(), f.dir, f.name, f.e)
	return nil
}

func (it *item) mknod(dfd int, name string) error {
	const mode = 0o600
	e := it.e
	switch e.Type {
	case snapshot.Symlink:
		return unix.Symlinkat(e.Target, dfd, name)
	case snapshot.Fifo:
		return unix.Mknodat(dfd, name, unix.S_IFIFO|mode, 0)
	case snapshot.Socket:
		return unix.Mknodat(dfd, name, unix.S_IFSOCK|mode, 0)
	case snapshot.Char:
		return unix.Mknodat(dfd, name, unix.S_IFCHR|mode, int(unix.Mkdev(e.Major, e.Minor)))
	case snapshot.Block:
		return unix.Mknodat(dfd, name, unix.S_IFBLK|mode, int(unix.Mkdev(e.Major, e.Minor)))
	}
	return fmt.Errorf("type %d is not known", e.Type)
}

// dress gives a new node its metadata.
func (it *item) dress(dfd int, name string) error {
	n, err := openInode(dfd, name)
	if err != nil {
		return err
	}
	defer n.close()
	st, err := n.stat()
	if err != nil {
		return err
	}
	if snapshot.TypeOf(st.Mode) != it.e.Type {
		return errMoved
	}
	_, err = it.apply(n, haveOf(&st, it.dir.inherit))
	return err
}

// place gives what is finished its name. In a directory that was empty it must
// be free; else what has it is replaced.
func (it *item) place(dfd int, partial string) error {
	if it.run.norepl {
		err := unix.Renameat2(dfd, partial, dfd, it.name, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	err := unix.Renameat(dfd, partial, dfd, it.name)
	switch {
	case it.run.norepl:
		return err
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		if err := it.run.removeAll(it.dir, it.name); err != nil {
			return err
		}
	case errors.Is(err, unix.EPERM):
		if !it.dir.frees(dfd, it.name, err) {
			return err
		}
	default:
		return err
	}
	return unix.Renameat(dfd, partial, dfd, it.name)
}
