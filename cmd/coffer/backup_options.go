package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/snapshot/capture"
	"coffer/source"
)

func backupFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "stdin", Usage: "save what comes on standard input as the file `NAME`"},
		&cli.StringSliceFlag{Name: "command", Usage: "save what a shell command prints as a file: `NAME=CMD` (repeatable)"},
		&cli.StringSliceFlag{Name: "as", Usage: "save a path under another name: `NAME=PATH` (repeatable)"},
		&cli.StringSliceFlag{Name: "files-from", Usage: "also save the paths in `FILE`, one a line (- for standard input; repeatable)"},
		&cli.StringSliceFlag{Name: "files-from0", Usage: "the same for `FILE` with NUL between the paths"},
		&cli.StringSliceFlag{Name: "exclude-if-present", Usage: "leave out what is in directories that have `FILE[:HEADER]` (repeatable)"},
		&cli.BoolFlag{Name: "exclude-caches", Usage: "leave out directories with a CACHEDIR.TAG"},
		&cli.StringFlag{Name: "exclude-larger-than", Usage: "leave out files larger than `SIZE` (such as 500M)"},
		&cli.BoolFlag{Name: "one-file-system", Aliases: []string{"x"}, Usage: "do not go into other file systems"},
		&cli.StringSliceFlag{Name: "tag", Usage: "give the snapshot a `TAG` (repeat or separate by commas)"},
		&cli.StringFlag{Name: "host", EnvVars: []string{"COFFER_HOST"}, Usage: "the `HOST` that the snapshot is of (default: this one's name)"},
		&cli.StringFlag{Name: "name", Usage: "the `NAME` that snapshots of one kind share (default: default)"},
		&cli.StringFlag{Name: "time", Usage: "date the snapshot `TIME`, such as 2026-11-20T10:00:00Z"},
		&cli.BoolFlag{Name: "skip-if-unchanged", Usage: "make no snapshot if nothing has changed"},
		&cli.IntFlag{Name: "read-concurrency", Usage: "read `N` files at once (default: one for each processor)"},
		&cli.BoolFlag{Name: "ignore-inode", Usage: "do not take another inode number for a change"},
		&cli.BoolFlag{Name: "ignore-ctime", Usage: "do not take another ctime for a change"},
		&cli.BoolFlag{Name: "force", Usage: "read everything, changed or not"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "read everything that is needed, but save nothing"},
		&cli.BoolFlag{Name: "follow-root", Usage: "if a path given is a symbolic link, save what it points to"},
		&cli.DurationFlag{Name: "checkpoint", Usage: "save what was read every `DURATION` in an incomplete snapshot (default: 45m)"},
	}, excludeFlags()...)
}

// backupOptions turns flags and arguments into what capture wants.
func (a *app) backupOptions(c *cli.Context) (capture.Options, error) {
	opt := capture.Options{
		Host: c.String("host"), Name: cmp.Or(c.String("name"), "default"), Tags: splitCommas(c.StringSlice("tag")),
		Source:          source.Options{OneFileSystem: c.Bool("one-file-system")},
		SkipIfUnchanged: c.Bool("skip-if-unchanged"), Force: c.Bool("force"),
		IgnoreInode: c.Bool("ignore-inode"), IgnoreCTime: c.Bool("ignore-ctime"), DryRun: c.Bool("dry-run"),
		Readers: c.Int("read-concurrency"), Checkpoint: c.Duration("checkpoint"),
		Now: a.now, Program: "coffer " + programVersion(), User: a.userName(),
	}
	var err error
	if opt.Host == "" {
		if opt.Host, err = os.Hostname(); err != nil {
			return opt, usageError("the name of this host cannot be found (%w): give --host", err)
		}
	}
	for _, read := range []func(*cli.Context, *capture.Options) error{
		checkNumbers, readTime, a.readRoots, a.readStreams, a.readExcludes, checkSources,
	} {
		if err := read(c, &opt); err != nil {
			return opt, err
		}
	}
	return opt, nil
}

func checkNumbers(c *cli.Context, opt *capture.Options) error {
	switch {
	case opt.Readers < 0:
		return usageError("--read-concurrency is %d: it must be 1 or more", opt.Readers)
	case opt.Checkpoint < 0 || opt.Checkpoint == 0 && c.IsSet("checkpoint"):
		return usageError("--checkpoint is %s: it must be more than nothing", opt.Checkpoint)
	}
	return nil
}

func checkSources(_ *cli.Context, opt *capture.Options) error {
	if len(opt.Roots)+len(opt.Streams) == 0 {
		return usageError("there is nothing to back up: give a PATH, --stdin or --command, see 'coffer backup --help'")
	}
	return nil
}

