package simulate

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// rates are the chances of faults, for each call.
type rates struct {
	crash      float64
	lost       float64 // a change is made, and an error returned
	fail       float64 // an error is returned; the change is not made, or later
	dup        float64 // a Put is delivered twice
	lateDelete float64
}

// judge decides what becomes of a call whose turn it is.
func (w *world) judge(c *call) error {
	if w.rule != nil {
		if err, ok := w.rule(c); ok {
			return err
		}
	}
	r := w.plan.rates
	if c.ctx.Err() != nil {
		return w.cancelled(c)
	}
	switch {
	case w.chance(r.crash):
		w.crash(c.port, "")
		return w.inFlight(c)
	case c.changes() && w.chance(r.lost):
		w.stats.lost++
		c.port.faults++
		if err := w.apply(c); err == nil && c.undo != nil {
			c.undo()
		}
		return errLost
	case w.chance(r.fail):
		w.stats.failed++
		c.port.faults++
		if c.changes() && w.chance(0.5) {
			w.later(c, c.effect)
		}
		return errFailed
	case c.op == "put" && w.chance(r.dup):
		w.stats.dups++
		w.later(c, c.effect)
	case c.op == "delete" && w.chance(r.lateDelete):
		w.stats.lateDeletes++
		w.later(c, c.effect)
		return nil
	}
	return w.apply(c)
}

// cancelled answers a call whose caller has given up: what it was to change may
// have changed.
func (w *world) cancelled(c *call) error {
	if c.changes() && w.chance(0.5) {
		if err := w.apply(c); err == nil && c.undo != nil {
			c.undo()
		}
	}
	return context.Cause(c.ctx)
}

// later lets a change happen at another time.
func (w *world) later(c *call, run func() error) {
	wait := 1 + w.rnd.IntN(60)
	if w.chance(0.4) {
		wait = 200 + w.rnd.IntN(3000)
	}
	land := func() error {
		err := run()
		if err == nil {
			w.led.saw(c)
			if c.undo != nil {
				c.undo()
			}
		}
		return err
	}
	w.late = append(w.late, late{due: w.tick + wait, what: fmt.Sprintf("%s of %s: %s", c.op, c.port.label(), strings.Join(c.names, " ")), run: land})
}

// crash ends a process. What it has in flight takes effect now, later or never.
func (w *world) crash(p *port, why string) {
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		return
	}
	p.dead = true
	w.mu.Unlock()
	if why == "" {
		w.stats.crashes++
	}
	w.log(p.label(), "CRASH", "", why)
	for _, c := range w.waiting() {
		if c.port == p {
			w.take(c)
			c.reply <- w.inFlight(c)
		}
	}
	p.dropHolds()
	p.who.cancel()
}

// inFlight decides about a call of a process that has died.
func (w *world) inFlight(c *call) error {
	if !c.changes() {
		return errCrashed
	}
	switch w.rnd.IntN(3) {
	case 0:
		if err := w.apply(c); err == nil && c.undo != nil {
			c.undo()
		}
	case 1:
		w.stats.latePuts++
		w.later(c, c.effect)
	}
	return errCrashed
}

// A freeze stops an actor for long before a certain call.
type freeze struct {
	op, prefix, suffix string
	chance             float64
	ticks              int
}

func (f freeze) fits(c *call) bool {
	return f.op == c.op && slices.ContainsFunc(c.names, func(n string) bool {
		return strings.HasPrefix(n, f.prefix) && strings.HasSuffix(n, f.suffix)
	})
}
