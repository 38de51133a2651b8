package simulate

import (
	"context"
	"testing"
	"testing/synctest"

	"coffer/bucket/mem"
	"coffer/seal"
	"coffer/store"
)

// A builder makes a stage, without a scheduler.
type builder struct {
	t     *testing.T
	mem   *mem.Bucket
	s     *store.Store
	known []entry
	chunk *pool
}

// build makes a stage by what fn does.
func build(t *testing.T, from stage, fn func(*builder)) stage {
	t.Helper()
	out := stage{chunks: from.chunks, seed: from.seed}
	synctest.Test(t, func(t *testing.T) {
		b := &builder{t: t, mem: from.bucket(), chunk: from.chunks}
		b.s = b.open()
		fn(b)
		b.must(b.s.Close())
		out.image, out.known = imageOf(t, b.mem), b.known
	})
	return out
}

func (b *builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) open() *store.Store {
	b.t.Helper()
	s, err := store.Open(b.t.Context(), b.mem, store.Env{Workers: 1, Level: seal.Off, Host: "stage"}, secret())
	b.must(err)
	return s
}

// begin opens a session in a store of its own and saves pieces.
func (b *builder) begin(pieces ...int) (w *store.Session, end func()) {
	b.t.Helper()
	s := b.open()
	w, err := s.Begin(b.t.Context())
	b.must(err)
	for _, i := range pieces {
		_, err := w.Save(b.t.Context(), b.chunk.list[i].kind, b.chunk.list[i].data)
		b.must(err)
	}
	return w, func() { b.must(s.Close()) }
}

// keep commits pieces.
func (b *builder) keep(pieces ...int) string {
	b.t.Helper()
	w, end := b.begin(pieces...)
	defer end()
	return b.commit(w, pieces...)
}

func (b *builder) commit(w *store.Session, pieces ...int) string {
	b.t.Helper()
	payload := b.chunk.needs(pieces)
	_, err := w.Commit(b.t.Context(), payload)
	b.must(err)
	b.known = append(b.known, entry{id: w.ID(), by: "stage", payload: payload, acked: true})
	return w.ID()
}

func (b *builder) forget(ids ...string) {
	b.t.Helper()
	b.must(b.s.Forget(b.t.Context(), ids))
	for i := range b.known {
		for _, id := range ids {
			if b.known[i].id == id {
				b.known[i].asked = true
			}
		}
	}
}

// prune plans and runs; where a session is alive it leaves the generation open.
func (b *builder) prune() {
	b.t.Helper()
	p, err := b.s.PlanPrune(context.Background(), store.PruneOptions{Marker: marker{}, RepackBelow: 0.9})
	b.must(err)
	defer p.Close()
	_, err = p.Run(context.Background())
	b.must(err)
}

// abandon leaves packs and segments behind, of a session that was cut off.
func (b *builder) abandon(pieces ...int) {
	b.t.Helper()
	w, end := b.begin(pieces...)
	defer end()
	b.must(w.Flush(b.t.Context()))
	b.must(w.Abort(b.t.Context()))
}

// aged is a repository with a history: two generations, commits that share
// chunks, requests to forget, the remains of a session that was cut off.
func aged(t *testing.T, base stage) stage {
	t.Helper()
	return build(t, base, func(b *builder) {
		first := b.keep(0, 1, 2, 5)
		b.keep(1, 2, 3)
		b.keep(4, 6, 7, 8)
		b.forget(first)
		b.prune()
		second := b.keep(2, 9, 10, 11)
		b.keep(9, 12, 13)
		b.abandon(14, 15)
		b.forget(second)
		b.forget(b.keep(16))
	})
}

// opened is one with a generation that is open, and commits that its plan did
// not know: what they need is in condemned packs.
func opened(t *testing.T, base stage) stage {
	t.Helper()
	return build(t, base, func(b *builder) {
		first := b.keep(0, 1, 2, 5)
		b.keep(1, 4)
		w, end := b.begin(0, 2, 6)
		other, end2 := b.begin(3)
		b.forget(first)
		b.prune()
		b.commit(w, 0, 2, 6)
		end()
		b.keep(7, 4)
		b.must(other.Flush(b.t.Context()))
		b.must(other.Abort(b.t.Context()))
		end2()
	})
}

// crowded is one in which the next Tidy makes a generation.
func crowded(t *testing.T, base stage) stage {
	t.Helper()
	return build(t, base, func(b *builder) {
		b.keep(0, 1, 2)
		for range 66 {
			w, end := b.begin()
			b.must(w.Abort(b.t.Context()))
			end()
		}
		b.keep(1, 3)
	})
}
