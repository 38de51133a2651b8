package capture

import (
	"fmt"
	"path"
	"strings"
	"sync"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/source"
)

// A node is a directory under way. Its names are dealt with in batches, several
// at once and in any order; their entries enter the listing in the order of
// their names. So a directory of a million names is never in memory whole.
type node struct {
	e       *engine
	root    *rootRun
	path    string // absolute at the source
	entry   snapshot.Entry
	priors  []prior                     // of the directory, one for each parent; entry may be nil
	deliver func(*snapshot.Entry, bool) // called once, with whether it equals its first prior

	dir   *source.DirHandle
	names *source.Listing
	omit  string // name of the tag that leaves out all but itself

	mu       sync.Mutex // with the gate's read lock: all below
	listing  *snapshot.Listing
	queue    []*batch // begun and not yet in the listing, in order
	next     int      // first name in no batch yet
	equal    int      // entries that equal those of the first prior
	priorLen int      // entries in the first prior's listing, if one batch saw them all; else -1
	closed   bool     // entry is complete
}

// A batch is a range of a directory's names.
type batch struct {
	n        *node
	from, to int
	slots    []slot
	pending  int // slots that are not done, and one for the batch while it runs
}

// A slot is one name's place in a batch.
type slot struct {
	state slotState
	entry snapshot.Entry
	child *node // while it is under way
}

type slotState uint8

const (
	waiting slotState = iota
	done
	omitted
)

// batchSize is small enough to keep both processors busy in one large
// directory, and large enough to make the bookkeeping cheap; window is how many
// batches of one directory are in memory at most.
const (
	batchSize = 256
	window    = 4
)

// open begins the work on a directory: it is the task of a node.
func (n *node) open(dir func() (*source.DirHandle, error)) {
	if n.e.ctx.Err() != nil {
		return
	}
	names := new(source.Listing)
	var err error
	if n.dir, err = dir(); err == nil {
		n.details()
		if why := n.dir.Skipped(); why != "" {
			n.e.warn(n.path, "not looked into: "+why)
		}
		names, err = n.look()
	}
	if err == nil && len(n.e.opt.SkipTags) > 0 {
		n.omit, err = n.dir.Tagged(names, n.e.opt.SkipTags)
	}
	if err != nil && n.root.node == n {
		n.root.err = err // not an item but the whole source
	} else if err != nil {
		n.e.miss(n.path, err)
	}
	n.e.gate.RLock()
	n.names = names // from here on a checkpoint sees the directory
	n.e.gate.RUnlock()
	n.e.dirs.Add(1)
	n.advance(nil)
}

// look returns the names to look at.
func (n *node) look() (*source.Listing, error) {
	if why := n.e.opt.Avoid[n.path]; why != "" {
		n.e.warn(n.path, "not looked into: "+why)
		return new(source.Listing), nil
	}
	list, err := n.dir.Names()
	if err != nil {
		return new(source.Listing), err
	}
	return list, nil
}

// details reads what stat does not tell of the directory itself.
func (n *node) details() {
	if p := firstOf(n.priors); p.entry != nil && n.e.opt.sameDetails(&n.entry, p) && n.e.intact(p.entry) {
		takeDetails(&n.entry, p.entry)
		return
	}
	if err := n.dir.Details(".", &n.entry); err != nil {
		n.e.miss(n.path, err)
	}
}

func firstOf(p []prior) prior {
	if len(p) == 0 {
		return prior{}
	}
	return p[0]
}

// advance is called when a slot of b is done, or at the beginning with nil. It
// moves finished batches into the listing, begins new ones, and when there are
// none left finishes the directory.
func (n *node) advance(b *batch) {
	n.e.gate.RLock()
	finished, tasks := n.step(b)
	n.e.gate.RUnlock()
	n.e.stack.push(tasks...)
	if finished {
		n.finish()
	}
}

// step does the part of advance that changes the node.
func (n *node) step(b *batch) (finished bool, tasks []func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b != nil {
		if b.pending--; b.pending > 0 {
			return false, nil
		}
	}
	for len(n.queue) > 0 && n.queue[0].pending == 0 {
		if len(n.queue) == 1 && n.listing == nil && n.next == n.names.Len() {
			break // all of the directory is in memory: close decides
		}
		if err := n.list(n.queue[0]); err != nil {
			n.e.fail(err)
			return false, nil
		}
		n.queue = n.queue[1:]
	}
	for len(n.queue) < window && n.next < n.names.Len() {
		nb := n.newBatch()
		n.queue = append(n.queue, nb)
		tasks = append(tasks, nb.run)
	}
	return n.next == n.names.Len() && (len(n.queue) == 0 || len(n.queue) == 1 && n.queue[0].pending == 0), tasks
}

