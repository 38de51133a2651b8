package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"coffer/chunk"
)

// Limits of an entry's parts. They are far above what file systems allow, and
// keep an entry in its page below some 26 KiB together with maxInline.
const (
	maxName   = 4096
	maxTarget = 4096
	maxOwner  = 1024      // user and group names
	maxGroup  = 256       // LinkGroup
	maxXattr  = 192 << 10 // fits a piece; Linux knows no larger ones than 64 KiB
	maxXName  = 1024
)

// checkName refuses what no directory can hold, and what would make a restore
// leave its target.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no name for an entry", name)
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes is longer than %d", len(name), maxName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the name %q contains a slash or a NUL", name)
	}
	return nil
}

// check proves that the parts of e agree. It is run before encoding and after
// decoding, so that no reader needs to think of trees that contradict
// themselves.
func (e *Entry) check() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if err := e.checkParts(); err != nil {
		return fmt.Errorf("entry %q: %w", e.Name, err)
	}
	return nil
}

func (e *Entry) checkParts() error {
	if err := e.checkNumbers(); err != nil {
		return err
	}
	if err := e.checkType(); err != nil {
		return err
	}
	if len(e.User) > maxOwner || len(e.Group) > maxOwner || len(e.LinkGroup) > maxGroup || len(e.Target) > maxTarget {
		return errors.New("user, group, link group or target is too long")
	}
	if e.Spilled() {
		return e.checkSpill()
	}
	if err := checkXattrs(e.Xattrs); err != nil {
		return err
	}
	if e.Type != File {
		return nil
	}
	return checkSum(e.Size, e.Holes, e.Content)
}

func (e *Entry) checkNumbers() error {
	switch {
	case e.Type < File || e.Type > Socket:
		return fmt.Errorf("type %d is not known", e.Type)
	case e.Mode&^07777 != 0:
		return fmt.Errorf("mode %o has more than permission bits", e.Mode)
	case e.MTime.Nsec >= 1e9 || e.CTime.Nsec >= 1e9:
		return errors.New("a time has a second or more of nanoseconds")
	case e.Size < 0:
		return fmt.Errorf("size %d is negative", e.Size)
	}
	return nil
}

func (e *Entry) checkType() error {
	switch {
	case e.Type != Dir && (e.Tree != (chunk.ID{}) || e.Items != 0 || e.Files != 0):
		return errors.New("only a directory has a listing")
	case e.Type != File && (len(e.Content) > 0 || len(e.Holes) > 0):
		return errors.New("only a file has content")
	case e.Type != Symlink && e.Target != "":
		return errors.New("only a symlink has a target")
	case e.Type != Block && e.Type != Char && (e.Major != 0 || e.Minor != 0):
		return errors.New("only a device has a device number")
	}
	return nil
}

func (e *Entry) checkSpill() error {
	if len(e.Content) > 0 || len(e.Holes) > 0 || len(e.Xattrs) > 0 {
		return errors.New("it has a spill and what spilled: Fill it before changing attributes or content")
	}
	if len(e.Spill.IDs) > maxSpillIDs || e.Spill.Level > 1 {
		return errors.New("its spill is out of bounds")
	}
	return nil
}

func checkXattrs(xs []Xattr) error {
	for i := range xs {
		if n := len(xs[i].Name); n == 0 || n > maxXName || len(xs[i].Value) > maxXattr {
			return errors.New("the name or value of an extended attribute is out of bounds")
		}
		if i > 0 && bytes.Compare(xs[i-1].Name, xs[i].Name) >= 0 {
			return errors.New("extended attributes are not in ascending order")
		}
	}
	return nil
}

// checkSum proves that holes and content together make up size.
func checkSum(size int64, holes []Extent, content []Ref) error {
	data, err := dataSize(size, holes)
	if err != nil {
		return err
	}
	for i := range content {
		if content[i].Length == 0 {
			return errors.New("a chunk of content is empty")
		}
		data -= int64(content[i].Length)
	}
	if data != 0 {
		return fmt.Errorf("size %d, holes and content differ by %d bytes", size, data)
	}
	return nil
}

// dataSize returns what of size lies outside the holes.
func dataSize(size int64, holes []Extent) (int64, error) {
	end, data := int64(0), size
	for _, h := range holes {
		if h.Offset < end || h.Length <= 0 || h.Length > math.MaxInt64-h.Offset || h.Offset+h.Length > size {
			return 0, errors.New("holes are empty, out of order or beyond the end")
		}
		end = h.Offset + h.Length
		data -= h.Length
	}
	return data, nil
}
