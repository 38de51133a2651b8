package capture

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer/snapshot"
	"coffer/store"
)

// A parent is an earlier snapshot of the same host and name. What it says of
// an unchanged file is believed instead of reading the file.
type parent struct {
	snapshot.Snapshot
	read snapshot.Time // everything in it was read after this
}

// known returns the snapshots among commits. One that cannot be read is no
// reason not to make another.
func (e *engine) known(commits []store.Commit) []snapshot.Snapshot {
	records := make([]snapshot.Record, len(commits))
	for i, c := range commits {
		records[i] = snapshot.Record(c)
	}
	all, err := snapshot.Collect(records, nil)
	if err != nil {
		e.event(Warned, 0, fmt.Errorf("an earlier snapshot cannot be read: %w", err), func() string { return "/" })
	}
	return all
}

// intact reports whether nothing of what an earlier snapshot says of an entry is
// among the chunks that repair found lost. Those must be read again, so that
// they are stored again.
func (e *engine) intact(q *snapshot.Entry) bool {
	e.gate.RLock()
	keep := e.keep
	e.gate.RUnlock()
	if !keep.AnyLost() {
		return true
	}
	full := *q
	if full.Spilled() {
		if err := snapshot.Fill(e.ctx, e, &full); err != nil {
			return false
		}
	}
	return !slices.ContainsFunc(full.Content, func(r snapshot.Ref) bool { return keep.Lost(r.ID) })
}

// sameJob returns the snapshots of host and name, in the order they were made.
func sameJob(all []snapshot.Snapshot, host, name string) []snapshot.Snapshot {
	var same []snapshot.Snapshot
	for _, s := range all {
		if s.Host == host && s.Name == name {
			same = append(same, s)
		}
	}
	slices.SortFunc(same, func(a, b snapshot.Snapshot) int {
		if a.Sequence != b.Sequence {
			return int(min(1, max(-1, int64(a.Sequence)-int64(b.Sequence))))
		}
		return strings.Compare(a.ID, b.ID)
	})
	return same
}

// chooseParents picks the newest snapshot, and if that one is incomplete (a
// checkpoint of a run that was cut off), also the newest before it that is not:
// each knows files that the other does not.
func chooseParents(same []snapshot.Snapshot) []parent {
	var chosen []parent
	for _, s := range slices.Backward(same) {
		if s.State == snapshot.Incomplete && len(chosen) > 0 {
			continue
		}
		chosen = append(chosen, parent{Snapshot: s, read: s.Captured})
		if s.State != snapshot.Incomplete {
			break
		}
	}
	return chosen
}

// Slack between a file's ctime and the moment a snapshot was begun, within which
// the file may have changed again without showing it. Kernels stamp files with
// the time of the last tick (4 to 10 ms); some file systems keep only seconds,
// FAT two of them.
const (
	tickSlack   = 20 * time.Millisecond
	coarseSlack = 2 * time.Second
)

// settled reports whether t is clearly older than the reading that began at
// read, so that what was read then is what the file is now.
func settled(t, read snapshot.Time) bool {
	slack := tickSlack
	if t.Nsec == 0 {
		slack = coarseSlack
	}
	return t.AsTime().Add(slack).Before(read.AsTime())
}
