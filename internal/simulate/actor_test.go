package simulate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"coffer/seal"
	"coffer/store"
)

// An actor is a process that does one thing after another. When it dies, another
// one like it begins.
type actor struct {
	w        *world
	number   int
	name     string
	rnd      *rand.Rand // of its script
	twofold  bool       // it reads with two goroutines at once
	mu       sync.Mutex
	dice     *rand.Rand // of its calls
	port     *port
	lives    int
	opens    int
	store    *store.Store
	ctx      context.Context
	cancel   context.CancelFunc
	ended    bool // under w.mu
	last     bool // it is not to begin again
	frozen   int  // until this tick
	thawed   bool
	priority float64
	burst    bool
}

// streams are random bytes by how many are drawn at once: who draws nonces in
// another order still draws the same names.
type streams struct {
	mu   sync.Mutex
	seed uint64
	by   map[int]*rand.ChaCha8
}

func newStreams(seed uint64) *streams { return &streams{seed: seed, by: map[int]*rand.ChaCha8{}} }

func (s *streams) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.by[len(b)]
	if r == nil {
		var key [32]byte
		binary.LittleEndian.PutUint64(key[:], s.seed)
		binary.LittleEndian.PutUint64(key[8:], uint64(len(b)))
		r = rand.NewChaCha8(key)
		s.by[len(b)] = r
	}
	return r.Read(b)
}

func (a *actor) draw() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dice.Float64()
}

// start lets an actor do something in rounds.
func (w *world) start(name string, rounds int, do func(*actor) error) *actor {
	n := len(w.actors)
	a := &actor{w: w, number: n, name: name, rnd: rand.New(rand.NewPCG(w.plan.seed, 100+uint64(n))), dice: rand.New(rand.NewPCG(w.plan.seed, 200+uint64(n)))}
	a.priority = a.rnd.Float64()
	w.actors = append(w.actors, a)
	a.begin()
	go func() {
		defer func() {
			a.leave()
			w.mu.Lock()
			defer w.mu.Unlock()
			a.ended = true
		}()
		for range rounds {
			a.round(do)
			if a.isLast() {
				return
			}
			time.Sleep(time.Duration(a.rnd.ExpFloat64() * float64(10*time.Second)))
		}
	}()
	return a
}

// begin gives the actor a new life.
func (a *actor) begin() {
	p := &port{w: a.w, who: a, number: a.number, life: a.lives, mine: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.port, a.ctx, a.cancel = p, ctx, cancel
	a.lives++
}

func (a *actor) leave() {
	if a.store != nil {
		_ = a.store.Close()
		a.store = nil
	}
	a.port.dropHolds()
	a.cancel()
}

func (a *actor) isLast() bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.last
}

func (a *actor) isDead() bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.port.dead
}

// env is what the actor's stores take from the machine.
func (a *actor) env() store.Env {
	a.opens++
	seed := a.w.plan.seed<<16 | uint64(a.number)<<10 | uint64(a.opens)
	return store.Env{Workers: 1, Level: seal.Off, Host: a.name, Rand: newStreams(seed),
		BeatEvery: 10 * time.Second, PollEvery: 4 * time.Second}
}

// open opens the actor's store, if it has none.
func (a *actor) open() error {
	if a.store != nil && a.rnd.IntN(4) > 0 {
		return nil
	}
	if a.store != nil {
		_ = a.store.Close()
		a.store = nil
	}
	s, err := store.Open(a.ctx, a.port.bucket(), a.env(), secret())
	a.store = s
	return err
}

// round does one thing, and judges how it ended.
func (a *actor) round(do func(*actor) error) {
	if a.isDead() {
		a.leave()
		a.begin()
	}
	before, killed := a.port.faults, a.port.killed
	err := a.open()
	if err == nil {
		err = do(a)
	} else {
		a.store = nil
	}
	var wrong *wrongError
	switch {
	case errors.As(err, &wrong):
		a.w.mu.Lock()
		a.w.fail(fmt.Errorf("%s: %w", a.port.label(), err))
		a.w.mu.Unlock()
	case err == nil, a.isDead(), a.port.faults > before:
	default:
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		a.w.noise(a.name[:len(a.name)-1], err, a.port.killed > killed)
	}
}

