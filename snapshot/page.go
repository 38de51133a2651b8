package snapshot

import (
	"context"
	"fmt"

	"coffer/chunk"
)

// Every tree chunk is a CBOR array of four: version, kind, level, body. All
// three numbers are below 24, hence the header is four bytes.
const (
	treeVersion = 1

	kindListing = 1 // level 0: entries; above: child pages
	kindBulk    = 2 // level 0: a piece; 1: a list of pieces
)

type treeHeader struct{ kind, level int }

const headerSize = 4

func header(kind, level int) []byte {
	return []byte{majorArray<<5 | 4, treeVersion, byte(kind), byte(level)}
}

func splitHeader(data []byte) (treeHeader, []byte, error) {
	if len(data) < headerSize || data[0] != majorArray<<5|4 {
		return treeHeader{}, nil, damaged("it is no tree chunk")
	}
	if v := data[1]; v != treeVersion {
		return treeHeader{}, nil, damaged("tree version %d is not known to this program; a newer one may read it", v)
	}
	h := treeHeader{kind: int(data[2]), level: int(data[3])}
	if h.kind != kindListing && h.kind != kindBulk || h.level > maxLevel {
		return h, nil, damaged("a tree chunk of kind %d and level %d", h.kind, h.level)
	}
	return h, data[headerSize:], nil
}

// A child is a page as the page above knows it.
type child struct {
	last string // the greatest name in it
	id   chunk.ID
}

// A page is one page of a listing: entries at level 0, children above.
type page struct {
	level    int
	entries  []Entry
	children []child
}

// last is the greatest name in the page.
func (p *page) last() string {
	if p.level == 0 {
		return p.entries[len(p.entries)-1].Name
	}
	return p.children[len(p.children)-1].last
}

// decodePage reads a page of a listing and proves that its names ascend.
func decodePage(data []byte) (*page, error) {
	h, body, err := splitHeader(data)
	if err != nil {
		return nil, err
	}
	if h.kind != kindListing {
		return nil, damaged("it is no page of a listing")
	}
	if err := checkCount(body); err != nil {
		return nil, err
	}
	p := &page{level: h.level}
	if h.level == 0 {
		p.entries, err = decodeEntries(body)
	} else {
		p.children, err = decodeChildren(body)
	}
	return p, err
}

// checkCount bounds what decoding will allocate before it begins.
func checkCount(body []byte) error {
	major, n, _, err := scanHead(body)
	if err != nil {
		return err
	}
	if major != majorArray || n == 0 || n > maxItems {
		return damaged("a page holds 1 to %d items", maxItems)
	}
	return nil
}

func decodeEntries(body []byte) ([]Entry, error) {
	c := codecs()
	scratch := c.entries.Get().(*[]wireEntry)
	defer func() {
		clear((*scratch)[:cap(*scratch)])
		c.entries.Put(scratch)
	}()
	if err := decode(c.strict, body, scratch); err != nil {
		return nil, err
	}
	return entriesOf(*scratch)
}

func entriesOf(ws []wireEntry) ([]Entry, error) {
	entries := make([]Entry, len(ws))
	d := entryDecoder{refs: make([]Ref, 0, len(ws))}
	for i := range ws {
		if err := d.entry(&entries[i], &ws[i]); err != nil {
			return nil, err
		}
		if i > 0 && ws[i-1].Name >= ws[i].Name {
			return nil, damaged("names are not in ascending order at %q", ws[i].Name)
		}
	}
	return entries, nil
}

func decodeChildren(body []byte) ([]child, error) {
	var ws []wireChild
	if err := decode(codecs().strict, body, &ws); err != nil {
		return nil, err
	}
	children := make([]child, len(ws))
	for i := range ws {
		id, err := oneID(ws[i].ID)
		if err != nil {
			return nil, err
		}
		if i > 0 && ws[i-1].Last >= ws[i].Last {
			return nil, damaged("pages are not in ascending order at %q", ws[i].Last)
		}
		children[i] = child{last: ws[i].Last, id: id}
	}
	return children, nil
}

