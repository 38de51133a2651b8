package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Half is the share of a host's snapshots beyond which an unattended run stops.
const Half = 0.5

// An Excess is a host of which too much would go.
type Excess struct {
	Host     string
	Drop, Of int
}

// A BrakeError names the hosts for which a run needs a person.
type BrakeError struct {
	Share float64
	Hosts []Excess // sorted
}

func (e *BrakeError) Error() string {
	var list []string
	for _, h := range e.Hosts {
		list = append(list, fmt.Sprintf("%d of %d of host %s", h.Drop, h.Of, h.Host))
	}
	return fmt.Sprintf("would drop more than %g %% of a host's snapshots, which a person must confirm: %s",
		100*e.Share, strings.Join(list, ", "))
}

// Brake returns a *BrakeError if more than the share of any host's snapshots
// would be dropped. It counts complete ones that are not dated in the future:
// nobody misses incomplete ones, which after an outage are often the most, and
// forged dates must not water the share down.
func Brake(decisions []Decision, share float64) error {
	hosts := map[string]Excess{}
	for _, d := range decisions {
		if d.Incomplete || slices.Contains(d.Reasons, Ahead) {
			continue
		}
		h := hosts[d.Host]
		h.Host = d.Host
		h.Of++
		if !d.Keep {
			h.Drop++
		}
		hosts[d.Host] = h
	}
	var over []Excess
	for _, h := range hosts {
		if float64(h.Drop) > share*float64(h.Of) {
			over = append(over, h)
		}
	}
	if over == nil {
		return nil
	}
	slices.SortFunc(over, func(a, b Excess) int { return cmp.Compare(a.Host, b.Host) })
	return &BrakeError{Share: share, Hosts: over}
}
