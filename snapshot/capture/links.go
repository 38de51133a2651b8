package capture

import (
	"sync"

	"coffer/snapshot"
)

// links sees that each large inode with several names is read once and that all
// its names get the same content, whatever happens to the file meanwhile. Small
// ones are read for each name: to remember a million of them, whose other names
// may all be outside the roots, would cost more than that.
type links struct {
	small  int64 // files up to this size are not remembered
	mu     sync.Mutex
	groups map[snapshot.LinkGroup]*link
}

// A link is an inode that is being read or was read.
type link struct {
	done  chan struct{} // closed when entry and err are set
	left  uint32        // names that have not asked yet
	entry snapshot.Entry
	err   error
}

// once calls read for the first name of a group and gives its result to all
// others. A result is forgotten when the last name has it.
func (l *links) once(e *snapshot.Entry, read func(*snapshot.Entry) error) error {
	if e.LinkGroup == "" || e.Size <= l.small {
		return read(e)
	}
	g, first := l.join(e)
	if first {
		g.err = read(e)
		g.entry = *e
		close(g.done)
		return g.err
	}
	<-g.done
	if g.err == nil {
		takeContent(e, &g.entry)
		takeDetails(e, &g.entry)
		e.Size, e.MTime, e.CTime = g.entry.Size, g.entry.MTime, g.entry.CTime
	}
	return g.err
}

func (l *links) join(e *snapshot.Entry) (g *link, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, ok := l.groups[e.LinkGroup]
	if !ok {
		g = &link{done: make(chan struct{}), left: e.Links}
		l.groups[e.LinkGroup] = g
	}
	if g.left--; g.left == 0 || g.left > e.Links {
		delete(l.groups, e.LinkGroup)
	}
	return g, !ok
}
