package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/bucket"
	"coffer/bucket/local"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/snapshot/gc"
	"coffer/store"
)

// repoName is the repository as messages call it.
func (a *app) repoName() string { return printable(a.repo) }

// repoPath returns the directory that --repo names.
func (a *app) repoPath() (string, error) {
	if a.repo == "" {
		return "", usageError("no repository is given: give --repo PATH or set COFFER_REPOSITORY")
	}
	scheme, _, ok := strings.Cut(a.repo, ":")
	if ok && slices.Contains([]string{"s3", "http", "https"}, strings.ToLower(scheme)) {
		return "", usageError("repositories at %s: are not in this version of coffer: give the path of a directory", scheme)
	}
	return filepath.Clean(a.repo), nil
}

func (a *app) openBucket() (bucket.Bucket, error) {
	dir, err := a.repoPath()
	if err != nil {
		return nil, err
	}
	b, err := local.Open(dir)
	if err != nil {
		return nil, a.openError(err)
	}
	return b, nil
}

func (a *app) openError(err error) error {
	switch {
	case isFile(a.repo):
		return failure("the repository %s is a file where a directory is needed: check --repo%w", a.repoName(), silent{err})
	case errors.Is(err, fs.ErrNotExist):
		return failure("the repository's directory %s does not exist: mount its disk, check --repo, or make a repository with 'coffer init'%w",
			a.repoName(), silent{err})
	case errors.Is(err, fs.ErrPermission):
		return failure("the repository's directory %s cannot be read: permission denied, run coffer as its owner%w", a.repoName(), silent{err})
	}
	return err
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// silent keeps an error in the chain without its text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// env is what stores take from this machine.
func (a *app) env(c *cli.Context) (store.Env, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return store.Env{}, err
	}
	host, _ := os.Hostname() // only for people who look at sessions
	return store.Env{Now: a.now, Rand: a.rand, Log: a.logger(), CacheDir: dir, Level: a.level, Host: host}, nil
}

// openStore opens the repository with the secret that the user gave, or asks
// for one.
func (a *app) openStore(c *cli.Context) (*store.Store, error) {
	b, err := a.openBucket()
	if err != nil {
		return nil, err
	}
	env, err := a.env(c)
	if err != nil {
		return nil, err
	}
	source, err := a.openingSource(c)
	if err != nil {
		return nil, err
	}
	if source != nil {
		return a.openWith(c.Context, b, env, *source)
	}
	return a.openOrAsk(c.Context, b, env)
}

// openWith also tries the key that anybody has: whoever set COFFER_PASSWORD
// for one repository can then use an open one too.
func (a *app) openWith(ctx context.Context, b bucket.Bucket, env store.Env, source secretSource) (*store.Store, error) {
	secret, err := source.read(ctx)
	if err != nil {
		return nil, err
	}
	a.secretFrom = source.name
	return store.Open(ctx, b, env, secret, seal.Secret{Kind: seal.Open})
}

// openOrAsk tries to do without a secret before it asks for one.
func (a *app) openOrAsk(ctx context.Context, b bucket.Bucket, env store.Env) (*store.Store, error) {
	st, err := store.Open(ctx, b, env, seal.Secret{Kind: seal.Open})
	if !errors.Is(err, seal.ErrWrongSecret) {
		return st, err
	}
	return a.openWith(ctx, b, env, secretSource{"password", func(ctx context.Context) (seal.Secret, error) {
		text, err := a.prompt(ctx, "Password for "+a.repoName()+": ")
		if err != nil {
			return seal.Secret{}, err
		}
		return newPassword(text)
	}})
}

// withStore runs fn with the open repository and closes it.
func (a *app) withStore(c *cli.Context, fn func(ctx context.Context, st *store.Store) error) error {
	st, err := a.openStore(c)
	if err != nil {
		return err
	}
	err = errors.Join(fn(c.Context, st), st.Close())
	return errors.Join(err, a.keepCacheLimit(c))
}

// An unreadable error names records of snapshots that could not be read. What
// came with it is good.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// everySnapshot lists all snapshots, oldest first, forgotten ones too. Where
// some records could not be read, the error is an unreadable and the others are
// there.
func everySnapshot(ctx context.Context, st *store.Store) ([]snapshot.Snapshot, error) {
	commits, err := st.Commits(ctx)
	if err != nil {
		return nil, err
	}
	notes, err := readNotes(ctx, st)
	if err != nil && !errors.As(err, new(unreadable)) {
		return nil, err
	}
	records := make([]snapshot.Record, len(commits))
	for i, c := range commits {
		records[i] = snapshot.Record(c)
	}
	all, strange := snapshot.Collect(records, notes)
	if err = errors.Join(strange, err); err != nil {
		err = unreadable{err}
	}
	return all, err
}

