package crashfs

import "coffer/bucket/local/internal/disk"

// A node is a file or a directory. The mutex of the file system guards it.
type node struct {
	// A directory: its names as programs see them, and the changes since it was
	// last synced, oldest first.
	entries map[string]*node
	pending []change

	// A file: its bytes as programs see them, and how many of the first are
	// safe. Files only grow.
	data   []byte
	safe   int
	failed bool // a Sync has failed: nothing after safe will ever be safe
	links  uint64

	locked bool // by one
	shared int  // by so many
}

// A change is a name that a directory was given, or lost where node is nil.
type change struct {
	name string
	was  *node // what a cut falls back to
	node *node
}

func newDir() *node { return &node{entries: make(map[string]*node)} }

func (n *node) isDir() bool { return n.entries != nil }

func (n *node) info() disk.Info {
	return disk.Info{Regular: !n.isDir(), Dir: n.isDir(), Size: int64(len(n.data)), Links: n.links}
}

// set gives name to a child, or to nobody.
func (n *node) set(name string, child *node) {
	was := n.entries[name]
	n.pending = append(n.pending, change{name, was, child})
	if was != nil {
		was.links--
	}
	if child == nil {
		delete(n.entries, name)
		return
	}
	child.links++
	n.entries[name] = child
}

func (n *node) sync() {
	if !n.failed {
		n.safe = len(n.data)
	}
}
