package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"coffer/seal"
)

// An ask is a request to forget commits. Nothing is removed by it: the next
// prune drops what it names, unless it is undone before.
type ask struct {
	Version int      `cbor:"1,keyasint"`
	Commits []string `cbor:"2,keyasint"`
	Host    string   `cbor:"3,keyasint,omitempty"`
	Time    int64    `cbor:"4,keyasint,omitempty"`
}

const (
	askPrefix  = "asks/"
	notePrefix = "notes/"
)

// Forget asks that the next prune drop commits. It is durable when it returns.
func (s *Store) Forget(ctx context.Context, commits []string) error {
	if len(commits) == 0 {
		return nil
	}
	name, err := s.randomName(askPrefix)
	if err == nil {
		a := ask{Version: recordVersion, Commits: commits, Host: s.env.Host, Time: s.env.Now().Unix()}
		err = s.vital(func() error { return s.putCBOR(ctx, name, a) })
	}
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	return nil
}

func (s *Store) randomName(prefix string) (string, error) {
	id, err := s.draw()
	return prefix + hex.EncodeToString(id[:]), err
}

// readAsks returns the names of the asks and what each of them names. They are
// settled: what a prune drops must have been asked for after a power cut, too.
// Those in void, and those that are damaged, count for nothing: what they name
// stays.
func (s *Store) readAsks(ctx context.Context, void ...string) (map[string][]string, error) {
	names, err := s.list(ctx, askPrefix)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(void, name) })
	if err := s.settleAll(ctx, "requests to forget", names); err != nil {
		return nil, err
	}
	lists := make([][]string, len(names))
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for i, name := range names {
		group.Go(func() (err error) {
			lists[i], err = s.asks.get(name, func() ([]string, error) { return s.getAsk(running, name) })
			if errors.Is(err, seal.ErrDamaged) {
				s.env.Log.Warn("a request to forget is damaged and counts for nothing: run 'coffer repair'", "request", name, "err", err)
				return nil
			}
			if isMissing(err) { // served meanwhile
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read requests to forget: %w", err)
	}
	asks := make(map[string][]string, len(names))
	for i, name := range names {
		if len(lists[i]) > 0 {
			asks[name] = lists[i]
		}
	}
	return asks, nil
}

func (s *Store) getAsk(ctx context.Context, name string) ([]string, error) {
	var a ask
	err := s.getCBOR(ctx, name, &a, &a.Version)
	return a.Commits, err
}

// list returns the names under a prefix.
func (s *Store) list(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	for info, err := range s.bucket.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		names = append(names, info.Name)
	}
	return names, nil
}

// A Note is a small record beside the snapshots. What it says is its writer's
// affair.
type Note struct {
	ID      string
	Payload []byte
}

type note struct {
	Version int    `cbor:"1,keyasint"`
	Payload []byte `cbor:"2,keyasint,omitempty"`
	Reads   []byte `cbor:"3,keyasint,omitempty"` // see readlog.go
}

// PutNote stores a note. It is durable when it returns.
func (s *Store) PutNote(ctx context.Context, payload []byte) error {
	return s.putNote(ctx, note{Version: recordVersion, Payload: payload})
}

func (s *Store) putNote(ctx context.Context, n note) error {
	name, err := s.randomName(notePrefix)
	if err == nil {
		err = s.putCBOR(ctx, name, n)
	}
	if err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	return nil
}

// Notes returns all notes that have a payload.
func (s *Store) Notes(ctx context.Context) ([]Note, error) {
	var list []Note
	err := s.eachNote(ctx, func(name string, n note) {
		if len(n.Payload) > 0 {
			list = append(list, Note{ID: name[len(notePrefix):], Payload: n.Payload})
		}
	})
	return list, err
}

// A namedNote is a note with the name of its object.
type namedNote struct {
	name string
	note
}

func (n namedNote) id() string { return n.name[len(notePrefix):] }

// eachNote reads all notes and hands them out one by one.
func (s *Store) eachNote(ctx context.Context, fn func(name string, n note)) error {
	notes, err := s.readNotes(ctx)
	for _, n := range notes {
		fn(n.name, n.note)
	}
	return err
}

// readNotes reads all notes. One that vanishes after it was listed has been
// folded into another, which only a new listing shows.
func (s *Store) readNotes(ctx context.Context) ([]namedNote, error) {
	for try := 1; ; try++ {
		names, err := s.list(ctx, notePrefix)
		if err != nil {
			return nil, err
		}
		notes, err := s.getNotes(ctx, names)
		if err != nil {
			return nil, fmt.Errorf("read notes: %w", err)
		}
		found := slices.DeleteFunc(slices.Clone(notes), func(n namedNote) bool { return n.name == "" })
		if len(found) == len(names) || try == viewTries {
			return slices.DeleteFunc(found, func(n namedNote) bool { return n.Version == 0 }), nil
		}
	}
}

// getNotes reads notes, several at once. A missing one has no name; one that is
// damaged has no version and counts for nothing.
func (s *Store) getNotes(ctx context.Context, names []string) ([]namedNote, error) {
	notes := make([]namedNote, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordReaders)
	for i, name := range names {
		group.Go(func() error {
			n, err := s.notes.get(name, func() (note, error) { return s.getNote(ctx, name) })
			switch {
			case isMissing(err):
				return nil
			case errors.Is(err, seal.ErrDamaged):
				s.env.Log.Warn("a note is damaged and counts for nothing: run 'coffer repair'", "note", name, "err", err)
				n = note{}
			case err != nil:
				return err
			}
			notes[i] = namedNote{name, n}
			return nil
		})
	}
	return notes, group.Wait()
}

func (s *Store) getNote(ctx context.Context, name string) (note, error) {
	var n note
	err := s.getCBOR(ctx, name, &n, &n.Version)
	return n, err
}

// SealCache seals what a caller keeps in a cache on this machine: nothing of a
// repository lies in the clear.
func (s *Store) SealCache(name string, plain []byte) ([]byte, error) {
	return s.box.SealRecord("cache/"+name, plain)
}

// OpenCache opens what SealCache sealed under the same name.
func (s *Store) OpenCache(name string, sealed []byte, limit int) ([]byte, error) {
	return s.box.OpenRecord("cache/"+name, sealed, limit)
}
