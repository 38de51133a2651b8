package restore

import (
	"context"
	"errors"
)

var errDiffers = errors.New("it differs from the snapshot when read back")

// verify compares the target with the snapshot once more, content and all, as a
// dry run that should find nothing to do. What it would do is a problem, unless
// the item has one already.
func verify(ctx context.Context, t tree, g goal, opt Options, rep *Report) error {
	known := make(map[string]bool, len(rep.Problems))
	for _, p := range rep.Problems {
		known[p.Path] = true
	}
	again := opt
	again.DryRun, again.InPlace, again.Checksum = true, true, true
	again.Event = func(ev Event) {
		if p, ok := finding(ev); ok && !known[p.Path] {
			rep.addProblem(p)
		}
	}
	_, err := runOnce(ctx, t, g, again)
	return err
}

func finding(ev Event) (Problem, bool) {
	switch ev.Action {
	case Progress, Keep:
		return Problem{}, false
	case Trouble:
		return *ev.Problem, true
	}
	return Problem{Path: ev.Path, What: "verify", Err: errDiffers}, true
}
