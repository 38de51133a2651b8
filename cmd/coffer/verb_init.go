package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/urfave/cli/v2"

	"coffer/bucket/local"
	"coffer/seal"
	"coffer/store"
)

func (a *app) initVerb() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "make a repository",
		UsageText: "coffer init --repo PATH [flags]",
		Description: `Makes a repository in a new or empty directory. Everything in it is encrypted with a key that your
password or key file opens. Without a password nobody can read it, so a second key is made, the recovery
key, and shown once: print it, and keep it away from this machine.

With --quiet the recovery key is not shown; 'coffer key add --recovery' makes another one at any time.

Examples:
  coffer init --repo /mnt/backup/repo
  coffer init -r /mnt/backup/repo --password-file /root/coffer.pass
  head -c 32 /dev/urandom > /root/coffer.key && coffer init -r /mnt/backup/repo --key-file /root/coffer.key`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "label", Usage: "call the first key `TEXT` in 'coffer key list'"},
			&cli.BoolFlag{Name: "insecure-no-password", Usage: "let everybody who can read the repository read all that is in it"},
		},
		Action: a.runInit,
	}
}

func (a *app) runInit(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	dir, err := a.repoPath()
	if err != nil {
		return err
	}
	env, err := a.env(c)
	if err != nil {
		return err
	}
	secret, err := a.firstSecret(c)
	if err != nil {
		return err
	}
	st, recovery, err := a.makeRepository(c.Context, dir, env, store.InitOptions{Secret: secret, Label: c.String("label")})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }() // nothing was written through it
	return a.showInit(st.Config().ID, recovery)
}

// firstSecret is what will open the new repository.
func (a *app) firstSecret(c *cli.Context) (seal.Secret, error) {
	flags, env := a.sources(c, openingSpec())
	if c.Bool("insecure-no-password") {
		if len(flags) > 0 {
			return seal.Secret{}, usageError("--insecure-no-password and the %s exclude each other: give one of them", flags[0].name)
		}
		a.warn("", "THIS REPOSITORY HAS NO PASSWORD: everybody who can read its files can read all backups in it")
		return seal.Secret{Kind: seal.Open}, nil
	}
	source, err := theSource(flags, env)
	if err != nil {
		return seal.Secret{}, err
	}
	if source != nil {
		return source.read(c.Context)
	}
	return a.promptTwice(c.Context, "Password for the new repository")
}

// makeRepository opens what it made once, to be sure that it can be opened.
func (a *app) makeRepository(ctx context.Context, dir string, env store.Env, opt store.InitOptions) (*store.Store, seal.Secret, error) {
	b, err := local.Create(dir)
	if err != nil {
		return nil, seal.Secret{}, a.createError(err)
	}
	recovery, err := store.Init(ctx, b, env, opt)
	if err != nil {
		return nil, recovery, err
	}
	st, err := store.Open(ctx, b, env, recovery)
	if err != nil {
		return nil, recovery, fmt.Errorf("open the new repository: %w", err)
	}
	return st, recovery, nil
}

func (a *app) createError(err error) error {
	switch {
	case isFile(a.repo):
		return refusal("%s is not a directory; nothing was changed: choose another --repo%w", a.repoName(), silent{err})
	case errors.Is(err, syscall.ENOTEMPTY):
		return refusal("the directory %s has something else in it; nothing was changed: choose a new or empty directory%w",
			a.repoName(), silent{err})
	case errors.Is(err, fs.ErrNotExist):
		return failure("the directory above %s does not exist: make it, or mount its disk%w", a.repoName(), silent{err})
	case errors.Is(err, fs.ErrPermission):
		return failure("there is no permission to make the directory %s: choose another --repo, or run coffer as its owner%w",
			a.repoName(), silent{err})
	}
	return err
}

func (a *app) showInit(id string, recovery seal.Secret) error {
	key := seal.FormatRecovery(recovery)
	if a.json {
		return a.printJSON(struct {
			Repository  string `json:"repository"`
			ID          string `json:"id"`
			RecoveryKey string `json:"recovery_key"`
		}{a.repo, id, key})
	}
	a.say("Made repository %s in %s.\n", shortID(id), a.repoName())
	a.say("Recovery key: %s\n", key)
	a.say("It opens the repository when the password is lost, and it is shown only now.")
	a.say("Print it, and keep it away from this machine.")
	return nil
}
