package rewrite_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"coffer/bucket/mem"
	"coffer/chunk"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/source"
	"coffer/store"
)

var secret = seal.Secret{Kind: seal.KeyFile, Value: []byte("x")}

// A world is a repository.
type world struct {
	testing.TB
	b  *mem.Bucket
	st *store.Store
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, b: mem.New()}
	_, err := store.Init(t.Context(), w.b, store.Env{}, store.InitOptions{Secret: secret, Pack: 64 << 10})
	w.ok(err)
	w.st, err = store.Open(t.Context(), w.b, store.Env{Level: seal.Off}, secret)
	w.ok(err)
	t.Cleanup(func() { w.ok(w.st.Close()) })
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// files is a tree by path. What ends in a slash is a directory; others are files
// with that content, or symlinks if it begins with "->".
type files map[string]string

// tree saves the entries below a path, directories with all they hold.
func (f files) tree(ctx context.Context, s snapshot.Saver, at string) (chunk.ID, snapshot.Totals, error) {
	below := map[string]bool{}
	for p := range f {
		if rest, ok := strings.CutPrefix(p, at); ok && rest != "" {
			name, _, _ := strings.Cut(rest, "/")
			below[name] = true
		}
	}
	l := snapshot.NewListing(s)
	for _, name := range slices.Sorted(maps.Keys(below)) {
		e, err := f.entry(ctx, s, at+name)
		if err == nil {
			err = l.Add(ctx, e)
		}
		if err != nil {
			return chunk.ID{}, snapshot.Totals{}, err
		}
	}
	return l.Close(ctx)
}

func (f files) entry(ctx context.Context, s snapshot.Saver, p string) (*snapshot.Entry, error) {
	e := &snapshot.Entry{Name: path.Base(p), Mode: 0o640, UID: 7, MTime: snapshot.Time{Sec: int64(len(p))}}
	content, leaf := f[p]
	switch target, link := strings.CutPrefix(content, "->"); {
	case !leaf:
		tree, sum, err := f.tree(ctx, s, p+"/")
		e.Type, e.Tree, e.Items, e.Files, e.Size = snapshot.Dir, tree, sum.Items, sum.Files, sum.Bytes
		return e, err
	case link:
		e.Type, e.Target, e.Size = snapshot.Symlink, target, int64(len(target))
		return e, nil
	}
	e.Type, e.LinkGroup = snapshot.File, snapshot.LinkGroup("0."+content[:min(len(content), 20)])
	for _, part := range strings.SplitAfter(content, "|") { // one chunk each
		if part == "" {
			continue
		}
		id, err := s.Save(ctx, chunk.Data, []byte(part))
		if err != nil {
			return nil, err
		}
		e.Content = append(e.Content, snapshot.Ref{ID: id, Length: uint32(len(part))})
		e.Size += int64(len(part))
	}
	return e, nil
}

// backup commits f as a snapshot of roots.
func (w *world) backup(f files, roots ...string) {
	w.Helper()
	m := snapshot.Manifest{State: snapshot.WithErrors, Host: "h", Name: "default", Sequence: uint64(len(w.snaps()) + 1), Tags: []string{"t"},
		NewBytes: 5, Stored: 6, Errors: 3, Warned: 3, Excludes: []string{"*.old"},
		Warnings: []snapshot.Warning{{Path: "/home/a/secret", Text: "no"}, {Path: "/home/b", Text: "kept"}, {Path: "/home/a/key/x/y", Text: "no"}}}
	m.Effective.Sec = int64(m.Sequence)
	for _, at := range roots {
		m.Sources = append(m.Sources, snapshot.Source{Kind: "path", Spec: at, At: at})
	}
	_, err := w.st.Write(w.Context(), func(ctx context.Context, s *store.Session) ([]byte, error) {
		tree, sum, err := f.tree(ctx, s, "/")
		if err != nil {
			return nil, err
		}
		m.Root, m.Items, m.Files, m.Bytes = tree, sum.Items, sum.Files, sum.Bytes
		if slices.Contains(roots, "/") {
			top := &snapshot.Entry{Name: "root", Type: snapshot.Dir, Mode: 0o711, Tree: tree, Items: sum.Items, Files: sum.Files, Size: sum.Bytes}
			if m.Top, err = snapshot.EncodeEntry(top); err != nil {
				return nil, err
			}
		}
		return snapshot.EncodeManifest(&m)
	})
	w.ok(err)
}

// commit makes another commit of a snapshot.
func (w *world) commit(s snapshot.Snapshot, change func(*snapshot.Manifest)) string {
	w.Helper()
	m := s.Manifest
	m.Original = s.ID
	change(&m)
	c, err := w.st.Write(w.Context(), func(context.Context, *store.Session) ([]byte, error) { return snapshot.EncodeManifest(&m) })
	w.ok(err)
	return c.ID
}

// snaps returns all snapshots, also the forgotten ones.
func (w *world) snaps() []snapshot.Snapshot {
	w.Helper()
	w.ok(w.st.Refresh(w.Context()))
	commits, err := w.st.Commits(w.Context())
	w.ok(err)
	records := make([]snapshot.Record, len(commits))
	for i, c := range commits {
		records[i] = snapshot.Record(c)
	}
	all, err := snapshot.Collect(records, nil)
	w.ok(err)
	return all
}

func (w *world) find(id string) snapshot.Snapshot {
	w.Helper()
	for _, s := range w.snaps() {
		if s.ID == id {
			return s
		}
	}
	w.Fatalf("there is no snapshot %q", id)
	return snapshot.Snapshot{}
}

// listed is what an oracle compares: entries by path. Directories stand without
// what sums up their listing, which is in dirs.
type listed struct {
	entries []string
	dirs    map[string]snapshot.Entry
}

func (w *world) list(l snapshot.Loader, root chunk.ID, leave func(p string, e *snapshot.Entry) bool) listed {
	w.Helper()
	out := listed{dirs: map[string]snapshot.Entry{}}
	err := snapshot.Walk(w.Context(), l, root, "/", func(p string, e *snapshot.Entry) error {
		if p != "/" && leave(p, e) {
			if e.Type == snapshot.Dir {
				return fs.SkipDir
			}
			return nil
		}
		shown := *e
		if e.Type == snapshot.Dir {
			out.dirs[p] = *e
			shown.Tree, shown.Items, shown.Files, shown.Size = chunk.ID{}, 0, 0, 0
		}
		out.entries = append(out.entries, fmt.Sprintf("%s %+v", p, shown))
		return nil
	})
	w.ok(err)
	return out
}

func none(string, *snapshot.Entry) bool { return false }

// matches is what a backup with the patterns would leave out, and a root that
// they name: worked out anew for each path.
func matches(t testing.TB, roots []string, patterns []source.Pattern) func(string, *snapshot.Entry) bool {
	return func(p string, e *snapshot.Entry) bool {
		base := ""
		for _, at := range roots {
			if p != at && strings.HasPrefix(p, strings.TrimSuffix(at, "/")+"/") {
				base = at
			}
		}
		m, err := source.Compile(patterns, base)
		if err != nil {
			t.Fatal(err)
		}
		return m.Excluded(strings.TrimPrefix(strings.TrimPrefix(p, base), "/"), e.Type == snapshot.Dir)
	}
}

func patterns(texts ...string) (list []source.Pattern) {
	for _, text := range texts {
		list = append(list, source.Pattern{Text: text})
	}
	return list
}
