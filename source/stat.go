package source

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// fillStat sets all fields of e that come from st. fs is the number of the
// file system. It fails for a type that no snapshot can hold.
func (t *Tree) fillStat(e *snapshot.Entry, st *unix.Stat_t, fs uint32) error {
	typ := snapshot.TypeOf(uint32(st.Mode))
	if typ == 0 {
		return fmt.Errorf("unknown file type %#o", st.Mode&unix.S_IFMT)
	}
	e.Type, e.Mode = typ, uint32(st.Mode)&0o7777
	e.UID, e.User = st.Uid, t.host.userName(st.Uid)
	e.GID, e.Group = st.Gid, t.host.groupName(st.Gid)
	e.MTime, e.CTime = timeOf(st.Mtim), timeOf(st.Ctim)
	e.Inode, e.FS, e.Links = st.Ino, fs, uint32(st.Nlink)
	e.Size, e.Major, e.Minor, e.LinkGroup = 0, 0, 0, ""
	fillByType(e, st)
	return nil
}

func fillByType(e *snapshot.Entry, st *unix.Stat_t) {
	switch e.Type {
	case snapshot.Dir:
		return // a directory has links, but never a second name
	case snapshot.File, snapshot.Symlink:
		e.Size = st.Size
	case snapshot.Block, snapshot.Char:
		e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	if st.Nlink > 1 {
		e.LinkGroup = linkGroup(e.FS, st.Ino)
	}
}

func linkGroup(fs uint32, inode uint64) snapshot.LinkGroup {
	b := make([]byte, 0, 32)
	b = strconv.AppendUint(b, uint64(fs), 10)
	b = append(b, ':')
	return snapshot.LinkGroup(strconv.AppendUint(b, inode, 10))
}

// timeOf keeps seconds and nanoseconds as they are: time.Time is wide enough,
// but its nanosecond arithmetic is not.
func timeOf(ts unix.Timespec) snapshot.Time {
	return snapshot.Time{Sec: int64(ts.Sec), Nsec: uint32(ts.Nsec)}
}

// typeOfDirent is snapshot.TypeOf for d_type; 0 where the file system does not tell.
func typeOfDirent(d byte) snapshot.Type { return snapshot.TypeOf(uint32(d) << 12) }
