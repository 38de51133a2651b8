package simulate

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"coffer/chunk"
	"coffer/seal"
	"coffer/store"
)

// secret opens the repositories of the simulation, without a slow key derivation.
func secret() seal.Secret {
	return seal.Secret{Kind: seal.KeyFile, Value: []byte("the key file of the tests")}
}

// A piece is a chunk that actors save.
type piece struct {
	kind chunk.Kind
	id   chunk.ID
	data []byte
}

// A pool is all chunks that there are.
type pool struct {
	list []piece
	byID map[chunk.ID]int
}

// poolSize is small, so that what one session saves another has already.
const poolSize = 20

// makePool makes the chunks: small ones that share a pack, and some that fill one.
func makePool() *pool {
	r := rand.New(rand.NewPCG(7, 7))
	all := &pool{byID: map[chunk.ID]int{}}
	for i := range poolSize {
		p := piece{kind: chunk.Data, data: make([]byte, 1000+r.IntN(3000))}
		if i%5 == 1 {
			p.kind = chunk.Tree
		}
		if i%7 == 3 {
			p.data = make([]byte, 132<<10)
		}
		for j := range p.data {
			p.data[j] = byte(r.Uint32())
		}
		p.id = chunk.Sum(p.kind, p.data)
		all.list = append(all.list, p)
		all.byID[p.id] = i
	}
	return all
}

// needs is the payload that names pieces.
func (p *pool) needs(list []int) []byte {
	var b []byte
	for _, i := range list {
		b = append(b, p.list[i].id[:]...)
	}
	return b
}

// named returns the pieces that a payload names.
func (p *pool) named(payload []byte) (list []int) {
	for b := payload; len(b) > 0; b = b[chunk.IDSize:] {
		list = append(list, p.byID[chunk.ID(b[:chunk.IDSize])])
	}
	return list
}

// A marker takes payloads for what they are here.
type marker struct{}

func (marker) Mark(_ context.Context, _ store.MarkView, commits []store.Commit, live *store.LiveSet) error {
	for _, c := range commits {
		for b := c.Payload; len(b) > 0; b = b[chunk.IDSize:] {
			live.Add(chunk.ID(b[:chunk.IDSize]))
		}
	}
	return nil
}

// An entry is what the oracle knows of a commit.
type entry struct {
	id                   string
	by                   string
	payload              []byte
	acked, asked, fenced bool
	seen, gone           bool
	ackedAt, askedAt     int // tick
}

// A ledger is the oracle: what was promised, whatever the store thinks. It looks
// at the bucket by the side of the scheduler.
type ledger struct {
	*pool
	w   *world
	all map[string]*entry
	eye *store.Store

	sessions map[string]*port    // who registered it
	good     map[chunk.ID]string // the pack out of which it was read last
}

func newLedger(w *world, p *pool) *ledger {
	return &ledger{pool: p, w: w, all: map[string]*entry{}, sessions: map[string]*port{}, good: map[chunk.ID]string{}}
}

func (l *ledger) intends(id, by string, payload []byte) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.all[id] = &entry{id: id, by: by, payload: payload}
}

func (l *ledger) acked(id string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.all[id].acked, l.all[id].ackedAt = true, l.w.tick
	l.w.stats.commits++
}

func (l *ledger) fenced(id string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.all[id].fenced = true
	l.w.stats.fenced++
}

func (l *ledger) asked(ids []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if e := l.all[id]; e != nil && !e.asked {
			e.asked, e.askedAt = true, l.w.tick
		}
	}
}

func (l *ledger) wasAsked(id string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.all[id] == nil || l.all[id].asked
}

// promised returns the commits that are acknowledged and that nobody has asked
// to forget.
func (l *ledger) promised() map[string]bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	set := map[string]bool{}
	for id, e := range l.all {
		if e.acked && !e.asked {
			set[id] = true
		}
	}
	return set
}

