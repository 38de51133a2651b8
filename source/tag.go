package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
)

// A Tag is a file whose presence says that the rest of its directory is not
// worth keeping. The directory and the tag itself are kept, so that a restored
// one is left out again.
type Tag struct {
	Name   string
	Header string // what the file must begin with; "" for anything
}

// CacheTag is the tag of https://bford.info/cachedir.
func CacheTag() Tag {
	return Tag{Name: "CACHEDIR.TAG", Header: "Signature: 8a477f597d28d172789f06886806bc55"}
}

// ParseTag reads FILE or FILE:HEADER.
func ParseTag(text string) (Tag, error) {
	name, header, _ := strings.Cut(text, ":")
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return Tag{}, fmt.Errorf("read tag %q: it must begin with the name of a file, without a slash", text)
	}
	return Tag{Name: name, Header: header}, nil
}

// Has tells whether name is listed.
func (l *Listing) Has(name string) bool {
	n := l.Len()
	i := sort.Search(n, func(i int) bool { return l.Name(i) >= name })
	return i < n && l.Name(i) == name
}

// Tagged returns the name of the first tag that is in the directory, or "".
// list is what Names returned.
func (h *DirHandle) Tagged(list *Listing, tags []Tag) (string, error) {
	for _, tag := range tags {
		if !list.Has(tag.Name) {
			continue
		}
		ok, err := h.hasHeader(tag)
		if err != nil {
			return "", err
		}
		if ok {
			return tag.Name, nil
		}
	}
	return "", nil
}

func (h *DirHandle) hasHeader(tag Tag) (bool, error) {
	if tag.Header == "" {
		return true, nil
	}
	f, err := h.Open(tag.Name)
	if errors.Is(err, ErrReplaced) { // a directory or a device of that name
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(tag.Header))
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return bytes.Equal(head[:n], []byte(tag.Header)), nil
}

// ParseSize reads a number of bytes such as 4096, 10M or 1G. K, M, G, T and P
// are powers of 1024, also when written KiB or KB.
func ParseSize(text string) (int64, error) {
	const units = "KMGTP"
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte(units, number[n-1]); i >= 0 {
			number, shift = number[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("read size %q: want a number such as 4096, 10M or 1G", text)
	}
	return n << shift, nil
}
