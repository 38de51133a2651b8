package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"coffer/bucket"
	"coffer/bucket/mem"
)

// Errors that the simulation makes.
var (
	errCrashed = errors.New("the process is dead")
	errLost    = errors.New("no reply")
	errFailed  = errors.New("the server says 500")
)

// A call is one call to the bucket that waits for its turn. Its effect is run by
// the scheduler, so that it happens at one instant.
type call struct {
	port   *port
	ctx    context.Context
	op     string
	names  []string
	seq    int
	effect func() error
	undo   func() // after an effect of which the caller learns nothing; may be nil
	reply  chan error
}

func (c *call) name() string { return c.names[0] }
func (c *call) changes() bool {
	return c.op == "put" || c.op == "delete" || c.op == "puthold"
}

// A late effect is a Put or Delete that is still under way somewhere.
type late struct {
	due  int
	what string
	run  func() error
}

// A world is a bucket, those who use it, and the scheduler.
type world struct {
	plan plan
	mem  *mem.Bucket
	rnd  *rand.Rand // the scheduler's
	led  *ledger

	mu      sync.Mutex
	pending []*call
	arrived int

	actors []*actor
	late   []late
	tick   int // calls served and idle waits
	served int
	trace  trace
	failed error
	stats  stats
	checks int
	dirty  bool // something has changed since the oracle has looked
	clock  time.Time

	hook func(*call) (func() error, bool)                               // planted bugs: another effect
	lie  func(p *port, prefix string, page []bucket.Info) []bucket.Info // lies of listings
	rule func(*call) (error, bool)                                      // faults at a certain call
}

// stats says what a run came across, so that one sees whether it was worth it.
type stats struct {
	crashes, lost, failed, dups, lateDeletes, latePuts, lies, fenced, killed, waits, commits, prunes, drops, reads, full, open int
	noise                                                                                                                      map[string]int
}

func newWorld(p plan, from stage) *world {
	w := &world{plan: p, mem: from.bucket(), rnd: rand.New(rand.NewPCG(p.seed, 1)), clock: time.Now()}
	w.trace.sum.SetSeed(from.seed)
	w.stats.noise = map[string]int{}
	w.led = newLedger(w, from.chunks)
	for _, e := range from.known {
		w.led.all[e.id] = &e
	}
	return w
}

// enter puts a call into the queue and waits until it has been served.
func (w *world) enter(c *call) error {
	c.reply = make(chan error, 1)
	w.mu.Lock()
	if c.port.dead {
		w.mu.Unlock()
		return errCrashed
	}
	w.arrived++
	c.seq = w.arrived
	w.pending = append(w.pending, c)
	w.mu.Unlock()
	return <-c.reply
}

// run schedules until all actors have ended.
func (w *world) run() {
	for w.step() {
	}
	w.end()
}

// step lets one call go on, or time pass. It reports whether there is more to do.
func (w *world) step() bool {
	synctest.Wait()
	w.land(false)
	if w.failed == nil {
		w.look(false)
	}
	if w.failed != nil || w.tick > w.plan.maxTicks {
		return false
	}
	if w.over() {
		return false
	}
	w.tick++
	c := w.pick()
	if c == nil {
		time.Sleep(w.span(w.plan.lag + 500*time.Millisecond))
		return true
	}
	if w.chance(0.3) {
		time.Sleep(w.span(w.plan.lag))
	}
	w.serve(c)
	return true
}

// over reports whether all actors have ended.
func (w *world) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(w.actors, func(a *actor) bool { return !a.ended })
}

// end kills who is left, and lets what is in flight land, now or never.
func (w *world) end() {
	for {
		synctest.Wait()
		if w.over() {
			break
		}
		for _, a := range w.actors {
			a.last = true
			w.crash(a.port, "the end")
		}
		time.Sleep(time.Hour) // those who sleep see it then
	}
	w.land(true)
}

func (w *world) chance(p float64) bool { return p > 0 && w.rnd.Float64() < p }

// span draws a time with the given mean.
func (w *world) span(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * min(5, w.rnd.ExpFloat64()))
}

// waiting returns the calls that wait, in an order that does not depend on who
// was quicker.
func (w *world) waiting() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.pending, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.port.number, b.port.number), cmp.Compare(a.op, b.op), slices.Compare(a.names, b.names), cmp.Compare(a.seq, b.seq))
	})
	return slices.Clone(w.pending)
}

func (w *world) take(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = slices.DeleteFunc(w.pending, func(x *call) bool { return x == c })
}

// serve lets a call take effect, or not, and answers it.
func (w *world) serve(c *call) {
	w.take(c)
	w.served++
	err := w.judge(c)
	note := "ok"
	if err != nil {
		note = err.Error()
	}
	w.log(c.port.label(), c.op, strings.Join(c.names, " "), note)
	c.reply <- err
}

func (w *world) log(who, op, name, note string) {
	w.trace.add(fmt.Sprintf("%6d %9.1fs %-14s %-8s %s: %s", w.tick, time.Since(w.clock).Seconds(), who, op, clip(name, 200), clip(note, 90)))
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// apply runs the effect of a call.
func (w *world) apply(c *call) error {
	if c.changes() {
		w.dirty = true
	}
	if w.hook != nil {
		if other, ok := w.hook(c); ok {
			return other()
		}
	}
	err := c.effect()
	if err == nil {
		w.led.saw(c)
	}
	return err
}

// land lets late effects happen that are due; at the end some never do.
func (w *world) land(all bool) {
	rest := w.late[:0:0]
	for _, l := range w.late {
		if !all && l.due > w.tick {
			rest = append(rest, l)
			continue
		}
		if all && w.chance(0.3) {
			continue
		}
		w.dirty = true
		note := "ok"
		if err := l.run(); err != nil {
			note = err.Error()
		}
		w.log("-", "late", l.what, note)
	}
	w.late = rest
}

// look lets the oracle look, if something has changed.
func (w *world) look(force bool) {
	if !force && (!w.dirty || w.tick%w.plan.lookEvery != 0) {
		return
	}
	w.dirty = false
	w.checks++
	if err := w.led.check(); err != nil {
		w.fail(err)
	}
}

func (w *world) fail(err error) {
	if w.failed == nil {
		w.failed = err
		w.log("oracle", "FAIL", "", err.Error())
	}
}

// A trace is the last calls.
type trace struct {
	lines []string
	sum   maphash.Hash
}

const traceLines = 220

func (t *trace) add(line string) {
	_, _ = t.sum.WriteString(line)
	if len(t.lines) >= 2*traceLines {
		t.lines = slices.Clone(t.lines[traceLines:])
	}
	t.lines = append(t.lines, line)
}

func (t *trace) String() string {
	return strings.Join(t.lines[max(0, len(t.lines)-traceLines):], "\n")
}
