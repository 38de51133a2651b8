// Package policy says which snapshots to keep. It is pure: no clock, no I/O,
// and it knows snapshots only as Items.
//
// Apply judges each item once and gives its reasons. What it keeps is the union
// of what each rule would keep alone; a rule counts the items of one group, by
// their effective time, and never by today's date, so a host that has stopped
// loses nothing. The following is never dropped, whatever the rules say: what is
// held; the newest complete item of each host and name; what is dated after now;
// and everything, where there are no rules. An incomplete item is never kept by a
// rule and never counts for one. Equal input gives equal output, in any order.
// Applied again to what it kept, it keeps all of it.
//
// Rules mean what they mean in restic. In borg and Proxmox Backup Server a rule
// goes on where the one before it stopped; here each starts at the newest item,
// so "daily 7, weekly 4" reaches back four weeks and not five.
package policy

import (
	"cmp"
	"time"
)

// An Item is what retention needs to know of a snapshot.
type Item struct {
	ID         string
	Group      string // rules count within a group; any string
	Host, Name string // the newest complete item of each pair is never dropped
	Time       time.Time
	Sequence   uint64 // orders items of equal time
	Tags       []string
	Held       bool
	Incomplete bool
	Sources    []string // what it was made of: an incomplete item gives way only to one that has all of it
}

// A Decision says what becomes of an item, and why.
type Decision struct {
	Item
	Keep    bool
	Reasons []Reason // all that keep it, or the one for which it goes; never empty
}

// A Reason is for people. Rules give reasons such as "daily 3 of 7", "within
// 30d" and "tag keep"; the others are the constants.
type Reason string

// Reasons to keep an item that no rule gives.
const (
	Held     Reason = "held"
	Ahead    Reason = "dated in the future"
	LastGood Reason = "the last good one"
	Fresh    Reason = "incomplete, newer than any complete one"
	NoRules  Reason = "no rules"
)

// Reasons to drop one.
const (
	Unneeded   Reason = "no rule keeps it"
	Superseded Reason = "incomplete, a complete one follows"
	Stale      Reason = "incomplete, 14 days older than the newest"
)

func (d *Decision) keep(why Reason) {
	d.Keep = true
	d.Reasons = append(d.Reasons, why)
}

// older orders items by time. Sequence and ID only make equal times definite.
func older(a, b Item) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
}
