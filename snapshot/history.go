package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// A Version is a state of a path that one or more consecutive snapshots share.
type Version struct {
	First, Last Snapshot
	Snapshots   int // from First to Last
	Entry       *Entry
}

// History calls fn for each version of a path in the order of time. Snapshots
// that lack the path end a version. It looks at the path alone and not at what
// else is in the snapshots; a directory has a new version whenever anything
// below it changed.
func History(ctx context.Context, l Loader, snaps []Snapshot, path string, fn func(Version) error) error {
	h := history{ctx: ctx, loader: l, fn: fn}
	for _, s := range slices.SortedFunc(slices.Values(snaps), Compare) {
		e, err := Resolve(ctx, l, s.Root, path)
		if errors.Is(err, fs.ErrNotExist) {
			e, err = nil, nil
		}
		if err != nil {
			return fmt.Errorf("look into snapshot %s: %w", s.ID, err)
		}
		if err := h.next(s, e); err != nil {
			return err
		}
	}
	return h.end()
}

type history struct {
	ctx    context.Context
	loader Loader
	fn     func(Version) error
	cur    Version // Entry is nil if there is none
}

// next takes the entry of the next snapshot, nil if it has none.
func (h *history) next(s Snapshot, e *Entry) error {
	same, err := h.same(e)
	if err != nil {
		return err
	}
	if same {
		h.cur.Last = s
		h.cur.Snapshots++
		return nil
	}
	if err := h.end(); err != nil {
		return err
	}
	h.cur = Version{First: s, Last: s, Snapshots: 1, Entry: e}
	return nil
}

func (h *history) same(e *Entry) (bool, error) {
	old := h.cur.Entry
	if old == nil || e == nil || old.Tree != e.Tree {
		return false, nil
	}
	fields, err := Fields(h.ctx, h.loader, old, e)
	return len(fields) == 0, err
}

func (h *history) end() error {
	if h.cur.Entry == nil {
		return nil
	}
	return h.fn(h.cur)
}
