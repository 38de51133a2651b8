package snapshot

import (
	"cmp"
	"time"

	"coffer/chunk"
)

// A Type says what an Entry is. The values are part of the format.
type Type uint8

const (
	File    Type = 1
	Dir     Type = 2
	Symlink Type = 3
	Block   Type = 4 // block device
	Char    Type = 5 // character device
	Fifo    Type = 6
	Socket  Type = 7
)

// A Time is a point in time as file systems keep it: seconds since 1970, which
// may be negative or beyond 2262, and nanoseconds in [0, 1e9).
type Time struct {
	_    struct{} `cbor:",toarray"`
	Sec  int64
	Nsec uint32
}

// AsTime returns t as a time.Time in UTC.
func (t Time) AsTime() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// TimeOf converts from a time.Time.
func TimeOf(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }

func compareTimes(a, b Time) int {
	return cmp.Or(cmp.Compare(a.Sec, b.Sec), cmp.Compare(a.Nsec, b.Nsec))
}

// An Xattr is one extended attribute: POSIX ACLs and capabilities are here
// too, under their system.* and security.* names, as the kernel gave them.
type Xattr struct {
	_     struct{} `cbor:",toarray"`
	Name  []byte
	Value []byte
}

// An Extent is a range of a file, in bytes.
type Extent struct {
	_      struct{} `cbor:",toarray"`
	Offset int64
	Length int64
}

// A Ref names one chunk of a file's content and its plain length.
type Ref struct {
	ID     chunk.ID
	Length uint32
}

// A LinkGroup names the set of names that share one inode within a snapshot:
// the ordinal of the file system and the inode number, or for imported trees
// a hash of the first path. Empty where the entry is alone.
type LinkGroup string

// An Entry is one name in a directory, with all that a file system keeps of
// it. Names and targets are bytes, held in Go strings, of any encoding.
type Entry struct {
	Name      string
	Type      Type
	Mode      uint32 // permission bits with setuid, setgid and sticky: 07777
	UID       uint32
	GID       uint32
	User      string // "" where the system knew no name
	Group     string
	MTime     Time
	CTime     Time   // of the source; for change detection, never restored
	Size      int64  // File: logical size in bytes; Symlink: length of Target; Dir: bytes of all files below
	Inode     uint64 // of the source
	FS        uint32 // ordinal of the file system within the root, from 0 in order of discovery
	Links     uint32 // link count at the source; 0 is taken as 1
	LinkGroup LinkGroup
	Target    string // Symlink
	Major     uint32 // Block, Char
	Minor     uint32
	Flags     uint32   // inode flags, FS_*_FL of <linux/fs.h>
	Xattrs    []Xattr  // sorted by name
	Holes     []Extent // File: sorted holes; Content holds only what lies between them
	Content   []Ref    // File: the chunks of its data, in order
	Tree      chunk.ID // Dir: first page of its listing; zero for an empty directory
	Items     uint64   // Dir: entries of all kinds below it, itself not counted
	Files     uint64   // Dir: regular files among Items
	Spill     Spill    // set in place of Xattrs, Holes and Content where these are many; see Fill
}

// A Spill names the tree chunks that hold an entry's Xattrs, Holes and Content
// when they are too many to stand in its directory's listing. An entry as read
// from a listing has either a Spill or the fields, and one with a Spill can be
// written again as it is. Attrs and Refs read through it, Fill resolves it.
type Spill struct {
	Level uint8      // 0: IDs are pieces; 1: IDs are lists of pieces
	IDs   []chunk.ID // in order; empty where nothing spilled
}

// Spilled reports whether the entry's bulk is kept outside of it.
func (e *Entry) Spilled() bool { return len(e.Spill.IDs) > 0 }
