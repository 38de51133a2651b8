package simulate

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"coffer/store"
)

// A fault is what happens at one call.
type fault struct {
	name    string
	changes bool // only where something is changed
	puts    bool // only at Puts
	rule    func(w *world, c *call, at, now int) (error, bool)
}

// allFaults are those that are tried at every call.
func allFaults() []fault {
	at := func(do func(w *world, c *call) error) func(*world, *call, int, int) (error, bool) {
		return func(w *world, c *call, at, now int) (error, bool) {
			if at != now {
				return nil, false
			}
			return do(w, c), true
		}
	}
	die := func(w *world, c *call) error {
		w.crash(c.port, "")
		return errCrashed
	}
	return []fault{
		{name: "crash before", rule: at(die)},
		{name: "crash after", changes: true, rule: at(func(w *world, c *call) error { _ = w.apply(c); return die(w, c) })},
		{name: "crash, and it lands late", changes: true, puts: true, rule: at(func(w *world, c *call) error {
			w.later(c, c.effect)
			return die(w, c)
		})},
		{name: "lost reply", changes: true, rule: at(func(w *world, c *call) error {
			if err := w.apply(c); err == nil && c.undo != nil {
				c.undo()
			}
			return errLost
		})},
		{name: "error", rule: at(func(*world, *call) error { return errFailed })},
		{name: "no space", puts: true, rule: at(func(*world, *call) error { return syscall.ENOSPC })},
		{name: "no space from here on", puts: true, rule: func(_ *world, c *call, at, now int) (error, bool) {
			return syscall.ENOSPC, now >= at && c.op != "delete" && c.changes()
		}},
	}
}

// TestEachCall lets a process die, or its calls fail, at each of its calls, one
// after the other. Then another prune completes, nothing is lost, and all garbage
// is gone.
func TestEachCall(t *testing.T) {
	base := newRepo(t)
	prunes := func(a *actor) error { return fullPrune(a, store.PruneOptions{RepackBelow: 0.9, Wait: time.Hour}) }
	victims := []struct {
		name string
		from stage
		do   func(*actor) error
	}{
		{"prune", aged(t, base), prunes},
		{"close", opened(t, base), prunes},
		{"backup", aged(t, base), write},
		{"backup while it is open", opened(t, base), write},
		{"tidy", crowded(t, base), tidy},
		{"tidy while it is open", opened(t, base), tidy},
		{"forget", aged(t, base), forget},
		{"read", opened(t, base), read},
	}
	for _, v := range victims {
		for _, locks := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/locks=%v", v.name, locks), func(t *testing.T) {
				t.Parallel()
				calls := callsOf(t, v.from, locks, v.do)
				step := 1
				if testing.Short() {
					step = 14
				}
				for _, f := range allFaults() {
					for k := 0; k < len(calls); k += step {
						if c := calls[k]; f.changes && !c.changes() || f.puts && (c.op == "delete" || !c.changes()) {
							continue
						}
						eachCall(t, v.from, locks, v.do, f, k)
					}
				}
			})
		}
	}
}

// fullPrune plans and runs with options.
func fullPrune(a *actor, opt store.PruneOptions) error {
	opt.Marker, opt.Patience = marker{}, time.Minute
	p, err := a.store.PlanPrune(a.ctx, opt)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Run(a.ctx)
	return err
}

func calm(locks bool, seed uint64) plan {
	return plan{seed: seed, locks: locks, maxTicks: 20_000, lookEvery: 1, lag: 10 * time.Millisecond, quietFates: true}
}

// callsOf returns the calls that a process makes that nothing happens to.
func callsOf(t *testing.T, from stage, locks bool, do func(*actor) error) (calls []*call) {
	t.Helper()
	w := simulate(t, calm(locks, 1), from, func(w *world) {
		w.rule = func(c *call) (error, bool) { calls = append(calls, c); return nil, false }
		w.start("victim0", 1, do).twofold = true
	})
	if w.failed != nil || len(w.stats.noise) > 0 {
		t.Fatalf("without a fault: %v\n%s", w.stats.noise, w.report())
	}
	return calls
}

func eachCall(t *testing.T, from stage, locks bool, do func(*actor) error, f fault, k int) {
	t.Helper()
	w := simulate(t, calm(locks, 1), from, func(w *world) {
		now := -1
		w.rule = func(c *call) (error, bool) {
			now++
			return f.rule(w, c, k, now)
		}
		w.start("victim0", 1, do).twofold = true
	})
	if w.failed != nil {
		t.Errorf("%s at call %d: %s", f.name, k, w.report())
	}
}
