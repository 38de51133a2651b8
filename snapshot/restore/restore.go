// Package restore writes a snapshot, or a part of one, to a directory.
//
// The contract of Run:
//
//   - What it leaves is an exact copy: types, names, content, hard links, owner,
//     mode, times in ns, extended attributes, ACLs, inode flags, and holes where
//     the source had them. What it could not make so is in Report.Problems.
//   - A whole snapshot gives its absolute paths below the target. A directory of
//     a snapshot gives its contents in the target, and the target its metadata.
//     Anything else of a snapshot gives one entry in the target.
//   - A target with anything in it is refused and left as it is, unless
//     Options.InPlace says otherwise or a restore of the same thing was
//     interrupted there, which is then finished.
//   - Nothing outside of the target is ever written, whatever the tree says and
//     whoever moves things in the target meanwhile. Everything below the target
//     is reached from the descriptor of its directory, by a single name that is
//     never followed if it is a symlink.
//   - A name shows a file with all of its content and metadata, or what was
//     there before. Only inode flags come after the name, because an immutable
//     file can not be given one.
//   - One damaged item does not keep others from being restored. What would fail
//     for all (no space, read-only, an I/O error, the end of the context) ends
//     the run with an error, and running again goes on from there.
//   - When Run has returned without an error, what it wrote is on disk.
//
// Memory is bounded by the two batches of content that are in progress, not by
// the size of the tree, except for hard links: each group of names that is
// not complete costs some hundred bytes.
package restore

import (
	"context"
	"errors"
	"fmt"
	"path"

	"coffer/chunk"
	"coffer/snapshot"
)

// ErrNotEmpty is what Run refuses a target with that has anything in it.
var ErrNotEmpty = errors.New("the target directory is not empty")

// ErrBusy is what Run refuses a target with that another run is writing to.
var ErrBusy = errors.New("another restore is writing to the target")

// Options say what to restore and how. The zero value makes an exact copy in an
// empty directory.
type Options struct {
	InPlace  bool // accept a target with something in it and write only what differs
	Delete   bool // with InPlace: remove what the snapshot does not have
	Checksum bool // with InPlace: compare content, in place of size and time
	DryRun   bool // change nothing, report what would be done
	Verify   bool // read everything back when done, and report what differs

	// Top is the entry of "/" itself, where the snapshot's manifest has it: no
	// listing does. It is applied to the target when "/" is restored.
	Top *snapshot.Entry

	NoOwner     bool // leave owner and group as they come
	OwnerByName bool // prefer the names of owner and group, where this machine knows them, to the numbers

	// Include and Exclude choose among the items by their absolute path in
	// the snapshot. What Exclude takes is left out with all that is below it.
	// What Include takes is restored with all that is below it, and so are
	// the directories above; nil takes everything. Neither chosen nor
	// excluded items are deleted.
	Include, Exclude func(path string, dir bool) bool

	// Event is told of everything that is done to an item, from one
	// goroutine at a time. It must be quick.
	Event func(Event)
}

// Run restores what is at a path of the snapshot with the given root listing to
// the directory target. The error is about the run as a whole; what went wrong
// with single items is in the Report, which is valid in either case.
func Run(ctx context.Context, src snapshot.Streamer, root chunk.ID, at, target string, opt Options) (Report, error) {
	at = path.Clean("/" + at)
	e, err := snapshot.Resolve(ctx, src, root, at)
	if err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	g := goal{root: root, at: at, e: e, target: target}
	if at == "/" && opt.Top != nil {
		top := *opt.Top
		top.Name, top.Tree = e.Name, root
		g.e, g.top = &top, true
	}
	rep, err := runOnce(ctx, storedTree{src}, g, opt)
	if err != nil || !opt.Verify || opt.DryRun {
		return rep, err
	}
	return rep, verify(ctx, storedTree{src}, g, opt, &rep)
}

// A goal is what to restore and where to.
type goal struct {
	root   chunk.ID
	at     string          // clean and absolute
	e      *snapshot.Entry // what is there
	target string
	top    bool // e is what the manifest says of "/"
}

// whole reports whether the target itself has no entry in the snapshot: its
// metadata is then nobody's business.
func (g goal) whole() bool { return g.at == "/" && !g.top || g.e.Type != snapshot.Dir }

// base is the path in the snapshot that the target stands for.
func (g goal) base() string {
	if g.e.Type == snapshot.Dir {
		return g.at
	}
	return path.Dir(g.at)
}

func runOnce(ctx context.Context, t tree, g goal, opt Options) (Report, error) {
	r := newRun(t, g, opt)
	err := r.all(ctx)
	if err != nil {
		err = fmt.Errorf("restore to %s: %w", g.target, err)
	}
	return r.rep.result(), err
}
