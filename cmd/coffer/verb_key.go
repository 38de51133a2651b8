package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/seal"
	"coffer/store"
)

func (a *app) keyVerb() *cli.Command {
	return &cli.Command{
		Name:      "key",
		Usage:     "manage passwords, key files and recovery keys",
		UsageText: "coffer key list | add | remove ID | passwd",
		Description: `A repository can have any number of keys, and each of them opens it. The last one cannot be removed.
Removing a key does not take anything from somebody who has used it before.

Examples:
  coffer key list
  coffer key add --label 'the office'
  coffer key passwd`,
		Subcommands: []*cli.Command{a.keyListVerb(), a.keyAddVerb(), a.keyRemoveVerb(), a.keyPasswdVerb()},
	}
}

func (a *app) keyListVerb() *cli.Command {
	return &cli.Command{Name: "list", Usage: "list the keys", UsageText: "coffer key list",
		Description: "Examples:\n  coffer key list\n  coffer key list --json", Action: a.runKeyList}
}

func (a *app) keyAddVerb() *cli.Command {
	return &cli.Command{Name: "add", Usage: "add a key", UsageText: "coffer key add [flags]",
		Description: `Adds a password, a key file or a recovery key. A new password is asked for, or read from COFFER_NEW_PASSWORD.
A recovery key is shown once.

Examples:
  coffer key add
  coffer key add --new-key-file /root/coffer.key --label cron
  coffer key add --recovery`,
		Flags: append(newKeyFlags(), &cli.BoolFlag{Name: "recovery", Usage: "make a recovery key and show it"}), Action: a.runKeyAdd}
}

func (a *app) keyRemoveVerb() *cli.Command {
	return &cli.Command{Name: "remove", Aliases: []string{"rm"}, Usage: "remove a key", UsageText: "coffer key remove ID",
		Description: "Removes the key with that id, or first digits of it.\n\nExamples:\n  coffer key remove 3fa9", Action: a.runKeyRemove}
}

func (a *app) keyPasswdVerb() *cli.Command {
	return &cli.Command{Name: "passwd", Usage: "change the password", UsageText: "coffer key passwd [flags] [ID]",
		Description: `Adds the new password first and removes the old one then, so that there is always one that works. With the
recovery key, this is the way back after a password was lost. Where there are several passwords, the id
says which one is replaced.

Examples:
  coffer key passwd
  coffer key passwd --recovery-key
  COFFER_NEW_PASSWORD=... coffer key passwd 3fa9`,
		Flags: newKeyFlags(), Action: a.runKeyPasswd}
}

func newKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "new-password-file", EnvVars: []string{"COFFER_NEW_PASSWORD_FILE"}, Usage: "read the new password from `FILE`"},
		&cli.StringFlag{Name: "new-password-command", EnvVars: []string{"COFFER_NEW_PASSWORD_COMMAND"},
			Usage: "read the new password from what the shell command `CMD` prints"},
		&cli.StringFlag{Name: "new-key-file", EnvVars: []string{"COFFER_NEW_KEY_FILE"}, Usage: "take the content of `FILE` as the new key"},
		&cli.StringFlag{Name: "label", Usage: "call the key `TEXT` in 'coffer key list'"},
	}
}

// keyJSON is a key for programs.
type keyJSON struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Label   string `json:"label"`
	Created string `json:"created"`
	Error   string `json:"error,omitempty"`
}

func (a *app) runKeyList(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		keys, err := st.Keys(ctx)
		if err != nil {
			return err
		}
		docs := make([]keyJSON, 0, len(keys))
		t := a.table("ID", "KIND", "CREATED (UTC)", "LABEL")
		for _, k := range keys {
			doc := keyJSON{ID: k.ID, Kind: string(k.Kind), Label: k.Label, Created: k.Created.UTC().Format(time.RFC3339)}
			if k.Err != nil {
				doc.Kind, doc.Error = "damaged", k.Err.Error()
			}
			docs = append(docs, doc)
			t.row(shortID(k.ID), doc.Kind, k.Created.UTC().Format(time.DateTime), printable(k.Label))
		}
		if a.json {
			return a.printJSON(docs)
		}
		return t.flush()
	})
}

