package snapshot

import (
	"errors"
	"fmt"
	"time"
)

// A Hold keeps a snapshot from being forgotten. It is a commit of its own, with
// the same root: whatever is done to the snapshot's other commits, what it
// holds stays until somebody asks to forget the hold's commit.
type Hold struct {
	Reason string `cbor:"1,keyasint,omitempty"`
	Until  Time   `cbor:"2,keyasint"` // zero: no end
	By     string `cbor:"3,keyasint,omitempty"`
	Added  Time   `cbor:"4,keyasint"`
}

// maxHoldText bounds what people write into a hold.
const maxHoldText = 4096

func (h *Hold) check() error {
	if len(h.Reason) > maxHoldText || len(h.By) > maxHoldText {
		return fmt.Errorf("a text of the hold is longer than %d bytes", maxHoldText)
	}
	if h.Until.Nsec >= 1e9 || h.Added.Nsec >= 1e9 {
		return errors.New("a time of the hold has a second or more of nanoseconds")
	}
	return nil
}

// Held is a Hold on a snapshot that nobody asked to release.
type Held struct {
	Record string // ID of the hold's commit
	Hold
}

// Ended reports whether the hold's time is over. It still holds until its commit
// is asked for: a clock that is wrong must not lose a snapshot.
func (h Held) Ended(now time.Time) bool {
	return h.Until != (Time{}) && !now.Before(h.Until.AsTime())
}
