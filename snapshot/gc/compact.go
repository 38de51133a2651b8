package gc

import (
	"context"
	"errors"
	"fmt"
	"os"

	"coffer/store"
)

// Compact rewrites the cache without the pages that are not live, if those are
// more than half of it. live is what Mark found for all commits that there
// are; pages that it lacks by mistake are only loaded once more. Where another
// writes the cache, Compact leaves it alone.
func (m *Marker) Compact(ctx context.Context, live *store.LiveSet) error {
	l := m.openLog()
	defer l.close()
	if !l.writable() {
		return nil
	}
	err := l.compact(ctx, live)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errRotten):
		l.discard(err)
	case err != nil:
		l.log.Warn("the cache of references stays as it is", "err", err)
	}
	return nil
}

func (l *refLog) compact(ctx context.Context, live *store.LiveSet) error {
	var keep bitset
	err := l.backward(ctx, len(l.frames), all, func(r record) {
		// What a page that stays names has to stay, whatever live says: the log
		// would not be closed, and live tells pages apart by eight bytes.
		if !keep.has(r.num) && !live.HasPrefix(r.prefix) {
			return
		}
		keep.set(r.num)
		for i := range r.trees() {
			keep.set(r.tree(i))
		}
	})
	if err != nil || 2*keep.count() >= int(l.names.len()) {
		return err
	}
	return l.rewrite(ctx, keep)
}

// rewrite writes the pages to keep to a new log in place of this one.
func (l *refLog) rewrite(ctx context.Context, keep bitset) error {
	out := &refLog{box: l.box, log: l.log, limit: l.limit, key: l.key, lock: l.lock}
	path := l.path + ".new"
	err := out.create(path)
	if err == nil {
		err = l.copyTo(ctx, out, keep)
	}
	if out.file != nil {
		err = errors.Join(err, out.file.Close())
	}
	if err == nil {
		err = os.Rename(path, l.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rewrite cache of references: %w", err), os.Remove(path))
	}
	return nil
}

func (l *refLog) copyTo(ctx context.Context, out *refLog, keep bitset) error {
	number := keep.ranks()
	var trees []uint32
	var data []uint64
	err := l.forward(ctx, keep.any, func(r record) {
		if !keep.has(r.num) {
			return
		}
		trees, data = trees[:0], data[:0]
		for i := range r.trees() {
			trees = append(trees, number(r.tree(i)))
		}
		for i := range r.data() {
			data = append(data, r.datum(i))
		}
		out.append(*l.names.at(r.num), r.prefix, trees, data)
	})
	out.flush()
	if err == nil && !out.writable() {
		l.lock = nil // out has given it back
		err = errors.New("it could not be written")
	}
	return err
}
