package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"coffer/chunk"
)

// The rule by which listings are cut into pages. It is part of the format: only
// because everybody cuts alike do equal listings have equal IDs.
//
// A page ends after a name that is a boundary for its level, once it holds
// minItems, so that a change moves no cut but its own; and before an item that
// would take it beyond maxPage or maxItems. One name in 64 is a boundary for
// entries: with minItems that makes 96 entries and about 12 KiB on average, of
// which few pages are cut for size. Children are a third as large, so there it
// is one in 256.
const (
	minItems = 32
	maxItems = 1024
	maxPage  = 64 << 10 // bytes of items
	maxLevel = 7        // with at least 16 items in a page, 2^28 entries of the longest names

	entryBits = 6
	childBits = 8
)

// boundary reports whether a page of the level may end after name. Each level
// looks at bits of its own: at level 1 all names have ended a page already.
func boundary(level int, name string) bool {
	h := hashName(name)
	if level == 0 {
		return h&(1<<entryBits-1) == 0
	}
	return h>>(entryBits+childBits*(level-1))&(1<<childBits-1) == 0
}

// hashName is FNV-1a of 64 bits, with the finish of MurmurHash3 because FNV's
// low bits depend on the low bits of the name alone.
func hashName(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Totals sums up a listing and all below it.
type Totals struct {
	Items uint64 // entries of all kinds
	Files uint64 // regular files among them
	Bytes int64  // their sizes
}

// Add counts e and what is below it.
func (t *Totals) Add(e *Entry) {
	t.Items++
	switch e.Type {
	case File:
		t.Files++
		t.Bytes += e.Size
	case Dir:
		t.Items += e.Items
		t.Files += e.Files
		t.Bytes += e.Size
	}
}

// A Listing writes the entries of one directory. It holds one page for each
// level in memory, however many entries there are. It is not safe for
// concurrent use, and of no use after an error.
type Listing struct {
	saver  Saver
	levels []*pageWriter
	buf    bytes.Buffer
	last   string
	sum    Totals
	err    error
}

// A pageWriter is the page in progress at one level.
type pageWriter struct {
	body  []byte // its items, encoded
	count int
	last  string
	only  chunk.ID // of the newest item, where it is a child
	saved int      // pages of the level that are complete
}

// NewListing returns a Listing that saves its pages to s.
func NewListing(s Saver) *Listing { return &Listing{saver: s} }

// Add appends e, whose name must be greater than the one before, byte by byte.
// It does not keep e.
func (l *Listing) Add(ctx context.Context, e *Entry) error {
	if l.err == nil {
		l.err = l.add(ctx, e)
	}
	return l.err
}

func (l *Listing) add(ctx context.Context, e *Entry) (err error) {
	if e.Name <= l.last {
		return fmt.Errorf("list entry %q: it does not come after %q", e.Name, l.last)
	}
	if e.bulk() > maxInline {
		if e, err = l.spill(ctx, e); err != nil {
			return err
		}
	}
	l.buf.Reset()
	if err := encodeEntry(&l.buf, e); err != nil {
		return err
	}
	l.last = e.Name
	l.sum.Add(e)
	return l.put(ctx, 0, e.Name, l.buf.Bytes(), chunk.ID{})
}

// spill checks e first, because what is saved is seen whole nowhere again.
func (l *Listing) spill(ctx context.Context, e *Entry) (*Entry, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return spill(ctx, l.saver, e)
}

// put appends an item to the page in progress at a level, and cuts.
func (l *Listing) put(ctx context.Context, level int, name string, item []byte, id chunk.ID) error {
	w, err := l.at(level)
	if err != nil {
		return err
	}
	if w.count > 0 && (len(w.body)+len(item) > maxPage || w.count == maxItems) {
		if err := l.cut(ctx, level); err != nil {
			return err
		}
	}
	w.body = append(w.body, item...)
	w.count++
	w.last, w.only = name, id
	if w.count >= minItems && boundary(level, name) {
		return l.cut(ctx, level)
	}
	return nil
}

func (l *Listing) at(level int) (*pageWriter, error) {
	if level > maxLevel {
		return nil, errors.New("the listing is too large")
	}
	if level == len(l.levels) {
		l.levels = append(l.levels, new(pageWriter))
	}
	return l.levels[level], nil
}

// cut ends the page in progress at a level and names it to the level above.
func (l *Listing) cut(ctx context.Context, level int) error {
	w := l.levels[level]
	id, err := l.save(ctx, level)
	if err != nil {
		return err
	}
	w.saved++
	w.body, w.count = w.body[:0], 0
	item, err := marshal(wireChild{Last: w.last, ID: id[:]})
	if err != nil {
		return err
	}
	return l.put(ctx, level+1, w.last, item, id)
}

func (l *Listing) save(ctx context.Context, level int) (chunk.ID, error) {
	w := l.levels[level]
	data := appendHead(header(kindListing, level), majorArray, uint64(w.count))
	return l.saver.Save(ctx, chunk.Tree, append(data, w.body...))
}

// Close saves what is in progress and returns the listing's ID, which is zero
// if nothing was added. Equal entries give equal IDs.
func (l *Listing) Close(ctx context.Context) (chunk.ID, Totals, error) {
	if l.err != nil {
		return chunk.ID{}, Totals{}, l.err
	}
	id, err := l.close(ctx)
	if err != nil {
		return chunk.ID{}, Totals{}, err
	}
	l.err = errors.New("the listing is closed")
	return id, l.sum, nil
}

// close goes up from the entries until a level has one page, or one child,
// only: that is the top.
func (l *Listing) close(ctx context.Context) (chunk.ID, error) {
	for level := 0; level < len(l.levels); level++ {
		w := l.levels[level]
		switch {
		case w.count == 0:
			continue // its last entry ended a page
		case w.saved > 0:
			if err := l.cut(ctx, level); err != nil {
				return chunk.ID{}, err
			}
		case level > 0 && w.count == 1:
			return w.only, nil
		default:
			return l.save(ctx, level)
		}
	}
	return chunk.ID{}, nil
}

// Clone returns a Listing that has what l has so far and goes its own way from
// there: a look at a directory that is not finished.
func (l *Listing) Clone() *Listing {
	c := &Listing{saver: l.saver, last: l.last, sum: l.sum, err: l.err}
	for _, w := range l.levels {
		d := *w
		d.body = bytes.Clone(w.body)
		c.levels = append(c.levels, &d)
	}
	return c
}
