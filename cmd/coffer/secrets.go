package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"coffer/seal"
)

// A secretSource is a place that a secret can come from. Secrets are never the
// value of a flag: every user of the machine can read command lines.
type secretSource struct {
	name string // for messages
	read func(ctx context.Context) (seal.Secret, error)
}

// minKeyFile is what a key file must have at least to be made a key: no slow
// hash stands between it and somebody who guesses.
const minKeyFile = 32

// sourceSpec says how the sources of one secret are called, so that those of
// the present and of a new one work alike.
type sourceSpec struct {
	passwordFile, passwordCommand, keyFile string // flags
	password                               string // environment variable
}

func openingSpec() sourceSpec {
	return sourceSpec{"password-file", "password-command", "key-file", "COFFER_PASSWORD"}
}

func newKeySpec() sourceSpec {
	return sourceSpec{"new-password-file", "new-password-command", "new-key-file", "COFFER_NEW_PASSWORD"}
}

// sources returns the sources that are set. What flags say goes before what
// the environment says.
func (a *app) sources(c *cli.Context, spec sourceSpec) (flags, env []secretSource) {
	add := func(flag string, what string, read func(context.Context, string) (seal.Secret, error)) {
		value := c.String(flag)
		if value == "" {
			return
		}
		s := secretSource{what, func(ctx context.Context) (seal.Secret, error) { return read(ctx, value) }}
		if a.onCommandLine(flag) {
			flags = append(flags, s)
		} else {
			env = append(env, s)
		}
	}
	add(spec.passwordFile, "password in the file", a.passwordFromFile)
	add(spec.passwordCommand, "password from the command", a.passwordFromCommand)
	add(spec.keyFile, "key file", keyFromFile)
	if value := a.getenv(spec.password); value != "" {
		env = append(env, secretSource{"password in " + spec.password, func(context.Context) (seal.Secret, error) {
			return newPassword(value)
		}})
	}
	return flags, env
}

// onCommandLine tells a flag from its environment variable, which cli does not.
func (a *app) onCommandLine(flag string) bool {
	for _, u := range a.uses {
		if u.name == flag {
			return true
		}
	}
	return false
}

// theSource picks the one source of a secret, or none.
func theSource(flags, env []secretSource) (*secretSource, error) {
	for _, list := range [][]secretSource{flags, env} {
		switch len(list) {
		case 0:
			continue
		case 1:
			return &list[0], nil
		}
		return nil, usageError("there are two secrets, the %s and the %s: give only one of them", list[0].name, list[1].name)
	}
	return nil, nil
}

// openingSource is where the secret for an existing repository comes from;
// nil means that nobody said.
func (a *app) openingSource(c *cli.Context) (*secretSource, error) {
	flags, env := a.sources(c, openingSpec())
	recovery := secretSource{"recovery key", a.recoveryKey}
	if c.Bool("recovery-key") {
		flags = append(flags, recovery)
	} else if a.getenv("COFFER_RECOVERY_KEY") != "" {
		env = append(env, recovery)
	}
	return theSource(flags, env)
}

func newPassword(text string) (seal.Secret, error) {
	if text == "" {
		return seal.Secret{}, usageError("the password is empty: choose one that is not")
	}
	return seal.Secret{Kind: seal.Password, Value: []byte(text)}, nil
}

func (a *app) passwordFromFile(_ context.Context, path string) (seal.Secret, error) {
	data, err := readFile("password file", path)
	if err != nil {
		return seal.Secret{}, err
	}
	return newPassword(oneLine(data))
}

// oneLine drops the end of the line that editors and commands put there.
func oneLine(data []byte) string {
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r")
}

func (a *app) passwordFromCommand(ctx context.Context, line string) (seal.Secret, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Stderr, cmd.Stdin = a.stderr, a.stdin
	out, err := cmd.Output()
	if err != nil {
		return seal.Secret{}, usageError("the password command failed (%s): check --password-command or its variable", err)
	}
	return newPassword(oneLine(out))
}

func keyFromFile(_ context.Context, path string) (seal.Secret, error) {
	data, err := readFile("key file", path)
	if err != nil {
		return seal.Secret{}, err
	}
	if len(data) < minKeyFile {
		return seal.Secret{}, usageError("the key file %s has %d bytes where it needs at least %d: make one with 'head -c 32 /dev/urandom'",
			printable(path), len(data), minKeyFile)
	}
	return seal.Secret{Kind: seal.KeyFile, Value: data}, nil
}

func (a *app) recoveryKey(ctx context.Context) (seal.Secret, error) {
	text := a.getenv("COFFER_RECOVERY_KEY")
	if text == "" {
		var err error
		if text, err = a.prompt(ctx, "Recovery key: "); err != nil {
			return seal.Secret{}, err
		}
	}
	s, err := seal.ParseRecovery(text)
	if err != nil {
		return s, usageError("%w", err)
	}
	return s, nil
}

// prompt asks on the terminal, without showing what is typed.
func (a *app) prompt(ctx context.Context, question string) (string, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !a.terminal.in {
		return "", usageError("no password is given and there is no terminal to ask on: " +
			"set COFFER_PASSWORD, or give --password-file, --password-command or --key-file")
	}
	_, _ = fmt.Fprint(a.stderr, question)
	line, err := readHidden(ctx, int(f.Fd()))
	_, _ = fmt.Fprintln(a.stderr)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	return line, nil
}

// readHidden reads a line while the terminal does not show it. Nobody can wake
// a read of a terminal, so ctrl-C leaves it behind, but not the hiding.
func readHidden(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type result struct {
		line []byte
		err  error
	}
	typed := make(chan result, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		typed <- result{line, err}
	}()
	select {
	case r := <-typed:
		return string(r.line), r.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

// promptTwice asks for a new password until it was typed twice the same, three
// times at most.
func (a *app) promptTwice(ctx context.Context, what string) (seal.Secret, error) {
	for range 3 {
		first, err := a.prompt(ctx, what+": ")
		if err != nil {
			return seal.Secret{}, err
		}
		second, err := a.prompt(ctx, "The same again: ")
		if err != nil {
			return seal.Secret{}, err
		}
		if first == second {
			return newPassword(first)
		}
		a.errLine("The two were not the same.")
	}
	return seal.Secret{}, usageError("no password was typed twice the same: try again")
}
