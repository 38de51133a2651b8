package restore

import (
	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// Inode flags, <linux/fs.h>.
const (
	flagSecureRemove = 0x00000001
	flagUndelete     = 0x00000002
	flagCompress     = 0x00000004
	flagSync         = 0x00000008
	flagImmutable    = 0x00000010
	flagAppend       = 0x00000020
	flagNoDump       = 0x00000040
	flagNoAtime      = 0x00000080
	flagNoCompress   = 0x00000400
	flagJournalData  = 0x00004000
	flagNoTail       = 0x00008000
	flagDirSync      = 0x00010000
	flagTopDir       = 0x00020000
	flagNoCow        = 0x00800000

	// ownFlags are those that a user chooses. The others say how a file system
	// keeps the inode (extents, encrypted, inline), or belong to a whole tree
	// of it (project quota, case folding); they can not be given to a copy.
	ownFlags = flagSecureRemove | flagUndelete | flagCompress | flagSync | flagImmutable | flagAppend |
		flagNoDump | flagNoAtime | flagNoCompress | flagJournalData | flagNoTail | flagDirSync |
		flagTopDir | flagNoCow
	// earlyFlags must be set before there is content.
	earlyFlags = flagCompress | flagNoCompress | flagNoCow
	// lockFlags forbid to change an inode and its names.
	lockFlags = flagImmutable | flagAppend
)

func hasFlags(t snapshot.Type) bool { return t == snapshot.File || t == snapshot.Dir }

// setFlags makes the flags of an inode that are in mask those of want.
func setFlags(n inode, want, mask uint32) error {
	have, err := n.flags()
	if err != nil {
		return err
	}
	if have&mask == want&mask {
		return nil
	}
	return n.setFlags(have&^mask | want&mask)
}

// clearFlags removes the flags that would keep us from changing the inode.
func clearFlags(n inode) error {
	have, err := n.flags()
	if err != nil || have&lockFlags == 0 {
		return err
	}
	return n.setFlags(have &^ lockFlags)
}

// setFlags is the last step of apply. Where the file system refuses the flags as
// a whole it gets those that it knows.
func (it *item) setFlags(n inode, h *have) (bool, error) {
	want := it.e.Flags & ownFlags &^ it.keep
	if !hasFlags(it.e.Type) || want == 0 && !h.exact {
		return false, nil
	}
	has, err := n.flags()
	if err != nil {
		return false, it.problem("flags", ifSet(want, err))
	}
	if has&ownFlags&^it.keep == want {
		return false, nil
	}
	err = n.setFlags(has&^(ownFlags&^it.keep) | want)
	if err != nil {
		setEach(n, want)
	}
	return true, it.problem("flags", err)
}

// ifSet drops an error about flags that nobody wants.
func ifSet(want uint32, err error) error {
	if want == 0 {
		return nil
	}
	return err
}

func setEach(n inode, want uint32) {
	for bit := uint32(1); bit != 0 && bit <= want; bit <<= 1 {
		if want&bit != 0 {
			_ = setFlags(n, bit, bit) // the caller reports that not all could be set
		}
	}
}

func (it *item) sameFlags(n inode) (bool, error) {
	if !hasFlags(it.e.Type) {
		return true, nil
	}
	has, err := n.flags()
	if err != nil {
		return it.e.Flags&ownFlags == 0, nil
	}
	mask := uint32(ownFlags) &^ it.keep
	return has&mask == it.e.Flags&mask, nil
}

// unlockName clears what forbids to change or replace a name in a directory.
func unlockName(dfd int, name string) error {
	st, err := lstat(dfd, name)
	if err != nil || !hasFlags(snapshot.TypeOf(st.Mode)) {
		return err
	}
	fd, err := openat(dfd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return clearFlags(inode{fd: fd})
}
