package restore

import (
	"encoding/json"
	"fmt"
	"sync"

	"coffer/snapshot"
)

// maxProblems is how many problems a Report keeps; beyond that they are only
// counted. An ordinary user who restores a system has one for each file.
const maxProblems = 1000

// A Report says what a run did, or with DryRun what it would do.
type Report struct {
	Files    uint64 // regular files written
	Dirs     uint64 // directories made
	Symlinks uint64 // symlinks made
	Specials uint64 // devices, fifos and sockets made
	Links    uint64 // further names given to what was restored under another one
	Bytes    int64  // content written, holes not counted
	Changed  uint64 // items that had only other metadata
	Kept     uint64 // items that were there and the same
	Deleted  uint64 // items removed because the snapshot does not have them
	Skipped  uint64 // items that Include and Exclude left out; what is below them is not counted
	Resumed  bool   // an interrupted run was finished

	Problems     []Problem // the first thousand
	ProblemCount uint64    // all of them
}

// A Problem is something about one item that is not as in the snapshot.
type Problem struct {
	Path string // in the snapshot
	What string // "owner", "xattr user.x", "content", ...
	Err  error
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s: %v", p.Path, p.What, p.Err) }

// MarshalJSON writes the error as its text.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Path  string `json:"path"`
		What  string `json:"what"`
		Error string `json:"error"`
	}{p.Path, p.What, p.Err.Error()})
}

// An Action is what was done to an item.
type Action uint8

const (
	Progress Action = iota // part of a file was written; it has no path
	Make                   // there was nothing
	Replace                // what was there differed
	Change                 // only metadata differed
	Keep                   // nothing differed
	Link                   // a further name for an item that is there
	Delete                 // the snapshot does not have it
	Trouble                // it has a Problem
)

// String returns a word for people.
func (a Action) String() string {
	return [...]string{"progress", "make", "replace", "change", "keep", "link", "delete", "problem"}[a]
}

// An Event is something that happened to an item, and how far the run has come.
// Totals are zero where the tree does not know them.
type Event struct {
	Action     Action
	Path       string
	Type       snapshot.Type
	Problem    *Problem
	Items      uint64 // done
	Bytes      int64
	TotalItems uint64
	TotalBytes int64
}

// A reporter collects a Report from all goroutines of a run.
type reporter struct {
	mu    sync.Mutex
	rep   Report
	now   Event // the counts
	event func(Event)
}

func newReporter(g goal, opt Options) *reporter {
	r := &reporter{event: opt.Event}
	r.now.TotalItems, r.now.TotalBytes = g.e.Items, g.e.Size
	if g.e.Type != snapshot.Dir {
		r.now.TotalItems = 1
	}
	return r
}

func (r *reporter) result() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rep
}

// done counts an item. The path is made only if somebody wants to know it.
func (r *reporter) done(a Action, d *dir, name string, e *snapshot.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.count(a, e.Type)
	if a != Delete {
		r.now.Items++
	}
	if e.Type == snapshot.File && a != Link && a != Delete && a != Make && a != Replace {
		r.now.Bytes += e.Size
	}
	if r.event != nil {
		ev := r.now
		ev.Action, ev.Type, ev.Path = a, e.Type, d.below(name)
		r.event(ev)
	}
}

func (rep *Report) count(a Action, t snapshot.Type) {
	switch a {
	case Make, Replace:
		rep.made(t)
	case Change:
		rep.Changed++
	case Keep:
		rep.Kept++
	case Link:
		rep.Links++
	case Delete:
		rep.Deleted++
	}
}

func (rep *Report) made(t snapshot.Type) {
	switch t {
	case snapshot.File:
		rep.Files++
	case snapshot.Dir:
		rep.Dirs++
	case snapshot.Symlink:
		rep.Symlinks++
	default:
		rep.Specials++
	}
}

// wrote counts content. The event is for those who watch one large file.
func (r *reporter) wrote(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Bytes += n
	r.now.Bytes += n
	if r.event != nil && n > 1<<16 {
		r.event(r.now)
	}
}

// passed counts holes, which are part of the total but not written.
func (r *reporter) passed(n int64) {
	if n > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now.Bytes += n
	}
}

func (r *reporter) skipped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Skipped++
}

func (r *reporter) problem(p Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.addProblem(p)
	if r.event != nil {
		ev := r.now
		ev.Action, ev.Path, ev.Problem = Trouble, p.Path, &p
		r.event(ev)
	}
}

func (rep *Report) addProblem(p Problem) {
	if len(rep.Problems) < maxProblems {
		rep.Problems = append(rep.Problems, p)
	}
	rep.ProblemCount++
}
