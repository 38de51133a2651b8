// Package disk is the few calls to a file system that a local bucket makes,
// so that tests can put a file system under it that loses what was not synced.
//
// Contract: calls mean what their namesakes in POSIX mean and give errors that
// errors.Is understands. Nothing is durable before Sync (for the bytes of a
// file) and SyncDir (for the names in a directory).
package disk

import "io"

// FS is a file system. Paths are absolute or relative to the working directory.
type FS interface {
	// Mkdir makes a directory that only its owner may enter.
	Mkdir(path string) error
	// Create makes a new file for writing; fs.ErrExist if the name is taken.
	Create(path string) (File, error)
	// Open opens a file for reading. It does not follow a symbolic link and
	// does not wait for the other end of a pipe.
	Open(path string) (File, error)
	// Stat describes what bears the name, be it a symbolic link.
	Stat(path string) (Info, error)
	// ReadDir lists a directory in no particular order.
	ReadDir(path string) ([]Entry, error)
	// MoveNew gives a file another name, at once and only if that name is
	// free; fs.ErrExist otherwise.
	MoveNew(from, to string) error
	// Remove removes a file and no directory.
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
}

// A File is an open file. Writes append.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Stat() (Info, error)
	// Allocate makes an empty file size bytes long, with their space taken.
	Allocate(size int64) error
	// TryLock takes a lock that excludes others, or one that is shared, and
	// reports false where another open file has one that forbids it. Close
	// drops the lock, as does the end of the process.
	TryLock(shared bool) (bool, error)
	Unlock() error
}

// Info describes a file or directory.
type Info struct {
	Regular bool
	Dir     bool
	Size    int64
	Links   uint64 // names that the file has
}

// An Entry is a name in a directory.
type Entry struct {
	Name    string
	Regular bool
	Dir     bool
}
