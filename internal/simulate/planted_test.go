package simulate

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"coffer/bucket"
)

// A plant breaks the protocol from outside: the oracle must notice, or it is too
// weak.
type plant struct {
	name string
	sow  func(w *world)
	plan func(p *plan) // makes it likely that it shows; may be nil
}

func isPut(c *call, prefix string) bool {
	return (c.op == "put" || c.op == "puthold") && strings.HasPrefix(c.name(), prefix)
}

func (w *world) remove(names ...string) { _ = w.mem.Delete(context.Background(), names...) }

// overwrites lets a second Put of a name win.
func overwrites(w *world, prefix string) {
	w.hook = func(c *call) (func() error, bool) {
		if !isPut(c, prefix) {
			return nil, false
		}
		return func() error {
			w.remove(c.name())
			return c.effect()
		}, true
	}
}

func prunes(p *port) bool { return p.who.name[:5] == "prune" || p.who.name[:5] == "tidie" }

func plants() []plant {
	hurried := func(p *plan) { p.locks, p.short, p.lag = false, true, 8e9; p.writers, p.pruners = 4, 2 }
	return []plant{
		{"a fate is overwritten", func(w *world) { overwrites(w, "fates/") }, hurried},
		{"a generation is overwritten", func(w *world) { overwrites(w, "generations/") }, nil},
		{"sessions are hidden from prunes", func(w *world) {
			w.lie = func(p *port, prefix string, page []bucket.Info) []bucket.Info {
				if prunes(p) && strings.HasPrefix(prefix, "sessions/") {
					return nil
				}
				return page
			}
		}, nil},
		{"sessions and fates are hidden from prunes", func(w *world) {
			w.lie = func(p *port, prefix string, page []bucket.Info) []bucket.Info {
				if prunes(p) && (strings.HasPrefix(prefix, "sessions/") || strings.HasPrefix(prefix, "fates/")) {
					return nil
				}
				return page
			}
		}, nil},
		{"the closing is not written, and all is deleted", func(w *world) {
			w.hook = func(c *call) (func() error, bool) {
				return func() error { return nil }, isPut(c, "generations/") && strings.HasSuffix(c.name(), ".done")
			}
		}, nil},
		{"what a writer sees of generations is stale", func(w *world) {
			first := map[*port][]bucket.Info{}
			w.lie = func(p *port, prefix string, page []bucket.Info) []bucket.Info {
				if p.who.name[:5] != "write" || prefix != "generations/" {
					return page
				}
				if first[p] == nil || w.chance(0.2) {
					first[p] = slices.Clone(page)
				}
				return first[p]
			}
			w.hook = func(c *call) (func() error, bool) {
				knows := func(i bucket.Info) bool { return i.Name == c.name() }
				hidden := c.op == "get" && first[c.port] != nil && strings.HasPrefix(c.name(), "generations/") && !slices.ContainsFunc(first[c.port], knows)
				return func() error { return fs.ErrNotExist }, hidden
			}
		}, nil},
		{"fates are swept a generation early", func(w *world) {
			w.hook = func(c *call) (func() error, bool) {
				if c.op != "put" || !strings.HasSuffix(c.name(), ".done") {
					return nil, false
				}
				return func() error {
					err := c.effect()
					if err == nil {
						w.remove(w.names("fates/" + before(c.name()) + "/")...)
					}
					return err
				}, true
			}
		}, hurried},
		{"a condemned pack goes at once", func(w *world) {
			w.hook = func(c *call) (func() error, bool) {
				if c.op != "put" || !strings.HasPrefix(c.name(), "generations/") || strings.HasSuffix(c.name(), ".done") {
					return nil, false
				}
				return func() error {
					err := c.effect()
					if packs := w.names("packs/"); err == nil && len(packs) > 0 {
						w.remove(packs[0]) // mostly one of those, for it is the oldest
					}
					return err
				}, true
			}
		}, nil},
		{"records of generations are deleted", func(w *world) {
			w.hook = func(c *call) (func() error, bool) {
				return func() error {
					err := c.effect()
					if err == nil {
						w.remove("generations/" + before(c.name()))
					}
					return err
				}, c.op == "put" && strings.HasSuffix(c.name(), ".done")
			}
		}, nil},
		{"forget deletes the commit itself", func(w *world) {
			w.hook = func(c *call) (func() error, bool) {
				return func() error {
					if names := w.names("fates/"); len(names) > 0 {
						w.remove(names[0])
					}
					return c.effect()
				}, isPut(c, "asks/")
			}
		}, nil},
	}
}

// before returns the number in the name of a closing, less one.
func before(closing string) string {
	digits := []byte(strings.TrimSuffix(strings.TrimPrefix(closing, "generations/"), ".done"))
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] > '0' {
			digits[i]--
			break
		}
		digits[i] = '9'
	}
	return string(digits)
}

// TestPlantedBugsAreFound lets the protocol be broken in one way after another.
func TestPlantedBugsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("the simulator is not judged every time")
	}
	base := newRepo(t)
	for _, p := range plants() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			const tries = 60
			for seed := range uint64(tries) {
				plan := draw(seed)
				if p.plan != nil {
					p.plan(&plan)
				}
				w := simulate(t, plan, base, p.sow)
				if w.failed != nil {
					t.Logf("seed %d: %v", seed, w.failed)
					return
				}
			}
			t.Errorf("in %d runs nobody has noticed", tries)
		})
	}
}
