package restore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

const aclPrefix = "system.posix_acl_"

// setPlainXattrs sets all attributes but ACLs, and removes what should not be.
func (it *item) setPlainXattrs(n inode, h *have) (bool, error) {
	removed, err := it.removeExtra(n, h)
	if err != nil {
		return removed, err
	}
	did, err := it.setXattrs(n, h, false)
	return did || removed, err
}

// setACLs comes after the mode. An ACL that was there may have made the mode
// other than it was.
func (it *item) setACLs(n inode, h *have) (bool, error) { return it.setXattrs(n, h, true) }

func (it *item) setXattrs(n inode, h *have, acls bool) (changed bool, err error) {
	for i := range it.attrs {
		x := &it.attrs[i]
		name := string(x.Name)
		if strings.HasPrefix(name, aclPrefix) != acls {
			continue
		}
		did, err := it.setXattr(n, h, name, x.Value)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (it *item) setXattr(n inode, h *have, name string, value []byte) (bool, error) {
	if h.exact {
		if has, err := n.getXattr(name); err == nil && bytes.Equal(has, value) {
			return false, nil
		}
	}
	err := n.setXattr(name, value)
	if errors.Is(err, unix.ENOSPC) {
		// ext4 says this of a full attribute block. If the disk is full,
		// the next write will say so too.
		err = fmt.Errorf("no room for the attribute (%d bytes)", len(value))
	}
	return err == nil, it.problem("xattr "+name, err)
}

// removeExtra removes the attributes that the entry does not have.
func (it *item) removeExtra(n inode, h *have) (changed bool, err error) {
	if !h.exact {
		return false, nil
	}
	extra, err := it.extraXattrs(n)
	if err != nil {
		return false, it.problem("xattrs", err)
	}
	for _, name := range extra {
		if err := n.removeXattr(name); err != nil {
			return changed, it.problem("xattr "+name, err)
		}
		changed = true
		if strings.HasPrefix(name, aclPrefix) {
			h.mode = unknownMode // the bits of the group were the mask
		}
	}
	return changed, nil
}

func (it *item) extraXattrs(n inode) ([]string, error) {
	names, err := n.listXattrs()
	if err != nil {
		return nil, err
	}
	var extra []string
	for _, name := range names {
		if chosenByUser(name) && !hasXattr(it.attrs, name) {
			extra = append(extra, name)
		}
	}
	return extra, nil
}

// chosenByUser reports whether an attribute is there because somebody set it:
// labels of security modules are on every file.
func chosenByUser(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") ||
		strings.HasPrefix(name, aclPrefix) || name == "security.capability"
}

func hasXattr(xs []snapshot.Xattr, name string) bool {
	for i := range xs {
		if string(xs[i].Name) == name {
			return true
		}
	}
	return false
}

func (it *item) sameXattrs(n inode) (bool, error) {
	extra, err := it.extraXattrs(n)
	if err != nil || len(extra) > 0 {
		return false, err
	}
	for i := range it.attrs {
		has, err := n.getXattr(string(it.attrs[i].Name))
		if err != nil || !bytes.Equal(has, it.attrs[i].Value) {
			return false, nil
		}
	}
	return true, nil
}
