package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coffer/snapshot"
	"coffer/store"
)

// commitAgain makes one more commit of a snapshot: the same manifest and tree,
// and no content, so that it takes a few hundred bytes. With a hold the commit
// is that hold; without one it brings the snapshot back that was forgotten.
//
// Whether the snapshot is still there is decided in the session, on the list
// that the session may build on: one that a prune has dropped does not come
// back.
func commitAgain(ctx context.Context, st *store.Store, s snapshot.Snapshot, hold *snapshot.Hold) (string, error) {
	c, err := st.Write(ctx, func(_ context.Context, w *store.Session) ([]byte, error) {
		m, err := manifestOf(w.Commits(), s)
		if err != nil {
			return nil, err
		}
		m.Original, m.Hold = s.ID, hold
		return snapshot.EncodeManifest(&m)
	})
	return c.ID, err
}

// errPruned says that a snapshot is gone for good.
var errPruned = errors.New("it has been pruned")

// manifestOf is the manifest of one of the commits of a snapshot. It is not the
// one of s, which has the tags of today.
func manifestOf(valid []store.Commit, s snapshot.Snapshot) (snapshot.Manifest, error) {
	for _, id := range commitsOf(s) {
		i := slices.IndexFunc(valid, func(c store.Commit) bool { return c.ID == id })
		if i < 0 {
			continue
		}
		m, err := snapshot.DecodeManifest(valid[i].Payload)
		if err != nil {
			return m, fmt.Errorf("read snapshot %s: %w", shortID(s.ID), err)
		}
		return m, nil
	}
	return snapshot.Manifest{}, errPruned
}

// evenForgotten finds what an argument names, also a snapshot that was
// forgotten, if its id is given.
func evenForgotten(all []snapshot.Snapshot, arg string, filter snapshot.Filter) (snapshot.Snapshot, error) {
	s, path, err := snapshot.Select(all, arg, filter)
	var e *snapshot.SelectError
	if errors.As(err, &e) && e.Forgotten != "" {
		i := slices.IndexFunc(all, func(s snapshot.Snapshot) bool { return s.ID == e.Forgotten })
		s, err = all[i], nil
	}
	return s, wholeOnly(arg, path, err)
}

// wholeOnly refuses an argument with a path.
func wholeOnly(arg, path string, err error) error {
	if err == nil && path != "/" {
		return usageError("%s names a path: this is done to whole snapshots only", printable(arg))
	}
	return selectError(err)
}

// isAmbiguous reports whether an argument names several snapshots.
func isAmbiguous(err error) bool {
	var e *snapshot.SelectError
	return errors.As(err, &e) && len(e.Candidates) > 0
}

// eachOnce calls find for each argument and leaves out what comes twice.
func eachOnce(args []string, find func(arg string) (snapshot.Snapshot, error)) ([]snapshot.Snapshot, error) {
	var list []snapshot.Snapshot
	for _, arg := range args {
		s, err := find(arg)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o snapshot.Snapshot) bool { return o.ID == s.ID }) {
			list = append(list, s)
		}
	}
	return list, nil
}