func (n *node) newBatch() *batch {
	b := &batch{n: n, from: n.next, to: min(n.next+batchSize, n.names.Len()), pending: 1}
	b.slots = make([]slot, b.to-b.from)
	b.pending += len(b.slots)
	n.next = b.to
	return b
}

// list adds a batch's entries to the listing.
func (n *node) list(b *batch) error {
	if n.listing == nil {
		n.listing = snapshot.NewListing(rawSaver{n.e})
	}
	for i := range b.slots {
		if b.slots[i].state != done {
			continue
		}
		if err := n.listing.Add(n.e.ctx, &b.slots[i].entry); err != nil {
			return fmt.Errorf("list %s: %w", n.path, err)
		}
	}
	return nil
}

// finish closes the listing and hands the entry to whoever waits for it.
func (n *node) finish() {
	n.e.gate.RLock()
	same, err := n.close()
	n.e.gate.RUnlock()
	if err != nil {
		n.e.fail(err)
		return
	}
	if n.dir != nil {
		_ = n.dir.Close() // it was only read
	}
	n.deliver(&n.entry, same)
}

// close fills in what the directory holds. If all of it equals what a parent
// has, that listing is taken as it is.
func (n *node) close() (same bool, err error) {
	q := firstOf(n.priors).entry
	if n.unchanged(q) {
		n.entry.Tree, n.entry.Items, n.entry.Files, n.entry.Size = q.Tree, q.Items, q.Files, q.Size
	} else {
		if len(n.queue) > 0 {
			if err := n.list(n.queue[0]); err != nil {
				return false, err
			}
			n.queue = nil
		}
		if n.listing == nil {
			n.listing = snapshot.NewListing(rawSaver{n.e})
		}
		tree, sum, err := n.listing.Close(n.e.ctx)
		if err != nil {
			return false, fmt.Errorf("list %s: %w", n.path, err)
		}
		n.entry.Tree, n.entry.Items, n.entry.Files, n.entry.Size = tree, sum.Items, sum.Files, sum.Bytes
	}
	n.closed = true
	return q != nil && q.Tree == n.entry.Tree && sameStat(&n.entry, q) && sameRest(&n.entry, q), nil
}

// unchanged reports whether the only batch has the same entries as the listing
// of the first parent, all of them and no others.
func (n *node) unchanged(q *snapshot.Entry) bool {
	if q == nil || n.listing != nil || len(n.queue) != 1 || q.Tree == (chunk.ID{}) {
		return false
	}
	b := n.queue[0]
	kept := 0
	for i := range b.slots {
		if b.slots[i].state == done {
			kept++
		}
	}
	return kept == n.equal && kept == n.priorLen
}

// child makes the node of a directory in a slot of b.
func (n *node) child(b *batch, i int, en *snapshot.Entry, priors []prior) func() {
	c := &node{e: n.e, root: n.root, priorLen: -1, path: n.join(en.Name), entry: *en, priors: priors}
	c.entry.Name = strings.Clone(en.Name)
	c.deliver = func(en *snapshot.Entry, same bool) {
		b.settle(i, en, done, same)
	}
	n.e.gate.RLock()
	b.slots[i].child = c
	n.e.gate.RUnlock()
	return func() {
		c.open(func() (*source.DirHandle, error) { return n.dir.Sub(c.entry.Name) })
	}
}

func (n *node) join(name string) string { return path.Join(n.path, name) }

// relative returns a name's path below the root, for patterns.
func (n *node) relative(name string) string { return strings.TrimPrefix(n.join(name), n.root.source) }

// abandon closes what a capture that was cut off left open.
func (n *node) abandon() {
	for _, b := range n.queue {
		for i := range b.slots {
			if c := b.slots[i].child; c != nil {
				c.abandon()
			}
		}
	}
	if n.dir != nil {
		_ = n.dir.Close() // it was only read
	}
}
