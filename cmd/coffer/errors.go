package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"coffer/bucket/local"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/snapshot/restore"
	"coffer/store"
)

// Exit codes; docs/exit-codes.md says what they promise.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitItems   = 3 // done, but for some items
	exitRefused = 5 // by a safety rule
)

// An exitError is a sentence for people with the code the program ends with.
// Its sentence says what happened, to what, and what to do next.
type exitError struct {
	status int
	text   string
	cause  error
}

func (e *exitError) Error() string { return e.text }
func (e *exitError) Unwrap() error { return e.cause }

func newExit(status int, format string, args []any) error {
	err := fmt.Errorf(format, args...)
	return &exitError{status: status, text: err.Error(), cause: errors.Unwrap(err)}
}

func usageError(format string, args ...any) error   { return newExit(exitUsage, format, args) }
func failure(format string, args ...any) error      { return newExit(exitFailed, format, args) }
func itemProblems(format string, args ...any) error { return newExit(exitItems, format, args) }
func refusal(format string, args ...any) error      { return newExit(exitRefused, format, args) }

// explain turns an error from below into a sentence and an exit code.
func (a *app) explain(ctx context.Context, err error) (string, int) {
	if i, ok := interruption(ctx); ok {
		return i.Error() + a.interrupt, i.code()
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.text, e.status
	}
	for _, k := range a.knownErrors() {
		if errors.Is(err, k.err) {
			return k.text, k.status
		}
	}
	var damage *store.DamageError
	if errors.As(err, &damage) {
		return plainText(err) + ": run 'coffer verify --read-data' to see what else is damaged", exitFailed
	}
	return plainText(err), exitFailed
}

// A knownError is an error that has a better sentence than its own text.
type knownError struct {
	err    error
	status int
	text   string
}

func (a *app) knownErrors() []knownError {
	repo := a.repoName()
	return []knownError{
		{seal.ErrWrongSecret, exitFailed, a.wrongSecret()},
		{store.ErrNoRepository, exitFailed,
			repo + " is not a coffer repository: check --repo, or make one there with 'coffer init'"},
		{store.ErrExists, exitRefused,
			"there is a repository in " + repo + " already; nothing was changed: use it, or choose another --repo"},
		{store.ErrLastKey, exitRefused,
			"this is the last key, and without it nobody could open the repository: add another one first with 'coffer key add'"},
		{local.ErrGone, exitFailed, "the directory of the repository " + repo +
			" is gone or empty: mount its disk and run the command again"},
		{store.ErrFenced, exitFailed, "a prune took this run for dead, as happens to a machine that was asleep for long; " +
			"nothing of it counts and nothing else is lost: run the command again"},
		{restore.ErrBusy, exitFailed,
			"another restore is writing to the target: wait for it, or choose another --target"},
		{syscall.ENOSPC, exitFailed, a.noSpace()},
		{syscall.EROFS, exitFailed, "the disk is mounted for reading only: mount it for writing, or choose another place"},
	}
}

func (a *app) noSpace() string {
	full := "the disk of the repository " + a.repoName() + " is full"
	switch a.verb {
	case "restore":
		return "the disk of the target is full: make room and run the same command again, it goes on from here"
	case "backup":
		return full + "; no snapshot was made and nothing was lost: make room and run the command again"
	}
	return full + ": make room and run the command again"
}

// wrongSecret names where the secret came from, never the secret.
func (a *app) wrongSecret() string {
	return fmt.Sprintf("the %s does not open the repository %s: check it, or use the recovery key (--recovery-key)",
		a.secretFrom, a.repoName())
}

// plainText is the text of err with the forms of Go's own errors put as people
// would say them.
func plainText(err error) string {
	text := err.Error()
	for _, e := range systemErrors(err) {
		text = strings.ReplaceAll(text, e.Error(), sayPathError(e))
	}
	return strings.ReplaceAll(text, "\n", "; ") // errors.Join puts each on a line
}

// systemErrors finds all path errors in the tree of errors.
func systemErrors(err error) []*fs.PathError {
	var all []*fs.PathError
	if e, ok := err.(*fs.PathError); ok {
		return append(all, e)
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			all = systemErrors(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			all = append(all, systemErrors(inner)...)
		}
	}
	return all
}

// reason is the innermost cause that the system gave, or all of the text.
func reason(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return plainText(err)
}

func sayPathError(e *fs.PathError) string {
	path := printable(e.Path)
	switch {
	case errors.Is(e, fs.ErrNotExist):
		return path + " does not exist"
	case errors.Is(e, fs.ErrPermission):
		return "permission to use " + path + " is denied"
	}
	return fmt.Sprintf("%s: %v", path, e.Err)
}

// fileError says why a file that the user named cannot be used.
func fileError(what, path string, err error) error {
	why := err.Error()
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "it does not exist"
	case errors.Is(err, fs.ErrPermission):
		why = "permission denied"
	case errors.As(err, &pathErr):
		why = pathErr.Err.Error()
	}
	return usageError("cannot read the %s %s: %s", what, printable(path), why)
}

// selectError passes on the sentence that Select has already.
func selectError(err error) error {
	var e *snapshot.SelectError
	if errors.As(err, &e) {
		return failure("%s%w", e.Error(), silent{err})
	}
	return err
}

// readFile reads a small file that the user named.
func readFile(what, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(what, path, err)
	}
	return data, nil
}