// saw learns from a call that took effect: whose session is whose, and who ends
// whose.
func (l *ledger) saw(c *call) {
	name := c.name()
	id := name[strings.LastIndex(name, "/")+1:]
	switch {
	case (c.op == "put" || c.op == "puthold") && strings.HasPrefix(name, "sessions/"):
		l.sessions[id] = c.port
	case c.op == "put" && strings.HasPrefix(name, "fates/"):
		if p := l.sessions[id]; p != nil && p != c.port {
			p.killed++
			l.w.stats.killed++
		}
	}
}

// check demands what must hold at every instant: what was promised is listed, what
// is listed can be read, and what is gone stays gone.
func (l *ledger) check() error {
	ctx := context.Background()
	if l.eye == nil {
		var err error
		if l.eye, err = store.Open(ctx, l.w.mem, store.Env{Workers: 1, Level: seal.Off}, secret()); err != nil {
			return fmt.Errorf("the eye: %w", err)
		}
	}
	if err := l.eye.Refresh(ctx); err != nil {
		return fmt.Errorf("the eye sees: %w", err)
	}
	commits, err := l.eye.Commits(ctx)
	if err != nil {
		return fmt.Errorf("the eye sees: %w", err)
	}
	listed := map[string]bool{}
	need := map[int]string{}
	for _, c := range commits {
		if listed[c.ID] {
			return fmt.Errorf("commit %s is listed twice", c.ID)
		}
		listed[c.ID] = true
		e := l.all[c.ID]
		switch {
		case e == nil:
			return fmt.Errorf("commit %s is listed, and nobody has made it", c.ID)
		case !bytes.Equal(e.payload, c.Payload):
			return fmt.Errorf("commit %s of %s has another payload", c.ID, e.by)
		case e.fenced:
			return fmt.Errorf("commit %s of %s was reported fenced and is listed", c.ID, e.by)
		case e.gone:
			return fmt.Errorf("commit %s of %s was gone and has come back", c.ID, e.by)
		}
		e.seen = true
		for _, i := range l.named(c.Payload) {
			need[i] = c.ID
		}
	}
	for id, e := range l.all {
		switch {
		case listed[id]:
		case e.acked && !e.asked:
			return fmt.Errorf("I2: commit %s of %s was acknowledged (at %d) and nobody has asked to forget it, but it is not there", id, e.by, e.ackedAt)
		case e.seen && !e.asked:
			return fmt.Errorf("I2: commit %s of %s was listed and nobody has asked to forget it, but it is gone", id, e.by)
		case e.seen && !e.gone:
			e.gone = true
			l.w.stats.drops++
		}
	}
	return l.loads(ctx, need)
}

// loads demands that every needed piece is in a pack that exists, and right.
func (l *ledger) loads(ctx context.Context, need map[int]string) error {
	for i, p := range l.list {
		by, needed := need[i]
		if !needed {
			continue
		}
		pack, err := l.eye.PackOf(ctx, p.id)
		if err != nil {
			return err
		}
		if pack == "" || l.good[p.id] != pack {
			got, err := l.eye.Load(ctx, p.kind, p.id)
			if err != nil || !bytes.Equal(got, p.data) {
				return fmt.Errorf("I1: chunk %s, which commit %s needs: %d bytes, %w", p.id.Short(), by, len(got), err)
			}
			l.good[p.id] = pack
		}
		if pack == "" {
			continue
		}
		// What was loaded may have come out of a cache.
		if r, err := l.w.mem.Get(ctx, pack, 0, 0); err != nil {
			return fmt.Errorf("I1: chunk %s, which commit %s needs, is said to be in %s: %w", p.id.Short(), by, pack, err)
		} else if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) close() {
	if l.eye != nil {
		_ = l.eye.Close()
	}
}

// names lists the bucket.
func (w *world) names(prefix string) []string {
	var names []string
	for info := range w.mem.List(context.Background(), prefix, "") {
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}
