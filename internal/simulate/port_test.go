package simulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"coffer/bucket"
)

// A port is the bucket as one process sees it. When the process dies every call
// fails and its holds are dropped; the actor goes on with another port.
type port struct {
	w      *world
	who    *actor
	number int // of the actor, then of its lives
	life   int

	mu     sync.Mutex
	dead   bool // under w.mu
	faults int  // errors that it was given and that were no answers
	holds  []func() error
	mine   map[string]bool // ids of its sessions
	killed int             // sessions of it that others ended
}

func (p *port) label() string { return fmt.Sprintf("%s/%d", p.who.name, p.life) }

// bucket returns what a store is opened on: with locks or without.
func (p *port) bucket() bucket.Bucket {
	if p.w.plan.locks {
		return holdingPort{p}
	}
	return p
}

// quiet reports whether a call need not be scheduled: what it reads never
// changes. Segments are read under a lock of the store, and a goroutine that waits
// for a lock is not at rest: who reads with two goroutines must not wait there.
func (p *port) quiet(op, name string) bool {
	if op != "get" && op != "list" {
		return false
	}
	return name == "config" || strings.HasPrefix(name, "keys/") || op == "get" && strings.HasPrefix(name, "index/") && p.who.twofold ||
		op == "get" && p.w.plan.quietFates && strings.HasPrefix(name, "fates/")
}

func (p *port) call(ctx context.Context, op string, names []string, effect func() error, undo func()) error {
	if p.quiet(op, names[0]) {
		p.w.mu.Lock()
		dead := p.dead
		p.w.mu.Unlock()
		if dead {
			return errCrashed
		}
		return effect()
	}
	return p.w.enter(&call{port: p, ctx: ctx, op: op, names: names, effect: effect, undo: undo})
}

// Put implements bucket.Bucket.
func (p *port) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(body, size+1))
	if err != nil || int64(len(data)) != size {
		return fmt.Errorf("put %s: body of %d bytes, not %d: %w", name, len(data), size, err)
	}
	return p.call(ctx, "put", []string{name}, func() error { return p.w.put(name, data) }, nil)
}

func (w *world) put(name string, data []byte) error {
	return w.mem.Put(context.Background(), name, bytes.NewReader(data), int64(len(data)))
}

// Get implements bucket.Bucket.
func (p *port) Get(ctx context.Context, name string, off, n int64) (r io.ReadCloser, err error) {
	err = p.call(ctx, "get", []string{name}, func() (err error) {
		r, err = p.w.mem.Get(context.Background(), name, off, n)
		return err
	}, nil)
	return r, err
}

// List implements bucket.Bucket. Some listings take a while: what is there from
// their beginning to their end is in them, and of what comes or goes meanwhile,
// some. Others come in pages, each of which is another call.
func (p *port) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		var before []bucket.Info
		slow := p.who.draw() < p.w.plan.pages && !p.quiet("list", prefix)
		if slow {
			err := p.call(ctx, "list", []string{prefix}, func() (err error) {
				before, err = p.all(prefix, after)
				return err
			}, nil)
			if err != nil {
				yield(bucket.Info{}, err)
				return
			}
		}
		for more := true; more; {
			var page []bucket.Info
			err := p.call(ctx, "list", []string{prefix}, func() (err error) {
				page, more, err = p.page(prefix, after, before, slow)
				return err
			}, nil)
			if err != nil {
				yield(bucket.Info{}, err)
				return
			}
			for _, info := range page {
				if after = info.Name; !yield(info, nil) {
					return
				}
			}
		}
	}
}

func (p *port) all(prefix, after string) (list []bucket.Info, err error) {
	for info, err := range p.w.mem.List(context.Background(), prefix, after) {
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

// page reads some of a listing. It runs as an effect.
func (p *port) page(prefix, after string, before []bucket.Info, slow bool) (page []bucket.Info, more bool, err error) {
	if page, err = p.all(prefix, after); err != nil {
		return nil, false, err
	}
	if slow {
		return p.blur(before, page), false, nil
	}
	if p.w.lie != nil {
		page = p.w.lie(p, prefix, page)
	}
	if !p.quiet("list", prefix) && p.w.chance(p.w.plan.pages) {
		if n := 1 + p.w.rnd.IntN(4); n < len(page) {
			return page[:n], true, nil
		}
	}
	return page, false, nil
}

// blur makes the listing that lasted from before to after.
func (p *port) blur(before, after []bucket.Info) (list []bucket.Info) {
	list = slices.DeleteFunc(slices.Concat(before, after), func(i bucket.Info) bool {
		stayed := slices.Contains(before, i) && slices.Contains(after, i)
		return !stayed && p.w.chance(0.5)
	})
	slices.SortFunc(list, func(a, b bucket.Info) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(list)
}

// Delete implements bucket.Bucket: not all at once.
func (p *port) Delete(ctx context.Context, names ...string) error {
	names = slices.Clone(names)
	for len(names) > 0 {
		n := len(names)
		if n > 1 && p.who.draw() < 0.5 {
			n = 1 + int(p.who.draw()*float64(n-1))
		}
		part := names[:n]
		if err := p.call(ctx, "delete", part, func() error { return p.w.mem.Delete(context.Background(), part...) }, nil); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// holdingPort is a port where the bucket knows who is alive.
type holdingPort struct{ *port }

// PutHeld implements bucket.Holder.
func (p holdingPort) PutHeld(ctx context.Context, name string, data []byte) (release func() error, err error) {
	err = p.call(ctx, "puthold", []string{name}, func() (err error) {
		if release, err = p.w.mem.PutHeld(context.Background(), name, data); err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.holds = append(p.holds, release)
		}
		return err
	}, func() { _ = release() })
	return release, err
}

// Held implements bucket.Holder.
func (p holdingPort) Held(ctx context.Context, name string) (held bool, err error) {
	err = p.call(ctx, "held", []string{name}, func() (err error) {
		held, err = p.w.mem.Held(context.Background(), name)
		return err
	}, nil)
	return held, err
}

// dropHolds is what the kernel does when a process dies.
func (p *port) dropHolds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, release := range p.holds {
		_ = release()
	}
	p.holds = nil
}
