package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/store"
)

func (a *app) catVerb() *cli.Command {
	return &cli.Command{
		Name:      "cat",
		Usage:     "print the content of a file",
		UsageText: "coffer cat [flags] SNAP:/PATH",
		Description: `Prints a file of a snapshot, checked on the way. Symbolic links are not followed. With --json the content
comes in base64.

Examples:
  coffer cat latest:/etc/fstab
  coffer cat latest:/shop.sql | psql shop
  coffer cat 2026-11-20:/home/anna/photo.jpg > photo.jpg`,
		Flags:  filterFlags(),
		Action: a.runCat,
	}
}

func (a *app) runCat(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "one file, such as latest:/etc/fstab"); err != nil {
		return err
	}
	return a.atPlace(c, c.Args().First(), func(ctx context.Context, st *store.Store, p place) error {
		e, err := entryAt(ctx, st, p)
		if err != nil {
			return err
		}
		switch e.Type {
		case snapshot.File:
			return a.printFile(p, snapshot.NewReader(ctx, st, e))
		case snapshot.Symlink:
			return failure("%s is a symbolic link to %s: name the file itself", printable(p.path), printable(e.Target))
		case snapshot.Dir:
			return failure("%s is a directory: list it with 'coffer ls', or write it to disk with 'coffer restore'", printable(p.path))
		}
		return failure("%s is a %s and has no content", printable(p.path), typeName(e.Type))
	})
}

// printFile streams, so that files of any size need no memory.
func (a *app) printFile(p place, r *snapshot.Reader) error {
	if !a.json {
		_, err := io.CopyBuffer(onlyWriter{a.stdout}, r, make([]byte, 1<<20))
		return err
	}
	head, err := json.Marshal(struct {
		Snapshot string `json:"snapshot"`
		jsonPath
		Size int64 `json:"size"`
	}{p.ID, newPath(p.path), r.Size()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, `%s,"content_base64":"`, head[:len(head)-1])
	if err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, a.stdout)
	_, err = io.CopyBuffer(enc, r, make([]byte, 1<<20))
	err = errors.Join(err, enc.Close())
	if err == nil {
		_, err = fmt.Fprintln(a.stdout, `"}`)
	}
	return err
}

// onlyWriter hides that a file can read from a reader by itself, which would
// take small pieces.
type onlyWriter struct{ io.Writer }
