package source

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

// A Listing is the names in one directory, sorted by bytes, without "." and
// "..". They share one string: a million names of 15 bytes take 23 MiB. A name
// kept beyond the Listing keeps all of it in memory; strings.Clone it.
type Listing struct {
	text string
	refs []nameRef
}

// A nameRef packs where a name is (48 bits), its length less one (8 bits; no
// kernel gives a name longer than 255 bytes) and its d_type (8 bits).
type nameRef uint64

func packRef(off, length int, dtype byte) nameRef {
	return nameRef(off)<<16 | nameRef(length&0xff)<<8 | nameRef(dtype)
}

func (r nameRef) in(text string) string {
	off := int(r >> 16)
	return text[off : off+int(r>>8&0xff)]
}

// Len is the number of names. A nil Listing is empty.
func (l *Listing) Len() int {
	if l == nil {
		return 0
	}
	return len(l.refs)
}

// Name returns the i-th name, without copying it.
func (l *Listing) Name(i int) string { return l.refs[i].in(l.text) }

// Type returns what the directory says of the i-th name, or 0 where it does
// not. It may be outdated: only Lstat is sure.
func (l *Listing) Type(i int) snapshot.Type { return typeOfDirent(byte(l.refs[i])) }

// All yields the names and their types in order.
func (l *Listing) All() iter.Seq2[string, snapshot.Type] {
	return func(yield func(string, snapshot.Type) bool) {
		for i := range l.Len() {
			if !yield(l.Name(i), l.Type(i)) {
				return
			}
		}
	}
}

// Names lists the directory. That of a skipped one is empty.
func (h *DirHandle) Names() (*Listing, error) {
	if h.skip != "" {
		return new(Listing), nil
	}
	fd, err := h.acquire()
	if err != nil {
		return nil, h.fail("list", "", err)
	}
	defer h.release()
	h.listing.Lock()
	defer h.listing.Unlock()
	if h.listed { // a new descriptor, and most are, begins at the start
		if _, err := unix.Seek(fd, 0, 0); err != nil {
			return nil, h.fail("list", "", err)
		}
	}
	h.listed = true
	l, err := h.tree.list(fd)
	if err != nil {
		return nil, h.fail("list", "", err)
	}
	return l, nil
}

func (t *Tree) list(fd int) (*Listing, error) {
	buf := t.borrow()
	defer t.giveBack(buf)
	var text strings.Builder
	l := new(Listing)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.Getdents(fd, buf[:]); return err })
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		l.refs = appendDirents(l.refs, &text, buf[:n])
	}
	l.text = text.String()
	l.sort()
	return l, nil
}

// Layout of struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, then
// the name, ended by NUL and padded.
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

func appendDirents(refs []nameRef, text *strings.Builder, buf []byte) []nameRef {
	for len(buf) > direntName {
		size := int(binary.NativeEndian.Uint16(buf[direntReclen:]))
		if size <= direntName || size > len(buf) {
			break
		}
		name, dtype := buf[direntName:size], buf[direntType]
		buf = buf[size:]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if isDots(name) || len(name) > 255 {
			continue
		}
		refs = append(refs, packRef(text.Len(), len(name), dtype))
		text.Write(name)
	}
	return refs
}

func isDots(name []byte) bool {
	switch len(name) {
	case 0:
		return true
	case 1:
		return name[0] == '.'
	case 2:
		return name[0] == '.' && name[1] == '.'
	}
	return false
}

// sort orders the names and drops repeated ones: a directory that changes while
// it is listed may show a name twice.
func (l *Listing) sort() {
	text := l.text
	slices.SortFunc(l.refs, func(a, b nameRef) int { return strings.Compare(a.in(text), b.in(text)) })
	l.refs = slices.CompactFunc(l.refs, func(a, b nameRef) bool { return a.in(text) == b.in(text) })
}
