package simulate

import (
	"math/rand/v2"
	"time"
)

// A plan is all that a seed decides before a run begins.
type plan struct {
	seed       uint64
	locks      bool          // the bucket knows who is alive
	lag        time.Duration // mean of the time that passes in a call
	maxTicks   int
	lookEvery  int
	policy     policy
	rates      rates
	pages      float64 // chance of a listing to come in pages
	freezes    []freeze
	short      bool // pruners take sessions for dead soon
	crowd      int  // fates that are there already, for Tidy
	quietFates bool

	strict func(who string, err error) bool // which errors without a fault are failures; nil: none

	writers, pruners, forgetters, readers, tidiers, listers int
	rounds                                                  int
}

type policy int

const (
	uniform    policy = iota
	starve            // one actor has its turn rarely
	priorities        // the one with the highest goes on until its priority changes
	bursts            // one goes on for a while
	policies
)

// draw makes the plan of a seed.
func draw(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 2))
	one := func(list ...float64) float64 { return list[r.IntN(len(list))] }
	p := plan{seed: seed, strict: func(string, error) bool { return true }, locks: r.IntN(2) == 0, maxTicks: 6000, lookEvery: 3, policy: policy(r.IntN(int(policies))),
		lag: time.Duration(one(0.02, 0.5, 3, 8) * float64(time.Second)), pages: one(0, 0, 0.3), short: r.IntN(2) == 0,
		writers: 1 + r.IntN(4), pruners: 1 + r.IntN(3), forgetters: r.IntN(2) + 1, readers: r.IntN(3), tidiers: r.IntN(3), listers: r.IntN(2),
		rounds: 2 + r.IntN(4)}
	if r.IntN(3) > 0 {
		p.rates = rates{crash: one(0, 0, 0.001, 0.005), lost: one(0, 0.002, 0.02), fail: one(0, 0, 0.003), dup: one(0, 0.05), lateDelete: one(0, 0, 0.5)}
	}
	if r.IntN(8) == 0 {
		p.crowd, p.quietFates, p.tidiers = 58+r.IntN(8), true, 2
	}
	places := []freeze{
		{op: "put", prefix: "fates/"}, {op: "put", prefix: "fates/"}, {op: "put", prefix: "generations/"}, {op: "put", prefix: "generations/", suffix: ".done"},
		{op: "put", prefix: "packs/"}, {op: "list", prefix: "generations/"}, {op: "list", prefix: "sessions/"}, {op: "list", prefix: "fates/"},
		{op: "delete"}, {op: "get", prefix: "generations/"}, {op: "get", prefix: "catalogue/"}, {op: "put", prefix: "index/"}, {op: "put", prefix: "asks/"},
		{op: "get", prefix: "fates/"}, {op: "get", prefix: "packs/"}, {op: "put", prefix: "sessions/"}, {op: "puthold", prefix: "sessions/"}, {op: "list", prefix: "packs/"},
	}
	for range r.IntN(3) {
		f := places[r.IntN(len(places))]
		f.chance, f.ticks = one(0.05, 0.3), 100+r.IntN(1500)
		p.freezes = append(p.freezes, f)
	}
	return p
}

// pick chooses the call that goes on; nil: time must pass first.
func (w *world) pick() *call {
	for range 20 {
		a := w.pickActor()
		if a == nil {
			return nil
		}
		var mine []*call
		for _, c := range w.waiting() {
			if c.port.who == a {
				mine = append(mine, c)
			}
		}
		c := mine[w.rnd.IntN(len(mine))]
		if !w.freezes(c) {
			return c
		}
	}
	return nil
}

// freezes decides whether the actor stops before this call.
func (w *world) freezes(c *call) bool {
	for _, f := range w.plan.freezes {
		if f.fits(c) && !c.port.who.thawed && w.chance(f.chance) {
			c.port.who.frozen, c.port.who.thawed = w.tick+f.ticks, true
			w.log(c.port.label(), "FREEZE", c.name(), "")
			return true
		}
	}
	c.port.who.thawed = false
	return false
}

func (w *world) pickActor() *actor {
	var able []*actor
	for _, c := range w.waiting() {
		if a := c.port.who; a.frozen <= w.tick && (len(able) == 0 || able[len(able)-1] != a) {
			able = append(able, a)
		}
	}
	if len(able) == 0 {
		return nil
	}
	any := able[w.rnd.IntN(len(able))]
	switch w.plan.policy {
	case starve:
		if any == w.actors[0] && len(able) > 1 && !w.chance(0.02) {
			return able[len(able)-1]
		}
	case priorities:
		for _, a := range able {
			if a.priority > any.priority {
				any = a
			}
		}
		if w.chance(0.02) {
			any.priority = w.rnd.Float64() - float64(w.tick)
		}
	case bursts:
		for _, a := range able {
			if a.burst {
				any = a
			}
		}
		any.burst = !w.chance(0.05)
	}
	return any
}
