package capture

import (
	"bytes"
	"slices"

	"coffer/snapshot"
)

// A prior is what an earlier snapshot says of an entry, and when it was read.
type prior struct {
	entry *snapshot.Entry
	read  snapshot.Time
}

// sameContent reports whether the content of e need not be read, because the
// prior entry holds it.
func (o *Options) sameContent(e *snapshot.Entry, p prior) bool {
	q := p.entry
	if q == nil || o.Force || e.Type != q.Type || e.Size != q.Size || e.MTime != q.MTime {
		return false
	}
	if !o.IgnoreInode && (e.Inode != q.Inode || e.FS != q.FS) {
		return false
	}
	if o.IgnoreCTime {
		return settled(e.MTime, p.read)
	}
	return e.CTime == q.CTime && settled(e.CTime, p.read)
}

// sameDetails reports whether target, attributes and flags need not be read:
// every change of them moves the ctime.
func (o *Options) sameDetails(e *snapshot.Entry, p prior) bool {
	q := p.entry
	return q != nil && !o.Force && e.Type == q.Type && e.CTime == q.CTime && settled(e.CTime, p.read) &&
		(o.IgnoreInode || (e.Inode == q.Inode && e.FS == q.FS))
}

// takeDetails copies what Details would read.
func takeDetails(e, q *snapshot.Entry) {
	e.Target, e.Xattrs, e.Flags = q.Target, q.Xattrs, q.Flags
	if q.Spilled() && e.Type != snapshot.File {
		e.Spill = q.Spill
	}
}

// takeContent copies what reading would give.
func takeContent(e, q *snapshot.Entry) {
	e.Content, e.Holes, e.Spill = q.Content, q.Holes, q.Spill
}

// sameRest reports whether what was read is equal to an earlier entry.
func sameRest(e, q *snapshot.Entry) bool {
	return e.Target == q.Target && e.Flags == q.Flags && slices.Equal(e.Content, q.Content) && slices.Equal(e.Holes, q.Holes) &&
		slices.EqualFunc(e.Xattrs, q.Xattrs, func(a, b snapshot.Xattr) bool {
			return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
		})
}

// sameStat reports whether everything that one stat tells is equal, apart from
// what a directory holds.
func sameStat(e, q *snapshot.Entry) bool {
	return e.Type == q.Type && e.Mode == q.Mode && e.UID == q.UID && e.GID == q.GID && e.User == q.User && e.Group == q.Group &&
		e.MTime == q.MTime && e.CTime == q.CTime && e.Inode == q.Inode && e.FS == q.FS && e.Links == q.Links &&
		e.LinkGroup == q.LinkGroup && e.Major == q.Major && e.Minor == q.Minor && (e.Size == q.Size || e.Type == snapshot.Dir)
}
