// Package source reads the outside world that a snapshot is made of:
// directories, streams and commands.
//
// Contract. A directory tree is read relative to open directories and never
// through a path twice: no symbolic link below the root is ever followed and
// a path may be of any length. Names, targets and attribute values are bytes
// as the kernel gave them. Reading changes nothing: no device, fifo or socket
// is opened, and access times stay where the kernel lets us keep them. What
// goes wrong with one name is an [ItemError] and leaves the rest readable; it
// is the caller who turns it into a warning. Every handle is closed by whoever
// got it. Nothing here depends on the order in which goroutines arrive: the
// same tree read twice gives the same entries.
//
// One root is read like this:
//
//	tree, entry, err := source.OpenRoot("/home", source.Options{})
//	dir, err := tree.Dir()        // entry.Type == snapshot.Dir
//	list, err := dir.Names()      // sorted by bytes
//	err = dir.Lstat(name, &e)     // one system call, enough to see "unchanged"
//	err = dir.Details(name, &e)   // the rest, for what changed
//	file, err := dir.Open(name)   // or sub, err := dir.Sub(name)
package source

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

var (
	// ErrReplaced says that a name is no longer what it was when it was
	// looked at: another inode, or another type.
	ErrReplaced = errors.New("replaced while being read")
	// ErrShrunk says that a file ended before the size it had when opened.
	ErrShrunk = errors.New("shrunk while being read")
	// ErrPseudo says that a file is of a pseudo file system mounted over the
	// name, so there is nothing to keep.
	ErrPseudo = errors.New("on a pseudo file system")
)

// An ItemError is what went wrong with one name. errors.Is finds
// fs.ErrNotExist (vanished), fs.ErrPermission and the errors of this package
// in it.
type ItemError struct {
	Path string // absolute, of any encoding
	Op   string // a verb: "open", "read attributes of"
	Err  error
}

func (e *ItemError) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Op, printable(e.Path), e.Err)
}

func (e *ItemError) Unwrap() error { return e.Err }

// printable quotes what would garble a log line or a terminal.
func printable(path string) string {
	if q := strconv.Quote(path); len(q) != len(path)+2 {
		return q
	}
	return path
}

// retry repeats a system call that a signal interrupted: network and FUSE
// file systems return EINTR where disks do not.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