// count counts something that an actor did.
func (w *world) count(n *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*n++
}

// A wrongError says that a promise was broken.
type wrongError struct{ err error }

func (e *wrongError) Error() string { return e.err.Error() }
func (e *wrongError) Unwrap() error { return e.err }

func wrong(format string, args ...any) error { return &wrongError{fmt.Errorf(format, args...)} }

// noise counts errors of those who had no fault of their own.
func (w *world) noise(who string, err error, killed bool) {
	text := regexp.MustCompile(`[0-9a-f]{8,}(-\d+)?`).ReplaceAllString(err.Error(), "#")
	text = regexp.MustCompile(`\d+`).ReplaceAllString(text, "#")
	if killed {
		who += " that was taken for dead"
	}
	w.stats.noise[who+": "+clip(text, 230)]++
	if !killed && w.plan.strict != nil && w.plan.strict(who, err) {
		w.fail(fmt.Errorf("%s: an error without a fault: %w", who, err))
	}
}

// some draws pieces.
func (a *actor) some() []int {
	list := a.rnd.Perm(poolSize)
	return list[:1+a.rnd.IntN(6)]
}

func (a *actor) pause(mean time.Duration) {
	select {
	case <-time.After(time.Duration(a.rnd.ExpFloat64() * float64(mean))):
	case <-a.ctx.Done():
	}
}

// write is a backup: some chunks saved, and often all that an earlier commit
// names, without saving or reading it, like a subtree that has not changed.
func write(a *actor) error {
	promised := a.w.led.promised()
	w, err := a.store.Begin(a.ctx)
	if err != nil {
		return err
	}
	lacks := a.lacks(w, promised)
	have := map[int]bool{}
	if list := w.Commits(); len(list) > 0 && a.rnd.IntN(2) == 0 {
		if err := a.inherit(w, list[a.rnd.IntN(len(list))], have); err != nil {
			return errors.Join(err, w.Abort(a.ctx))
		}
	}
	if len(have) == 0 || a.rnd.IntN(3) > 0 { // otherwise like an undelete: only what the other names
		if err := a.save(w, have); err != nil {
			return errors.Join(err, w.Abort(a.ctx))
		}
	}
	if a.rnd.IntN(10) == 0 {
		return w.Abort(a.ctx)
	}
	var need []int
	for i := range poolSize {
		if have[i] {
			need = append(need, i)
		}
	}
	return a.commit(w, a.w.led.needs(need), lacks)
}

func (a *actor) inherit(w *store.Session, parent store.Commit, have map[int]bool) error {
	need := a.w.led.named(parent.Payload)
	for _, i := range need {
		have[i] = true
	}
	if a.rnd.IntN(2) == 0 {
		return nil
	}
	p := a.w.led.list[need[a.rnd.IntN(len(need))]] // the page that leads to the subtree
	got, err := w.Load(a.ctx, p.kind, p.id)
	if err == nil && !bytes.Equal(got, p.data) {
		return wrong("a session loads wrong bytes")
	}
	if err != nil {
		return fmt.Errorf("load what the parent names: %w", err)
	}
	return nil
}

func (a *actor) save(w *store.Session, have map[int]bool) error {
	for _, i := range a.some() {
		if _, err := w.Save(a.ctx, a.w.led.list[i].kind, a.w.led.list[i].data); err != nil {
			return err
		}
		have[i] = true
		if a.rnd.IntN(4) == 0 {
			a.pause(5 * time.Second)
		}
	}
	return nil
}

// lacks returns a promised commit that the session does not see.
func (a *actor) lacks(w *store.Session, promised map[string]bool) string {
	for _, c := range w.Commits() {
		delete(promised, c.ID)
	}
	for id := range promised {
		if !a.w.led.wasAsked(id) {
			return id
		}
	}
	return ""
}

