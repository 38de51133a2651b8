package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

// A fakeTree has listings that no decoder would let through.
type fakeTree struct {
	listings map[chunk.ID][]*snapshot.Entry
	data     []byte
}

func (f *fakeTree) list(_ context.Context, e *snapshot.Entry) iter.Seq2[*snapshot.Entry, error] {
	return func(yield func(*snapshot.Entry, error) bool) {
		for _, c := range f.listings[e.Tree] {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (f *fakeTree) attrs(_ context.Context, e *snapshot.Entry) ([]snapshot.Xattr, []snapshot.Extent, error) {
	return e.Xattrs, e.Holes, nil
}

func (f *fakeTree) refs(_ context.Context, e *snapshot.Entry) iter.Seq2[snapshot.Ref, error] {
	return func(yield func(snapshot.Ref, error) bool) {
		for _, ref := range e.Content {
			if !yield(ref, nil) {
				return
			}
		}
	}
}

func (f *fakeTree) each(_ context.Context, ids []chunk.ID, fn func(int, []byte, error) error) error {
	for i := range ids {
		if err := fn(i, f.data, nil); err != nil {
			return err
		}
	}
	return nil
}

func evil(name string) *snapshot.Entry {
	return &snapshot.Entry{
		Name: name, Type: snapshot.File, Mode: 0o644, Size: 4, Content: []snapshot.Ref{{ID: chunk.ID{9}, Length: 4}},
	}
}

func TestHostileTrees(t *testing.T) {
	sub := chunk.ID{2}
	dir := func(name string) *snapshot.Entry {
		return &snapshot.Entry{Name: name, Type: snapshot.Dir, Mode: 0o755, Tree: sub}
	}
	link := func(name, target string) *snapshot.Entry {
		return &snapshot.Entry{Name: name, Type: snapshot.Symlink, Target: target}
	}
	for name, entries := range map[string][]*snapshot.Entry{
		"dotdot":           {evil("..")},
		"dotdot directory": {dir("..")},
		"dot":              {dir("."), evil(".")},
		"empty name":       {evil(""), dir("")},
		"slash":            {evil("../outside"), evil("/tmp/outside"), evil("a/b"), dir("../outdir")},
		"NUL":              {evil("a\x00b"), dir("\x00")},
		"long":             {evil(strings.Repeat("x", 256)), dir(strings.Repeat("y", 5000))},
		"link then child":  {link("x", "../outdir"), dir("x")},
		"link to /":        {link("x", "/"), dir("x")},
		"link then file":   {link("x", "../outside"), evil("x")},
		"hard link out": {
			link("x", ".."),
			{Name: "y", Type: snapshot.File, LinkGroup: "g", Links: 9, Size: 4, Content: evil("").Content},
			{Name: "../outlink", Type: snapshot.File, LinkGroup: "g", Links: 9},
		},
		"mixed group": {
			{Name: "y", Type: snapshot.Symlink, Target: "../outside", LinkGroup: "g", Links: 9},
			{Name: "z", Type: snapshot.File, Size: 4, LinkGroup: "g", Links: 9, Content: evil("").Content},
		},
		"time":  {{Name: "t", Type: snapshot.Fifo, MTime: snapshot.Time{Nsec: unix.UTIME_NOW}}},
		"type":  {{Name: "t", Type: 99}},
		"mode":  {{Name: "t", Type: snapshot.Fifo, Mode: unix.S_IFCHR}},
		"size":  {{Name: "t", Type: snapshot.File, Size: 1, Holes: []snapshot.Extent{{Length: 1}}, Content: evil("").Content}},
		"xattr": {{Name: "t", Type: snapshot.File, Xattrs: []snapshot.Xattr{{Name: []byte("../x\x00")}}}},
		"short": {{Name: "t", Type: snapshot.File, Size: 5, Content: []snapshot.Ref{{ID: chunk.ID{9}, Length: 5}}}},
	} {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, inPlace), func(t *testing.T) {
				base := t.TempDir()
				put(t, base, "outside untouched\noutdir/file untouched\ntarget/")
				before := treeOf(t, base)
				tree := &fakeTree{data: []byte("evil"), listings: map[chunk.ID][]*snapshot.Entry{
					{1}: entries, sub: {evil("file"), evil("child")},
				}}
				e := &snapshot.Entry{Name: "/", Type: snapshot.Dir, Tree: chunk.ID{1}}
				g := goal{at: "/", e: e, target: base + "/target"}
				rep, err := runOnce(context.Background(), tree, g, Options{InPlace: inPlace})
				if err != nil {
					t.Fatal(err)
				}
				after := treeOf(t, base)
				for path := range after {
					if strings.HasPrefix(path, "target/") {
						delete(after, path)
					}
				}
				sameTree(t, after, before)
				if rep.ProblemCount == 0 && !inPlace && !strings.Contains(name, "mixed") {
					t.Errorf("no problem reported: %+v", rep)
				}
			})
		}
	}
}

