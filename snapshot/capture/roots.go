package capture

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"coffer/snapshot"
	"coffer/source"
)

// A rootRun is one root under way.
type rootRun struct {
	Root
	source  string // absolute path at the source
	at      string // absolute path in the snapshot
	tree    *source.Tree
	matcher *source.Matcher
	node    *node // if it is a directory
	entry   snapshot.Entry
	ready   bool // entry is final
	same    bool // as in the first parent
	err     error
	begun   time.Time
	took    time.Duration
}

// openRoots opens all roots before any is read, so that file systems are
// numbered alike in every run. A root that cannot be opened is remembered as
// failed; the others go on.
func (e *engine) openRoots() ([]*rootRun, error) {
	opt := e.opt.Source
	if opt.Host == nil {
		opt.Host = source.NewHost()
	}
	var runs []*rootRun
	for _, r := range e.opt.Roots {
		run := &rootRun{Root: r, begun: e.opt.Now()}
		if err := e.openRoot(run, opt); err != nil {
			return runs, err
		}
		runs = append(runs, run)
	}
	return runs, e.checkPlaces(runs)
}

// openRoot fills in a root. Only a mistake in the options is returned; what
// goes wrong with the root is remembered in it.
func (e *engine) openRoot(run *rootRun, opt source.Options) error {
	from := run.Path
	if run.Follow {
		if target, err := followed(from); err == nil {
			from = target
		}
	}
	run.at = absolute(run.Path)
	if run.At != "" {
		run.at = path.Join("/", run.At)
	}
	tree, entry, err := source.OpenRoot(from, opt)
	if err != nil {
		run.err = err
		return nil
	}
	run.tree, run.entry, run.source = tree, *entry, tree.Path()
	if err := tree.Incomplete(); err != nil {
		e.miss(run.source, err)
	}
	if run.at != "/" {
		run.entry.Name = path.Base(run.at)
	}
	if entry.Type == snapshot.Symlink {
		e.warn(run.source, fmt.Sprintf("is a symbolic link to %q and is saved as one; use --follow-root to save what it points to", entry.Target))
	}
	run.matcher, err = source.Compile(e.opt.Patterns, run.source)
	return err
}

// checkPlaces refuses sources that would stand in the same place, or one within
// another.
func (e *engine) checkPlaces(runs []*rootRun) error {
	var places []string
	for _, run := range runs {
		places = append(places, run.at)
	}
	for _, st := range e.opt.Streams {
		places = append(places, path.Join("/", st.At))
	}
	for i, a := range places {
		for j, b := range places {
			if i != j && within(a, b) {
				return fmt.Errorf("%w: %s would stand in the place of %s in the snapshot, or within it; leave one out, or use --as to give it a place of its own",
					ErrOptions, a, b)
			}
		}
	}
	return nil
}

// within reports whether a is b or lies below it.
func within(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/")
}

// ErrOptions marks mistakes in the options, as opposed to things that went
// wrong.
var ErrOptions = errors.New("these sources do not go together")

// task returns what begins the work on a root.
func (e *engine) task(run *rootRun) func() {
	before := e.priorsAt(run.at)
	if run.entry.Type == snapshot.Dir {
		run.node = &node{e: e, root: run, path: run.source, entry: run.entry, priors: before, priorLen: -1}
		run.node.deliver = func(en *snapshot.Entry, same bool) { run.done(e, *en, same) }
		return func() { run.node.open(run.tree.Dir) }
	}
	return func() {
		en := run.entry
		details := func() error { return nil } // OpenRoot has read them
		state, same := e.leaf(&en, before, run.tree.File, details, func() string { return run.source })
		if state != done {
			run.err = errors.New("it could not be read")
		}
		run.done(e, en, same)
	}
}

func (run *rootRun) done(e *engine, en snapshot.Entry, same bool) {
	e.gate.RLock()
	defer e.gate.RUnlock()
	run.entry, run.ready, run.same = en, run.err == nil, same
	run.took = e.opt.Now().Sub(run.begun)
}

// priorsAt returns what each parent has at a path.
func (e *engine) priorsAt(at string) []prior {
	found := make([]prior, len(e.parents))
	for i, p := range e.parents {
		found[i].read = p.read
		if en, err := snapshot.Resolve(e.ctx, e, p.Root, at); err == nil {
			found[i].entry = en
		}
	}
	return found
}

// close closes what a root holds open.
func (run *rootRun) close() {
	if run.node != nil && !run.ready {
		run.node.abandon()
	}
	if run.tree != nil {
		_ = run.tree.Close() // it was only read
	}
}

// A top is a directory above the roots, or a root, while the top of the tree is
// put together.
type top struct {
	entry snapshot.Entry
	leaf  bool
	below map[string]*top
}

// place puts an entry at an absolute path. Directories on the way are made with
// what is known of them.
func (t *top) place(at string, en snapshot.Entry, above []snapshot.Entry) {
	parts := strings.FieldsFunc(at, func(r rune) bool { return r == '/' })
	for i, name := range parts {
		if t.below == nil {
			t.below = map[string]*top{}
		}
		next, ok := t.below[name]
		if !ok {
			next = &top{entry: snapshot.Entry{Name: name, Type: snapshot.Dir, Mode: 0o755}}
			t.below[name] = next
		}
		if i+1 < len(above) && len(above) == len(parts) {
			next.entry = above[i+1]
		}
		t = next
	}
	if len(parts) > 0 {
		t.entry, t.leaf = en, true
	}
}

// save writes the listings of t from below and returns its entry.
func (t *top) save(ctx context.Context, saver snapshot.Saver) (snapshot.Entry, error) {
	if t.leaf {
		return t.entry, nil
	}
	l := snapshot.NewListing(saver)
	for _, name := range sortedNames(t.below) {
		en, err := t.below[name].save(ctx, saver)
		if err == nil {
			err = l.Add(ctx, &en)
		}
		if err != nil {
			return en, err
		}
	}
	tree, sum, err := l.Close(ctx)
	t.entry.Tree, t.entry.Items, t.entry.Files, t.entry.Size = tree, sum.Items, sum.Files, sum.Bytes
	return t.entry, err
}
