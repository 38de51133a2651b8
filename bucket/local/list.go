package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"coffer/bucket"
	"coffer/bucket/local/internal/disk"
)

// List implements bucket.Bucket. It holds the names of one directory and those
// above it, never those of the repository.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		l := lister{b, ctx, prefix, after, yield}
		entries, err := b.root()
		if err != nil {
			l.fail(err)
			return
		}
		l.walk("", entries)
	}
}

// A lister is one listing under way. Its methods report whether to go on.
type lister struct {
	b             *Bucket
	ctx           context.Context
	prefix, after string
	yield         func(bucket.Info, error) bool
}

func (l *lister) fail(err error) bool {
	l.yield(bucket.Info{}, fmt.Errorf("list %s: %w", l.prefix, err))
	return false
}

// walk visits the entries of a directory in the order of the names of all the
// objects below: "a-b" comes before "a/b", so a directory sorts with its slash.
func (l *lister) walk(dir string, entries []disk.Entry) bool {
	for _, name := range l.sorted(dir, entries) {
		if err := l.ctx.Err(); err != nil {
			return l.fail(err)
		}
		if !l.visit(name) {
			return false
		}
	}
	if err := l.ctx.Err(); err != nil {
		return l.fail(err)
	}
	return true
}

// sorted leaves out what the listing does not want before it sorts.
func (l *lister) sorted(dir string, entries []disk.Entry) []string {
	var names []string
	for _, e := range entries {
		name := dir + e.Name
		switch {
		case !bucket.ValidName(name) || ours(name):
		case e.Dir && l.wantsBelow(name+"/"):
			names = append(names, name+"/")
		case e.Regular && name > l.after && strings.HasPrefix(name, l.prefix):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wantsBelow reports whether a directory can have a name that is wanted.
func (l *lister) wantsBelow(dir string) bool {
	if !strings.HasPrefix(dir, l.prefix) && !strings.HasPrefix(l.prefix, dir) {
		return false
	}
	return dir > l.after || strings.HasPrefix(l.after, dir)
}

// visit passes over what has been deleted since the directory was read.
func (l *lister) visit(name string) bool {
	if dir, isDir := strings.CutSuffix(name, "/"); isDir {
		entries, err := l.b.fs.ReadDir(l.b.path(dir))
		if err != nil {
			return l.passOver(err)
		}
		return l.walk(name, entries)
	}
	info, err := l.b.fs.Stat(l.b.path(name))
	if err != nil {
		return l.passOver(err)
	}
	return l.yield(bucket.Info{Name: name, Size: info.Size}, nil)
}

// passOver goes on if something is just missing, and the repository is not.
func (l *lister) passOver(err error) bool {
	if err := l.b.missing(err); !errors.Is(err, fs.ErrNotExist) {
		return l.fail(err)
	}
	return true
}