// A symlink that stands where a directory should be is replaced in place, and
// what it leads to is left alone.
func TestSymlinkInTheWay(t *testing.T) {
	src, base := t.TempDir(), t.TempDir()
	put(t, src, "dir/file new\ndir/sub/file new")
	put(t, base, "outdir/file untouched\noutdir/extra untouched\ntarget/")
	symlink(t, base+"/outdir", base+"/target/dir")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	restoreTo(t, &mem, root, "/src", base+"/target", Options{InPlace: true, Delete: true})
	sameTree(t, treeOf(t, base+"/target"), treeOf(t, src))
	sameTree(t, treeOf(t, base+"/outdir"), map[string]string{"file": "untouched", "extra": "untouched"})
}

// Somebody swaps directories of the target for symlinks to the outside, over and
// over. Nothing may appear there.
func TestDirectoriesSwappedDuringTheRun(t *testing.T) {
	src, base := t.TempDir(), t.TempDir()
	for i := range 400 {
		put(t, src, fmt.Sprintf("d%d/sub/f%d new", i%4, i))
	}
	put(t, base, "outdir/sub/")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	stop, stopped := make(chan struct{}), make(chan struct{})
	target := base + "/target"
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			d := fmt.Sprintf("%s/d%d", target, i%4)
			if os.Rename(d, d+".away") == nil {
				_ = os.Symlink(base+"/outdir", d)
				_ = os.Remove(d)
				_ = os.Rename(d+".away", d)
			}
		}
	}()
	for range 20 {
		// Problems and errors are right here; writing elsewhere is not.
		_, _ = runOnceSmallCache(t, &mem, root, target)
		sameTree(t, treeOf(t, base+"/outdir"), map[string]string{"sub": "d---------"})
	}
	close(stop)
	<-stopped
}

// runOnceSmallCache opens directories again and again, so that there is a chance
// to get the wrong one.
func runOnceSmallCache(t *testing.T, mem *snapshottest.Mem, root chunk.ID, target string) (Report, error) {
	t.Helper()
	g := goal{root: root, at: "/src", e: resolve(t, mem, root, "/src"), target: target}
	r := newRun(storedTree{mem}, g, Options{InPlace: true, Delete: true})
	r.fds.max = 1
	err := r.all(context.Background())
	return r.rep.result(), err
}

func TestMovedDirectoryIsNoticed(t *testing.T) {
	src, base := t.TempDir(), t.TempDir()
	put(t, src, "a/1 x\nb/2 x\nc/3 x")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	target := base + "/target"
	g := goal{root: root, at: "/src", e: resolve(t, &mem, root, "/src"), target: target}
	r := newRun(storedTree{&mem}, g, Options{Event: func(ev Event) {
		if ev.Path == "/src/b" && ev.Action == Make {
			must(t, os.Rename(target+"/a", base+"/gone"))
			must(t, os.Mkdir(target+"/a", 0o700))
		}
	}})
	r.fds.max = 1
	must(t, r.all(context.Background()))
	rep := r.rep.result()
	if len(rep.Problems) == 0 || !errors.Is(rep.Problems[0].Err, errMoved) {
		t.Errorf("problems: %v", rep.Problems)
	}
	sameTree(t, treeOf(t, filepath.Join(base, "gone")), map[string]string{})
}

func TestNothingIsOpenedThroughSymlinks(t *testing.T) {
	base := t.TempDir()
	put(t, base, "dir/file x")
	symlink(t, "dir", base+"/todir")
	symlink(t, "dir/file", base+"/tofile")
	fd, err := openPath(base)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	for name, flags := range map[string]int{"todir": openDir, "tofile": unix.O_WRONLY} {
		if got, err := openat(fd, name, flags, 0); err == nil {
			_ = unix.Close(got)
			t.Errorf("%s was followed", name)
		}
	}
}

func TestTreeWithoutEnd(t *testing.T) {
	tree := &fakeTree{listings: map[chunk.ID][]*snapshot.Entry{
		{1}: {{Name: "again", Type: snapshot.Dir, Mode: 0o755, Tree: chunk.ID{1}}},
	}}
	e := &snapshot.Entry{Name: "/", Type: snapshot.Dir, Tree: chunk.ID{1}}
	rep, err := runOnce(context.Background(), tree, goal{at: "/", e: e, target: t.TempDir() + "/none"}, Options{DryRun: true})
	if err != nil || rep.ProblemCount != 1 || rep.Dirs != maxDepth {
		t.Errorf("error %v, %d directories, %d problems", err, rep.Dirs, rep.ProblemCount)
	}
}