// A span is what the page above says of a page: its level, and that its names
// lie after lo and end with hi. The top page has none above.
type span struct {
	top    bool
	level  int
	lo, hi string
}

// below is the span of child i of p, which itself has span s.
func (s span) below(p *page, i int) span {
	lo := s.lo
	if i > 0 {
		lo = p.children[i-1].last
	}
	return span{level: p.level - 1, lo: lo, hi: p.children[i].last}
}

// loadPage loads a page and holds it against its span: pages that are each
// good can still be put together wrongly.
func loadPage(ctx context.Context, l Loader, id chunk.ID, s span) (*page, error) {
	data, err := l.Load(ctx, chunk.Tree, id)
	if err != nil {
		return nil, err
	}
	p, err := decodePage(data)
	if err == nil {
		err = s.check(p)
	}
	if err != nil {
		return nil, fmt.Errorf("read tree chunk %s: %w", id, err)
	}
	return p, nil
}

func (s span) check(p *page) error {
	if s.top {
		return nil
	}
	first := ""
	if p.level == 0 {
		first = p.entries[0].Name
	} else {
		first = p.children[0].last
	}
	if p.level != s.level || p.last() != s.hi || first <= s.lo {
		return damaged("the page does not fit the page above it")
	}
	return nil
}

// PageRefs returns what a tree chunk of any kind names: other tree chunks and
// chunks of data. It is the step that gc repeats and caches by ID; it checks the
// form of the whole chunk, and the meaning of no more than the names.
func PageRefs(data []byte) (trees, refs []chunk.ID, err error) {
	h, body, err := splitHeader(data)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case h.kind == kindListing && h.level == 0:
		return entryRefs(body)
	case h.kind == kindListing:
		trees, err = childRefs(body)
	case h.level == 1:
		trees, err = decodePieceList(data)
	default:
		refs, err = pieceRefs(data)
	}
	return trees, refs, err
}

// entryRefs goes through the bytes itself: a mark does nothing else for each page
// of a repository, and decoding entries would take most of its time.
func entryRefs(body []byte) (trees, refs []chunk.ID, err error) {
	if len(body) > maxTreeChunk {
		return nil, nil, damaged("%d bytes are more than %d", len(body), maxTreeChunk)
	}
	if err := checkCount(body); err != nil {
		return nil, nil, err
	}
	major, n, rest, err := scanHead(body)
	if err == nil && major != majorArray {
		err = damaged("a page that is no list of entries")
	}
	for ; err == nil && n > 0; n-- {
		var names entryNames
		if names, rest, err = scanRefs(rest); err != nil {
			break
		}
		for _, joined := range [][]byte{names.tree, names.spill} {
			if trees, err = appendIDs(trees, joined); err != nil {
				return nil, nil, err
			}
		}
		refs, err = appendIDs(refs, names.content)
	}
	if err == nil && len(rest) > 0 {
		err = damaged("%d bytes follow the end", len(rest))
	}
	if err != nil {
		return nil, nil, err
	}
	return trees, refs, nil
}

func childRefs(body []byte) ([]chunk.ID, error) {
	if err := checkCount(body); err != nil {
		return nil, err
	}
	children, err := decodeChildren(body)
	ids := make([]chunk.ID, len(children))
	for i := range children {
		ids[i] = children[i].id
	}
	return ids, err
}

func pieceRefs(data []byte) ([]chunk.ID, error) {
	p, err := decodePiece(data)
	ids := make([]chunk.ID, len(p.Content))
	for i := range p.Content {
		ids[i] = p.Content[i].ID
	}
	return ids, err
}

func appendIDs(ids []chunk.ID, joined []byte) ([]chunk.ID, error) {
	if len(joined)%chunk.IDSize != 0 {
		return nil, damaged("%d bytes are no list of chunk ids", len(joined))
	}
	for ; len(joined) > 0; joined = joined[chunk.IDSize:] {
		ids = append(ids, chunk.ID(joined[:chunk.IDSize]))
	}
	return ids, nil
}
