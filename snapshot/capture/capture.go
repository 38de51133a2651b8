// Package capture turns sources into a snapshot.
package capture

import (
	"context"
	"io"
	"time"

	"coffer/snapshot"
	"coffer/source"
)

// A Root is a path to back up.
type Root struct {
	Path   string // as given; made absolute by source.OpenRoot
	At     string // where it stands in the snapshot, absolute; "" for its absolute path
	Follow bool   // if the path is a symlink, back up what it points to
}

// A Stream is a source that is read once, from its beginning to its end.
type Stream struct {
	Kind string // "stdin" or "command"
	Spec string // the command, for people
	At   string // the file's absolute path in the snapshot
	// Open starts it. Wait is called after the reader's end and says whether
	// the stream is whole; an error means that there is no good snapshot.
	Open func(ctx context.Context) (r io.Reader, wait func() error, err error)
}

// Options say what to capture and how.
type Options struct {
	Host, Name string
	Tags       []string
	Time       time.Time // what the snapshot is dated; zero: now
	Roots      []Root
	Streams    []Stream

	Source     source.Options
	Patterns   []source.Pattern  // excludes, in order; compiled for each root
	Excludes   []string          // the same as text, for the manifest
	SkipTags   []source.Tag      // --exclude-if-present and --exclude-caches
	LargerThan int64             // files larger than this are left out; 0: none
	Avoid      map[string]string // directories that are not looked into, and why: the repository itself

	SkipIfUnchanged bool
	Force           bool // read everything, trust no earlier snapshot
	IgnoreInode     bool
	IgnoreCTime     bool
	DryRun          bool
	Readers         int           // files read at once; 0: one for each processor
	Checkpoint      time.Duration // 0: 45 minutes

	Now     func() time.Time
	Program string
	User    string
	Event   func(Event) // progress; called from several goroutines
}

// An Event is a step of progress: Path was handled. Bytes are of its content.
type Event struct {
	Path   string
	Action Action
	Bytes  int64 // logical size
	Err    error // Action Failed, Warned
}

// An Action is what happened to an entry.
type Action uint8

const (
	New        Action = 1 + iota // not in the parent
	Changed                      // read again
	Unmodified                   // taken from the parent
	Failed                       // could not be read; the snapshot goes on without it
	Warned                       // read, with something to say
	Again                        // all begins anew, for the reason in Err
	Progress                     // Bytes more of a file that is still being read; Path is that file
)

// A Report says what a capture did.
type Report struct {
	Snapshot   snapshot.Snapshot // its ID is "" for a dry run
	Unchanged  bool              // SkipIfUnchanged: equal to the parent, nothing was committed
	Parent     string
	New        int64 // files
	Changed    int64
	Unmodified int64
	Dirs       int64
	Elapsed    time.Duration
}