func (a *app) runKeyAdd(c *cli.Context) error {
	if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		secret, err := a.newSecret(c)
		if err != nil {
			return err
		}
		id, err := st.AddKey(ctx, secret, c.String("label"))
		if err != nil {
			return err
		}
		return a.showNewKey(id, secret)
	})
}

// newSecret is what the new key opens with.
func (a *app) newSecret(c *cli.Context) (seal.Secret, error) {
	flags, env := a.sources(c, newKeySpec())
	if c.Bool("recovery") {
		if len(flags) > 0 {
			return seal.Secret{}, usageError("--recovery and the %s exclude each other: give one of them", flags[0].name)
		}
		return seal.NewRecovery(a.rand)
	}
	source, err := theSource(flags, env)
	if err != nil {
		return seal.Secret{}, err
	}
	if source != nil {
		return source.read(c.Context)
	}
	if !a.terminal.in {
		return seal.Secret{}, usageError("no new password is given and there is no terminal to ask on: " +
			"set COFFER_NEW_PASSWORD, or give --new-password-file, --new-password-command or --new-key-file")
	}
	return a.promptTwice(c.Context, "New password")
}

func (a *app) showNewKey(id string, secret seal.Secret) error {
	var recovery string
	if secret.Kind == seal.Recovery {
		recovery = seal.FormatRecovery(secret)
	}
	if a.json {
		return a.printJSON(struct {
			ID          string `json:"id"`
			Kind        string `json:"kind"`
			RecoveryKey string `json:"recovery_key,omitempty"`
		}{id, string(secret.Kind), recovery})
	}
	a.say("Added key %s (%s).", shortID(id), secret.Kind)
	if recovery != "" {
		// A recovery key that nobody has seen is of no use: --quiet does not hide it.
		_, err := fmt.Fprintf(a.stdout, "Recovery key: %s\n", recovery)
		return err
	}
	return nil
}

func (a *app) runKeyRemove(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "the id of one key"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		id, err := a.removeKey(ctx, st, c.Args().First())
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Removed string `json:"removed"`
			}{id})
		}
		a.say("Removed key %s.", shortID(id))
		return nil
	})
}

func (a *app) removeKey(ctx context.Context, st *store.Store, prefix string) (string, error) {
	id, err := st.RemoveKey(ctx, prefix)
	if err != nil && id == "" && !errors.Is(err, store.ErrLastKey) && ctx.Err() == nil {
		return "", failure("%w", err)
	}
	return id, err
}

func (a *app) runKeyPasswd(c *cli.Context) error {
	if err := wantArgs(c, 0, 1, "the id of one key at most"); err != nil {
		return err
	}
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		old, err := passwordSlot(ctx, st, c.Args().First())
		if err != nil {
			return err
		}
		secret, err := a.newSecret(c)
		if err != nil {
			return err
		}
		id, err := st.AddKey(ctx, secret, labelOr(c, old.Label))
		if err != nil {
			return err
		}
		if _, err := st.RemoveKey(ctx, old.ID); err != nil {
			return failure("the new password works, but the old one does too: remove it with 'coffer key remove %s': %w", shortID(old.ID), err)
		}
		if a.json {
			return a.printJSON(struct {
				Added   string `json:"added"`
				Removed string `json:"removed"`
			}{id, old.ID})
		}
		a.say("Changed the password: key %s is in place of %s.", shortID(id), shortID(old.ID))
		return nil
	})
}

func labelOr(c *cli.Context, otherwise string) string {
	if c.IsSet("label") {
		return c.String("label")
	}
	return otherwise
}
