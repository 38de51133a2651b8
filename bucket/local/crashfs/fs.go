// Package crashfs is a file system in memory that forgets at a power cut what
// was not synced, and that fails where a test wants it to.
//
// Contract: it is as unkind as POSIX allows. The bytes of a file survive a cut
// if a Sync of the file has returned since they were written, a name if a
// SyncDir of its directory has returned since it was given. Of the rest a cut
// keeps nothing, everything, or any part: blocks of a file without those before
// them, one end of a rename without the other. After a Sync that failed the
// bytes it should have written are lost though later Syncs succeed, which is
// what Linux does. Locks end with the cut.
//
// Use it with local.OpenFS and local.CreateFS.
package crashfs

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"coffer/bucket/local/internal/disk"
)

// ErrPowerOff is what every call gives when the power is off. A hook that
// returns it turns the power off.
var ErrPowerOff = errors.New("power is off")

// An Op is a kind of call.
type Op string

// The kinds of calls.
const (
	Mkdir    Op = "mkdir"
	Create   Op = "create"
	Open     Op = "open"
	Stat     Op = "stat"
	ReadDir  Op = "readdir"
	Move     Op = "move"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
	Write    Op = "write"
	Read     Op = "read"
	Sync     Op = "sync"
	Allocate Op = "allocate"
	Lock     Op = "lock"
	Unlock   Op = "unlock"
	Close    Op = "close"
)

// A Call is one call to the file system, of which N others came before.
type Call struct {
	N    int
	Op   Op
	Path string
}

// FS is a file system. It is safe for concurrent use.
type FS struct {
	mu    sync.Mutex
	root  *node
	hook  func(Call) error
	calls int
	off   bool
}

// New makes a file system with nothing but a root directory.
func New() *FS { return &FS{root: newDir()} }

// Hook has f called before every call. If it returns an error the call gives
// that error and does nothing, except that a write writes half, an Allocate
// takes half, and a Sync loses what it should have written. The hook may not
// call the file system.
func (f *FS) Hook(hook func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// FailAt is a hook that fails call n.
func FailAt(n int, err error) func(Call) error {
	return func(c Call) error {
		if c.N == n {
			return err
		}
		return nil
	}
}

// Calls says how many calls were made.
func (f *FS) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// enter counts a call and asks the hook. The caller holds the mutex.
func (f *FS) enter(op Op, where string) error {
	if f.off {
		return &fs.PathError{Op: string(op), Path: where, Err: ErrPowerOff}
	}
	n := f.calls
	f.calls++
	if f.hook == nil {
		return nil
	}
	err := f.hook(Call{n, op, where})
	if err == nil {
		return nil
	}
	f.off = errors.Is(err, ErrPowerOff)
	return &fs.PathError{Op: string(op), Path: where, Err: err}
}

// find walks to a node. The caller holds the mutex.
func (f *FS) find(where string) (*node, error) {
	dir, name, err := f.parent(where)
	if err != nil || name == "" {
		return dir, err
	}
	n, ok := dir.entries[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n, nil
}

// parent finds the directory of a path and its last part, "" for the root.
func (f *FS) parent(where string) (*node, string, error) {
	clean := path.Clean("/" + filepath.ToSlash(where))
	if clean == "/" {
		return f.root, "", nil
	}
	dir, err := f.find(path.Dir(clean))
	if err != nil {
		return nil, "", err
	}
	if !dir.isDir() {
		return nil, "", syscall.ENOTDIR
	}
	return dir, path.Base(clean), nil
}

// Mkdir implements disk.FS.
func (f *FS) Mkdir(where string) error {
	return f.change(Mkdir, where, func(dir *node, name string) error {
		if dir.entries[name] != nil || name == "" {
			return syscall.EEXIST
		}
		dir.set(name, newDir())
		return nil
	})
}

// Remove implements disk.FS.
func (f *FS) Remove(where string) error {
	return f.change(Remove, where, func(dir *node, name string) error {
		n := dir.entries[name]
		switch {
		case name == "" || n != nil && n.isDir():
			return syscall.EISDIR
		case n == nil:
			return syscall.ENOENT
		}
		dir.set(name, nil)
		return nil
	})
}

// MoveNew implements disk.FS.
func (f *FS) MoveNew(from, to string) error {
	return f.change(Move, to, func(dir *node, name string) error {
		source, old, err := f.parent(from)
		if err != nil {
			return err
		}
		n := source.entries[old]
		switch {
		case n == nil:
			return syscall.ENOENT
		case dir.entries[name] != nil || name == "":
			return syscall.EEXIST
		}
		dir.set(name, n)
		source.set(old, nil)
		return nil
	})
}

// SyncDir implements disk.FS. A SyncDir that fails changes nothing: unlike the
// bytes of a file, names stay in the journal that the next one writes.
func (f *FS) SyncDir(where string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(SyncDir, where); err != nil {
		return err
	}
	n, err := f.find(where)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return &fs.PathError{Op: string(SyncDir), Path: where, Err: err}
	}
	n.pending = nil
	return nil
}

// change runs a call that changes the names in a directory.
func (f *FS) change(op Op, where string, do func(dir *node, name string) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(op, where); err != nil {
		return err
	}
	dir, name, err := f.parent(where)
	if err == nil {
		err = do(dir, name)
	}
	if err != nil {
		return &fs.PathError{Op: string(op), Path: where, Err: err}
	}
	return nil
}

// Create implements disk.FS.
func (f *FS) Create(where string) (disk.File, error) {
	n := new(node)
	err := f.change(Create, where, func(dir *node, name string) error {
		if dir.entries[name] != nil || name == "" {
			return syscall.EEXIST
		}
		dir.set(name, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &file{fs: f, node: n, path: where, writable: true}, nil
}

// Open implements disk.FS.
func (f *FS) Open(where string) (disk.File, error) {
	n, err := f.look(Open, where)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, node: n, path: where}, nil
}

// Stat implements disk.FS.
func (f *FS) Stat(where string) (disk.Info, error) {
	n, err := f.look(Stat, where)
	if err != nil {
		return disk.Info{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return n.info(), nil
}

func (f *FS) look(op Op, where string) (*node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(op, where); err != nil {
		return nil, err
	}
	n, err := f.find(where)
	if err != nil {
		return nil, &fs.PathError{Op: string(op), Path: where, Err: err}
	}
	return n, nil
}

// ReadDir implements disk.FS.
func (f *FS) ReadDir(where string) ([]disk.Entry, error) {
	n, err := f.look(ReadDir, where)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !n.isDir() {
		return nil, &fs.PathError{Op: string(ReadDir), Path: where, Err: syscall.ENOTDIR}
	}
	var entries []disk.Entry
	for name, child := range n.entries {
		entries = append(entries, disk.Entry{Name: name, Regular: !child.isDir(), Dir: child.isDir()})
	}
	return entries, nil
}
