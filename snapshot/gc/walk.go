package gc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/store"
)

// A node is a page from when it is first named until all below it is walked.
type node struct {
	id      chunk.ID
	name    name
	parents []*node
	left    int      // pages below that are not complete, and 1 until it is loaded itself
	lossy   bool     // a page at or below it is lost
	hit     bool     // for those who look for something
	trees   []uint32 // numbers of the pages that it names and that are complete
	data    []uint64 // prefixes of the data that it names
}

// A walk loads all pages below some roots that have no number in names, and
// numbers them, children before their parents. The functions are called one at
// a time.
//
// It goes down before it goes on: a page is held until all below it is done,
// and pages that were written together are loaded together, so that the store
// opens the block that they are in once. (Each does not pay here: it would open
// that block again for every level of the tree that is in it.)
type walk struct {
	view    store.MarkView
	names   *names
	workers int

	enter func(chunk.ID, name) (bool, error) // whether to walk a page that is new
	known func(num uint32)                   // a page with a number was named
	page  func(n *node, data []chunk.ID)     // a page was loaded, or is lost and names nothing
	above func(*node)                        // all below a page was walked; its number follows, if it gets one
	done  func(n *node, num uint32)          // a page has its number

	mu      sync.Mutex
	open    map[name]*node // on the stack, or waiting for those below
	lossy   map[name]bool  // walked, but something below is lost: the node's hit. They get no number
	stack   []*node
	loading int        // pages that a worker is loading
	more    *sync.Cond // the stack, loading or failed has changed
	failed  error
	data    []uint64 // of the page at hand
}

func (m *Marker) newWalk(v store.MarkView, t *names) *walk {
	w := &walk{
		view: v, names: t, workers: m.workers, open: map[name]*node{}, lossy: map[name]bool{},
		enter: func(chunk.ID, name) (bool, error) { return true, nil },
		known: func(uint32) {}, page: func(*node, []chunk.ID) {}, above: func(*node) {}, done: func(*node, uint32) {},
	}
	w.more = sync.NewCond(&w.mu)
	return w
}

// run walks all below roots. Several workers take pages from the top of one
// stack.
func (w *walk) run(ctx context.Context, roots []chunk.ID) error {
	if err := w.push(nil, roots); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range w.workers {
		group.Go(func() error { return w.work(ctx) })
	}
	return group.Wait()
}

// work loads pages until there are none, or until somebody has failed.
func (w *walk) work(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.failed == nil {
		if len(w.stack) == 0 {
			if w.loading == 0 {
				break
			}
			w.more.Wait()
			continue
		}
		n := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		w.loading++
		w.mu.Unlock()
		trees, data, err := load(ctx, w.view, n.id)
		w.mu.Lock()
		w.loading--
		if err = w.take(ctx, n, trees, data, err); err != nil && w.failed == nil {
			w.failed = err
		}
		w.more.Broadcast()
	}
	return w.failed
}

func load(ctx context.Context, v store.MarkView, id chunk.ID) (trees, data []chunk.ID, err error) {
	page, err := v.Load(ctx, chunk.Tree, id)
	if err != nil {
		return nil, nil, err
	}
	return snapshot.PageRefs(page)
}

// take has a page, or why it cannot be had.
func (w *walk) take(ctx context.Context, n *node, trees, data []chunk.ID, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Repair is asked last: what can be had is walked, whatever was recorded.
	if err != nil && !w.view.Lost(n.id) {
		return fmt.Errorf("read tree chunk %s: %w", n.id, err)
	}
	n.lossy = err != nil
	w.data = w.data[:0]
	for i := range data {
		w.data = append(w.data, store.Prefix(data[i][:]))
	}
	n.data = w.data
	w.page(n, data)
	if err := w.push(n, trees); err != nil {
		return err
	}
	if n.left--; n.left > 0 {
		n.data = slices.Clone(n.data)
		return nil
	}
	return w.complete(n)
}

// push takes note of what a page names: parent is nil for roots. The first one
// comes to lie on top.
func (w *walk) push(parent *node, ids []chunk.ID) error {
	for _, id := range slices.Backward(ids) {
		if id == (chunk.ID{}) {
			continue
		}
		if err := w.push1(parent, id); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) push1(parent *node, id chunk.ID) error {
	name := w.names.of(id)
	if num, ok := w.names.find(name); ok {
		w.known(num)
		parent.over(num)
		return nil
	}
	if hit, ok := w.lossy[name]; ok {
		parent.overLossy(hit)
		return nil
	}
	n, ok := w.open[name]
	if !ok {
		if enter, err := w.enter(id, name); err != nil || !enter {
			return err
		}
		n = &node{id: id, name: name, left: 1}
		w.open[name] = n
		w.stack = append(w.stack, n)
	}
	if parent != nil {
		n.parents = append(n.parents, parent)
		parent.left++
	}
	return nil
}

func (n *node) over(num uint32) {
	if n != nil {
		n.trees = append(n.trees, num)
	}
}

func (n *node) overLossy(hit bool) {
	if n != nil {
		n.lossy, n.hit = true, n.hit || hit
	}
}

// complete is called when all below a page is done, and goes up from there.
func (w *walk) complete(n *node) error {
	for up := []*node{n}; len(up) > 0; {
		n, up = up[len(up)-1], up[:len(up)-1]
		delete(w.open, n.name)
		w.above(n)
		num := w.names.len()
		if n.lossy {
			w.lossy[n.name] = n.hit
		} else if num == maxPages {
			return errors.New("read tree chunks: there are more than this version can number")
		} else {
			w.done(n, w.names.add(n.name))
		}
		for _, p := range n.parents {
			if n.lossy {
				p.overLossy(n.hit)
			} else {
				p.over(num)
			}
			if p.left--; p.left == 0 {
				up = append(up, p)
			}
		}
	}
	return nil
}