func readNotes(ctx context.Context, st *store.Store) ([]snapshot.Note, error) {
	list, err := st.Notes(ctx)
	if err != nil {
		return nil, err
	}
	stored := make([]snapshot.StoredNote, len(list))
	for i, n := range list {
		stored[i] = snapshot.StoredNote(n)
	}
	notes, err := snapshot.DecodeNotes(stored)
	if err != nil {
		err = unreadable{err}
	}
	return notes, err
}

// snapshots lists the snapshots that are to be seen, oldest first. It is an
// error if a record cannot be read.
func snapshots(ctx context.Context, st *store.Store) ([]snapshot.Snapshot, error) {
	all, err := everySnapshot(ctx, st)
	return snapshot.Present(all), err
}

// everySnapshot is the function of that name for commands that go on with what
// can be read: one record that cannot must not hide the others.
func (a *app) everySnapshot(ctx context.Context, st *store.Store) ([]snapshot.Snapshot, error) {
	all, err := everySnapshot(ctx, st)
	if err == nil || !errors.As(err, new(unreadable)) {
		return all, err
	}
	if !a.warnedRecords {
		a.warnedRecords = true
		a.warn("", "left out of the list: "+plainText(err)+": run 'coffer verify'")
	}
	return all, nil
}

// presentSnapshots is everySnapshot without those that are forgotten.
func (a *app) presentSnapshots(ctx context.Context, st *store.Store) ([]snapshot.Snapshot, error) {
	all, err := a.everySnapshot(ctx, st)
	return snapshot.Present(all), err
}

// commitsOf are all commits of a snapshot, the one to read it by first. A
// snapshot's ID is only the name that it goes by: its first commit may be gone.
func commitsOf(s snapshot.Snapshot) []string {
	list := slices.Clone(s.Records)
	for _, h := range s.Holds {
		list = append(list, h.Record)
	}
	return append(list, s.Asked...)
}

// ids are the commits by which snapshots are read.
func ids(list []snapshot.Snapshot) []string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, commitsOf(s)[0])
	}
	return all
}

// A place is a path in a snapshot.
type place struct {
	snapshot.Snapshot
	path string
}

// find finds what an argument such as latest:/home names.
func (a *app) find(ctx context.Context, st *store.Store, c *cli.Context, arg string) (place, error) {
	all, err := a.everySnapshot(ctx, st)
	if err != nil {
		return place{}, err
	}
	return choose(all, arg, filterOf(c))
}

func choose(all []snapshot.Snapshot, arg string, filter snapshot.Filter) (place, error) {
	s, path, err := snapshot.Select(all, arg, filter)
	return place{s, path}, selectError(err)
}

// atPlace runs fn with the place that arg names, while no prune may remove it.
func (a *app) atPlace(c *cli.Context, arg string, fn func(ctx context.Context, st *store.Store, p place) error) error {
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		p, err := a.find(ctx, st, c, arg)
		if err != nil {
			return err
		}
		return st.Read(ctx, ids([]snapshot.Snapshot{p.Snapshot}), func(ctx context.Context) error { return fn(ctx, st, p) })
	})
}

// entryAt is Resolve with a sentence for a path that is not there.
func entryAt(ctx context.Context, st *store.Store, p place) (*snapshot.Entry, error) {
	e, err := snapshot.Resolve(ctx, st, p.Root, p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure("snapshot %s has no %s: run 'coffer ls %s' to see what it has",
			shortID(p.ID), printable(p.path), shortID(p.ID))
	}
	return e, err
}

// marker finds out what snapshots need, with its cache beside the index's.
func (a *app) marker(c *cli.Context, st *store.Store) (*gc.Marker, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return nil, err
	}
	if dir != "" {
		dir = filepath.Join(dir, st.Config().ID)
	}
	return gc.New(dir, st, a.logger()), nil
}

// tidy keeps the repository quick to open, and finishes a prune that did not
// wait. Verbs that write call it last: what they did stands whatever comes of it.
func (a *app) tidy(ctx context.Context, c *cli.Context, st *store.Store) {
	m, err := a.marker(c, st)
	if err == nil {
		err = st.Tidy(ctx, m)
	}
	if err != nil && ctx.Err() == nil {
		a.warn("", "what was asked for is done, but the repository could not be tidied, which is left to the next command: "+plainText(err))
	}
}