// userName is who runs this, for people who look at snapshots.
func (a *app) userName() string {
	for _, name := range []string{"LOGNAME", "USER"} {
		if u := a.getenv(name); u != "" {
			return u
		}
	}
	return fmt.Sprint(os.Getuid())
}

// parseTime reads the forms of a date that people write. Without a zone it is
// UTC, as in all that coffer prints.
func parseTime(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError("--%s %q is no time: write it like 2026-11-20, 2026-11-20T10:00 or 2026-11-20T10:00:00+01:00", flag, text)
}

func readTime(c *cli.Context, opt *capture.Options) (err error) {
	if text := c.String("time"); text != "" {
		opt.Time, err = parseTime("time", text)
	}
	return err
}

// readRoots gathers paths from arguments, --as and lists.
func (a *app) readRoots(c *cli.Context, opt *capture.Options) error {
	follow := c.Bool("follow-root")
	add := func(path, at string) error {
		if path == "" {
			return usageError("one of the paths is empty: is a variable not set?")
		}
		opt.Roots = append(opt.Roots, capture.Root{Path: path, At: at, Follow: follow})
		return nil
	}
	for _, p := range c.Args().Slice() {
		if err := add(p, ""); err != nil {
			return err
		}
	}
	for _, pair := range c.StringSlice("as") {
		at, p, err := namePair("as", "PATH", pair)
		if err == nil {
			err = add(p, at)
		}
		if err != nil {
			return err
		}
	}
	return a.readLists(c, func(p string) error { return add(p, "") })
}

func (a *app) readLists(c *cli.Context, add func(string) error) error {
	for _, u := range a.uses {
		if u.name != "files-from" && u.name != "files-from0" {
			continue
		}
		if err := a.readList(u, add); err != nil {
			return err
		}
	}
	if c.String("stdin") != "" && a.stdinUsed() {
		return usageError("standard input cannot be both --stdin and a list: put the list in a file")
	}
	return nil
}

func (a *app) stdinUsed() bool {
	for _, u := range a.uses {
		if strings.HasPrefix(u.name, "files-from") && u.value == "-" {
			return true
		}
	}
	return false
}

func (a *app) readList(u flagUse, add func(string) error) error {
	r, err := source.OpenList(u.value, a.stdin)
	if err != nil {
		return fileError("list", u.value, err)
	}
	defer func() { _ = r.Close() }() // it was only read
	paths := source.ReadPaths(r)
	if u.name == "files-from0" {
		paths = source.ReadPaths0(r)
	}
	for p, err := range paths {
		if err != nil {
			return usageError("the list %s cannot be read: %w", printable(u.value), err)
		}
		if err := add(p); err != nil {
			return err
		}
	}
	return nil
}

// namePair splits NAME=SOMETHING and makes NAME a path in the snapshot.
func namePair(flag, what, pair string) (at, value string, err error) {
	name, value, ok := strings.Cut(pair, "=")
	if !ok || name == "" || value == "" {
		return "", "", usageError("--%s %q does not have the form NAME=%s", flag, pair, what)
	}
	at, err = streamPlace(flag, name)
	return at, value, err
}

// streamPlace is where a name stands in the snapshot.
func streamPlace(flag, name string) (string, error) {
	for _, part := range strings.Split(name, "/") {
		if part == ".." || part == "." {
			return "", usageError("--%s %q: the name must not have %q in it", flag, name, part)
		}
	}
	at := path.Join("/", name)
	if at == "/" {
		return "", usageError("--%s %q: this is no name", flag, name)
	}
	return at, nil
}

// readStreams sets up --stdin and --command.
func (a *app) readStreams(c *cli.Context, opt *capture.Options) error {
	if name := c.String("stdin"); name != "" {
		at, err := streamPlace("stdin", name)
		if err != nil {
			return err
		}
		opt.Streams = append(opt.Streams, capture.Stream{Kind: "stdin", Spec: name, At: at, Open: a.openStdin})
	}
	for _, pair := range c.StringSlice("command") {
		at, line, err := namePair("command", "CMD", pair)
		if err != nil {
			return err
		}
		opt.Streams = append(opt.Streams, capture.Stream{Kind: "command", Spec: line, At: at,
			Open: func(ctx context.Context) (io.Reader, func() error, error) { return a.openCommand(ctx, line) }})
	}
	return nil
}

func (a *app) openStdin(ctx context.Context) (io.Reader, func() error, error) {
	return stopReader(ctx, a.stdin), nil, nil
}

func (a *app) openCommand(ctx context.Context, line string) (io.Reader, func() error, error) {
	p, err := source.Command{Line: line, Stderr: a.stderr}.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	return p, func() error { return errors.Join(p.Wait(), p.Close()) }, nil
}