func (a *actor) commit(w *store.Session, payload []byte, lacks string) error {
	a.w.led.intends(w.ID(), a.port.label(), payload)
	_, err := w.Commit(a.ctx, payload)
	switch {
	case err == nil && lacks != "":
		return wrong("session %s has committed; its view lacked commit %s, which was acknowledged before", w.ID(), lacks)
	case err == nil:
		a.w.led.acked(w.ID())
	case errors.Is(err, store.ErrFenced):
		a.w.led.fenced(w.ID())
		if a.port.killed == 0 {
			return wrong("session %s was fenced, and nobody has taken it for dead", w.ID())
		}
	}
	return err
}

// forget asks for commits to be dropped.
func forget(a *actor) error {
	if err := a.store.Refresh(a.ctx); err != nil {
		return err
	}
	list, err := a.store.Commits(a.ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	var ids []string
	for range 1 + a.rnd.IntN(2) {
		ids = append(ids, list[a.rnd.IntN(len(list))].ID)
	}
	a.w.led.asked(ids)
	return a.store.Forget(a.ctx, ids)
}

func (a *actor) pruneOptions() store.PruneOptions {
	waits := []time.Duration{0, 0, 20 * time.Second, 10 * time.Minute}
	opt := store.PruneOptions{Marker: marker{}, RepackBelow: []float64{0.3, 0.6, 0.99}[a.rnd.IntN(3)], MaxRepack: []int64{0, 0, -1, 20_000}[a.rnd.IntN(4)],
		Wait: waits[a.rnd.IntN(len(waits))], Patience: 10 * time.Minute}
	if a.w.plan.short {
		opt.Patience = 25 * time.Second
	}
	return opt
}

// prune is one cycle.
func prune(a *actor) error {
	p, err := a.store.PlanPrune(a.ctx, a.pruneOptions())
	if isWait(err) {
		a.w.count(&a.w.stats.waits)
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	a.pause(3 * time.Second)
	rep, err := p.Run(a.ctx)
	if err == nil && len(rep.Kept) > 0 {
		err = errors.New("prune says that it keeps packs that cannot be copied: nothing was damaged")
	}
	a.w.count(&a.w.stats.prunes)
	return err
}

func isWait(err error) bool {
	var wait *store.WaitError
	return errors.As(err, &wait)
}

func tidy(a *actor) error { return a.store.Tidy(a.ctx, marker{}) }

// read loads all chunks of a commit, several times, while prunes go by.
func read(a *actor) error {
	if err := a.store.Refresh(a.ctx); err != nil {
		return err
	}
	list, err := a.store.Commits(a.ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	c := list[a.rnd.IntN(len(list))]
	killed := a.port.killed
	err = a.store.Read(a.ctx, []string{c.ID}, func(ctx context.Context) error {
		for range 1 + a.rnd.IntN(4) {
			for _, i := range a.w.led.named(c.Payload) {
				p := a.w.led.list[i]
				got, err := a.store.Load(ctx, p.kind, p.id)
				if err == nil && !bytes.Equal(got, p.data) {
					return wrong("a reader loads wrong bytes")
				}
				if err != nil {
					return fmt.Errorf("load for a registered reader: %w", err)
				}
			}
			a.pause(8 * time.Second)
			if a.rnd.IntN(4) > 0 {
				continue
			}
			if err := a.store.Refresh(ctx); err != nil { // another part of the same process
				return err
			}
		}
		a.w.count(&a.w.stats.reads)
		return nil
	})
	if errors.Is(err, store.ErrGone) && a.w.led.wasAsked(c.ID) || a.port.killed > killed && err != nil {
		return nil
	}
	return err
}

// list demands that a listing has what was promised before it began.
func list(a *actor) error {
	promised := a.w.led.promised()
	if err := a.store.Refresh(a.ctx); err != nil {
		return err
	}
	commits, err := a.store.Commits(a.ctx)
	if err != nil {
		return err
	}
	for _, c := range commits {
		delete(promised, c.ID)
	}
	for id := range promised {
		if !a.w.led.wasAsked(id) {
			return fmt.Errorf("a listing lacks a promised commit")
		}
	}
	return nil
}
