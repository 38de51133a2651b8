package snapshot

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"coffer/chunk"
)

// FS returns a view of the listing root as a file system. Open and Stat follow
// symlinks within it, where absolute targets start at root. It is also an
// fs.ReadDirFS, fs.StatFS and fs.ReadLinkFS; files are Readers, hence
// io.ReaderAt and io.Seeker. Names that are not UTF-8 are listed and can be
// opened, which other file systems may not allow. ctx is for all its calls.
func FS(ctx context.Context, l Loader, root chunk.ID) fs.FS {
	return &view{ctx: ctx, loader: l, root: root}
}

type view struct {
	ctx    context.Context
	loader Loader
	root   chunk.ID
}

// maxFollow is how many symlinks a path may lead through, as in Linux.
const maxFollow = 40

var errLoop = errors.New("too many symlinks")

// lookup finds the entry of a name, following symlinks: the last one only if
// follow is set.
func (v *view) lookup(op, name string, follow bool) (*Entry, error) {
	// Names need not be UTF-8 here, which is all that ValidPath would mind.
	if !fs.ValidPath(strings.ToValidUTF8(name, "?")) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, err := v.resolve(name, follow)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

func (v *view) resolve(name string, follow bool) (*Entry, error) {
	dirs := []*Entry{rootEntry(v.root)}
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		e, err := v.enter(dirs[len(dirs)-1], todo[0])
		if err != nil {
			return nil, err
		}
		up := todo[0] == ".."
		todo = todo[1:]
		switch {
		case up:
			dirs = dirs[:max(1, len(dirs)-1)]
		case e == nil:
		case e.Type == Symlink && (follow || len(todo) > 0):
			if links++; links > maxFollow {
				return nil, errLoop
			}
			if strings.HasPrefix(e.Target, "/") {
				dirs = dirs[:1]
			}
			todo = append(strings.Split(e.Target, "/"), todo...)
		default:
			dirs = append(dirs, e)
		}
	}
	return dirs[len(dirs)-1], nil
}

// enter looks up one element of a path; the entry is nil for those that name
// no entry.
func (v *view) enter(dir *Entry, name string) (*Entry, error) {
	if dir.Type != Dir {
		return nil, fs.ErrNotExist
	}
	if name == "" || name == "." || name == ".." {
		return nil, nil
	}
	e, err := Lookup(v.ctx, v.loader, dir.Tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fs.ErrNotExist
	}
	return e, err
}

func (v *view) Open(name string) (fs.File, error) {
	e, err := v.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	info := Info(e, path.Base(name))
	switch e.Type {
	case Dir:
		return &dirFile{view: v, info: info, name: name, tree: e.Tree}, nil
	case File:
		return &file{Reader: NewReader(v.ctx, v.loader, e), info: info}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("neither a file nor a directory")}
}

func (v *view) Stat(name string) (fs.FileInfo, error) {
	e, err := v.lookup("stat", name, true)
	if err != nil {
		return nil, err
	}
	return Info(e, path.Base(name)), nil
}

func (v *view) Lstat(name string) (fs.FileInfo, error) {
	e, err := v.lookup("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return Info(e, path.Base(name)), nil
}

func (v *view) ReadLink(name string) (string, error) {
	e, err := v.lookup("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.Type != Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return e.Target, nil
}

func (v *view) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := v.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if e.Type != Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	d := dirFile{view: v, name: name, tree: e.Tree}
	return d.ReadDir(-1)
}

// A file is an open regular file.
type file struct {
	*Reader
	info fs.FileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// A dirFile is an open directory. It holds its place by name.
type dirFile struct {
	view  *view
	info  fs.FileInfo
	name  string
	tree  chunk.ID
	after string
}

func (d *dirFile) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dirFile) Close() error               { return nil }

func (d *dirFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	out := []fs.DirEntry{}
	for e, err := range List(d.view.ctx, d.view.loader, d.tree, d.after) {
		if err != nil {
			return out, &fs.PathError{Op: "readdir", Path: d.name, Err: err}
		}
		out = append(out, fs.FileInfoToDirEntry(Info(e, e.Name)))
		d.after = e.Name
		if len(out) == n {
			break
		}
	}
	if n > 0 && len(out) == 0 {
		return out, io.EOF
	}
	return out, nil
}

// Info returns e as an fs.FileInfo with a name; its Sys is e.
func Info(e *Entry, name string) fs.FileInfo { return info{entry: e, name: name} }

type info struct {
	entry *Entry
	name  string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.entry.Size }
func (i info) Mode() fs.FileMode  { return i.entry.FileMode() }
func (i info) ModTime() time.Time { return i.entry.MTime.AsTime() }
func (i info) IsDir() bool        { return i.entry.Type == Dir }
func (i info) Sys() any           { return i.entry }

// FileMode returns type and permissions as package io/fs has them.
func (e *Entry) FileMode() fs.FileMode {
	m := fs.FileMode(e.Mode & 0o777)
	for _, b := range []struct {
		bit  uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if e.Mode&b.bit != 0 {
			m |= b.mode
		}
	}
	return m | e.Type.fileMode()
}

func (t Type) fileMode() fs.FileMode {
	switch t {
	case Dir:
		return fs.ModeDir
	case Symlink:
		return fs.ModeSymlink
	case Block:
		return fs.ModeDevice
	case Char:
		return fs.ModeDevice | fs.ModeCharDevice
	case Fifo:
		return fs.ModeNamedPipe
	case Socket:
		return fs.ModeSocket
	}
	return 0
}
