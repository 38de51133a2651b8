package snapshot

import (
	"bytes"
	"context"
	"iter"
	"slices"
)

// Fields returns the names of what differs between two entries, in a fixed
// order: type, size, target, device, mode, uid, gid, user, group, mtime, flags,
// content, holes, xattrs. What only the source's file system knows (inode,
// ctime, links) does not count, and neither does what lies below a directory.
func Fields(ctx context.Context, l Loader, a, b *Entry) ([]string, error) {
	out := plainFields(a, b)
	if slices.Equal(a.Spill.IDs, b.Spill.IDs) && a.Spill.Level == b.Spill.Level && a.Spilled() {
		return out, nil
	}
	more, err := bulkFields(ctx, l, a, b)
	return append(out, more...), err
}

func plainFields(a, b *Entry) []string {
	var out []string
	differ := func(name string, yes bool) {
		if yes {
			out = append(out, name)
		}
	}
	differ("type", a.Type != b.Type)
	differ("size", a.Size != b.Size && (a.Type == File || b.Type == File))
	differ("target", a.Target != b.Target)
	differ("device", a.Major != b.Major || a.Minor != b.Minor)
	differ("mode", a.Mode != b.Mode)
	differ("uid", a.UID != b.UID)
	differ("gid", a.GID != b.GID)
	differ("user", a.User != b.User)
	differ("group", a.Group != b.Group)
	differ("mtime", a.MTime != b.MTime)
	differ("flags", a.Flags != b.Flags)
	return out
}

// bulkFields compares what may have spilled.
func bulkFields(ctx context.Context, l Loader, a, b *Entry) ([]string, error) {
	xa, ha, err := Attrs(ctx, l, a)
	if err != nil {
		return nil, err
	}
	xb, hb, err := Attrs(ctx, l, b)
	if err != nil {
		return nil, err
	}
	var out []string
	same, err := sameContent(ctx, l, a, b)
	if !same {
		out = append(out, "content")
	}
	if !slices.Equal(ha, hb) {
		out = append(out, "holes")
	}
	if !slices.EqualFunc(xa, xb, equalXattr) {
		out = append(out, "xattrs")
	}
	return out, err
}

func equalXattr(a, b Xattr) bool {
	return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
}

func sameContent(ctx context.Context, l Loader, a, b *Entry) (bool, error) {
	if !a.Spilled() && !b.Spilled() {
		return slices.Equal(a.Content, b.Content), nil
	}
	next, stop := iter.Pull2(Refs(ctx, l, b))
	defer stop()
	for ra, err := range Refs(ctx, l, a) {
		if err != nil {
			return false, err
		}
		rb, err, ok := next()
		if err != nil || !ok || ra != rb {
			return false, err
		}
	}
	_, err, more := next()
	return !more, err
}
