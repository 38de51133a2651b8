package rewrite

import (
	"errors"

	"coffer/snapshot"
)

// A Report says what a Run did, or in a dry run would do.
type Report struct {
	Looked    int      // snapshots that were looked through
	Snapshots []Result // those that had a match or could not be dealt with, in the order of time
	Stored    int64    // bytes added to the repository
	Asked     []string // IDs of commits that were asked to be forgotten
}

// A Result is what became of one snapshot.
type Result struct {
	Old     string          // its ID
	New     string          // ID of the one in its place; empty in a dry run and after an error
	Dropped snapshot.Totals // what the new one lacks, with all below directories
	Err     error           // why it was left as it is
}

// Dropped sums up what snapshots that could be dealt with have lost. What
// several of them had counts for each.
func (r *Report) Dropped() (sum snapshot.Totals) {
	for _, s := range r.Snapshots {
		if s.Err == nil {
			add(&sum, s.Dropped)
		}
	}
	return sum
}

// Hint is what people should know after a run that dropped something.
const Hint = "What still exists at the source is saved again by the next backup unless that excludes it too. " +
	"What was dropped stays in the repository until the next prune, and 'coffer undelete' brings the old snapshots back until then."

func (r *Report) err() error {
	var errs []error
	for _, s := range r.Snapshots {
		errs = append(errs, s.Err)
	}
	return errors.Join(errs...)
}

func add(t *snapshot.Totals, more snapshot.Totals) {
	t.Items += more.Items
	t.Files += more.Files
	t.Bytes += more.Bytes
}
