package capture

import (
	"errors"
	"fmt"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/source"
)

// run is the task of a batch: it deals with every name in it.
func (b *batch) run() {
	if b.n.e.ctx.Err() != nil {
		return
	}
	priors := b.loadPriors()
	var subs []func()
	for i := range b.slots {
		if b.n.e.ctx.Err() != nil {
			return
		}
		if sub := b.name(i, priors); sub != nil {
			subs = append(subs, sub)
		}
	}
	b.n.e.stack.push(subs...)
	b.n.advance(b)
}

// settle puts the result for a name in its place.
func (b *batch) settle(i int, en *snapshot.Entry, s slotState, same bool) {
	n := b.n
	n.e.gate.RLock()
	n.mu.Lock()
	b.slots[i].state, b.slots[i].child = s, nil
	if en != nil {
		b.slots[i].entry = *en
	}
	if same {
		n.equal++
	}
	n.mu.Unlock()
	n.e.gate.RUnlock()
	n.advance(b)
}

// name deals with one name. For a directory it returns the task that goes into
// it.
func (b *batch) name(i int, priors *priorLists) (sub func()) {
	n, name := b.n, b.n.names.Name(b.from+i)
	var en snapshot.Entry
	before := priors.find(name)
	if n.leftOut(name, n.names.Type(b.from+i)) {
		b.settle(i, nil, omitted, false)
		return nil
	}
	err := n.dir.Lstat(name, &en)
	if err == nil && n.names.Type(b.from+i) != en.Type && n.leftOut(name, en.Type) {
		b.settle(i, nil, omitted, false)
		return nil
	}
	if err != nil {
		n.e.miss(n.join(name), err)
		b.settle(i, nil, omitted, false)
		return nil
	}
	if en.Type == snapshot.Dir {
		return n.child(b, i, &en, before)
	}
	state, same := n.leaf(&en, before)
	b.settle(i, &en, state, same)
	return nil
}

// leftOut reports whether a name is excluded. Its type may not be known yet.
func (n *node) leftOut(name string, t snapshot.Type) bool {
	if n.omit != "" && name != n.omit {
		return true
	}
	return n.root.matcher != nil && t != 0 && n.root.matcher.Excluded(n.relative(name), t == snapshot.Dir)
}

// leaf fills in the entry of anything but a directory.
func (n *node) leaf(en *snapshot.Entry, before []prior) (state slotState, same bool) {
	open := func() (*source.FileHandle, error) { return n.dir.Open(en.Name) }
	details := func() error { return n.dir.Details(en.Name, en) }
	return n.e.leaf(en, before, open, details, func() string { return n.join(en.Name) })
}

// leaf takes what it can from earlier snapshots and reads the rest.
func (e *engine) leaf(en *snapshot.Entry, before []prior, open func() (*source.FileHandle, error), details func() error,
	path func() string) (state slotState, same bool) {
	if limit := e.opt.LargerThan; limit > 0 && en.Type == snapshot.File && en.Size > limit {
		return omitted, false
	}
	for i, p := range before {
		if p.entry == nil || !e.opt.sameContent(en, p) || !e.intact(p.entry) {
			continue
		}
		if e.opt.sameDetails(en, p) {
			takeContent(en, p.entry)
			takeDetails(en, p.entry)
			same = i == 0 && sameStat(en, p.entry)
		} else if err := e.renew(en, p.entry, details); err != nil {
			break
		}
		if en.Type == snapshot.File {
			e.event(e.count(true, false), en.Size, nil, path)
		}
		return done, same
	}
	state = e.readLeaf(en, before, open, details, path)
	p := firstOf(before).entry
	return state, state == done && p != nil && !p.Spilled() && sameStat(en, p) && sameRest(en, p)
}

// renew takes the content from an earlier entry and reads the attributes.
func (e *engine) renew(en, old *snapshot.Entry, details func() error) error {
	full := *old
	if full.Spilled() { // content and attributes were put away together
		if err := snapshot.Fill(e.ctx, e, &full); err != nil {
			return err
		}
	}
	takeContent(en, &full)
	return details()
}

// readLeaf reads an entry whole.
func (e *engine) readLeaf(en *snapshot.Entry, before []prior, open func() (*source.FileHandle, error), details func() error,
	path func() string) slotState {
	read := func(en *snapshot.Entry) error { return details() }
	if en.Type == snapshot.File {
		read = func(en *snapshot.Entry) error { return e.readFile(open, en) }
	}
	err := e.links.once(en, read)
	if e.ctx.Err() != nil {
		return omitted
	}
	if err != nil {
		e.miss(path(), err)
		var kept *keptError
		if !errors.As(err, &kept) && (en.Type == snapshot.File || en.Type == snapshot.Symlink) {
			return omitted // without its content it is nothing
		}
	}
	if en.Type == snapshot.File {
		e.event(e.count(hasEntry(before), true), unreported(en), nil, path)
	}
	return done
}

// unreported is what of a file's size no Progress event has told.
func unreported(en *snapshot.Entry) int64 {
	if len(en.Content) < 2 {
		return en.Size
	}
	left := en.Size
	for _, r := range en.Content {
		left -= int64(r.Length)
	}
	return left
}

func hasEntry(before []prior) bool {
	for _, p := range before {
		if p.entry != nil {
			return true
		}
	}
	return false
}

// priorLists are the parts of the parents' listings that a batch covers.
type priorLists struct {
	reads []snapshot.Time
	lists [][]*snapshot.Entry
	at    []int
}

// maxPriors bounds what is loaded for one batch: more vanished names than that
// are not worth their memory.
const maxPriors = 4 * batchSize

// loadPriors loads them. A page that cannot be had makes its files be read
// again, which is what they need anyway.
func (b *batch) loadPriors() *priorLists {
	p := new(priorLists)
	n := b.n
	for k, pr := range n.priors {
		var list []*snapshot.Entry
		if pr.entry != nil && pr.entry.Type == snapshot.Dir {
			var err error
			if list, err = b.loadPrior(pr.entry.Tree); err != nil && n.e.ctx.Err() == nil {
				n.e.warn(n.path, fmt.Sprintf("read again, because an earlier snapshot of it is damaged: %v", err))
				list = nil
			}
		}
		if k == 0 && b.from == 0 && b.to == n.names.Len() && len(list) <= maxPriors {
			n.priorLen = len(list)
		}
		p.reads, p.lists, p.at = append(p.reads, pr.read), append(p.lists, list), append(p.at, 0)
	}
	return p
}

func (b *batch) loadPrior(tree chunk.ID) ([]*snapshot.Entry, error) {
	after, last := "", b.n.names.Name(b.to-1)
	if b.from > 0 {
		after = b.n.names.Name(b.from - 1)
	}
	list := make([]*snapshot.Entry, 0, len(b.slots))
	for en, err := range snapshot.List(b.n.e.ctx, b.n.e, tree, after) {
		if err != nil {
			return nil, err
		}
		if en.Name > last && b.to < b.n.names.Len() {
			break
		}
		list = append(list, en)
		if len(list) > maxPriors {
			break
		}
	}
	return list, nil
}

// find returns what each parent says of name. Names must be asked for in
// ascending order.
func (p *priorLists) find(name string) []prior {
	if len(p.lists) == 0 {
		return nil
	}
	found := make([]prior, len(p.lists))
	for k, list := range p.lists {
		i := p.at[k]
		for i < len(list) && list[i].Name < name {
			i++
		}
		p.at[k] = i
		found[k].read = p.reads[k]
		if i < len(list) && list[i].Name == name {
			found[k].entry = list[i]
		}
	}
	return found
}
