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

// snapshots lists all snapshots, oldest first.
func snapshots(ctx context.Context, st *store.Store) ([]snapshot.Snapshot, error) {
	commits, err := st.Commits(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]snapshot.Snapshot, 0, len(commits))
	for _, c := range commits {
		m, err := snapshot.DecodeManifest(c.Payload)
		if err != nil {
			return nil, failure("the manifest of snapshot %s cannot be read: %w", shortID(c.ID), err)
		}
		all = append(all, snapshot.Snapshot{ID: c.ID, Manifest: m})
	}
	slices.SortFunc(all, snapshot.Compare)
	return all, nil
}

func ids(list []snapshot.Snapshot) []string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, s.ID)
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
	all, err := snapshots(ctx, st)
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
		return st.Read(ctx, []string{p.ID}, func(ctx context.Context) error { return fn(ctx, st, p) })
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
