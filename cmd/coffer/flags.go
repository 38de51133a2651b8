package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/seal"
	"coffer/snapshot"
)

// globalFlags may stand before or after the verb.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "repo", Aliases: []string{"r"}, EnvVars: []string{"COFFER_REPOSITORY"},
			Usage: "the `PATH` of the repository's directory"},
		&cli.StringFlag{Name: "password-file", EnvVars: []string{"COFFER_PASSWORD_FILE"},
			Usage: "read the password from `FILE`"},
		&cli.StringFlag{Name: "password-command", EnvVars: []string{"COFFER_PASSWORD_COMMAND"},
			Usage: "read the password from what the shell command `CMD` prints"},
		&cli.StringFlag{Name: "key-file", EnvVars: []string{"COFFER_KEY_FILE"},
			Usage: "open the repository with the content of `FILE`, in place of a password"},
		&cli.BoolFlag{Name: "recovery-key",
			Usage: "open the repository with the recovery key, from the prompt or COFFER_RECOVERY_KEY"},
		&cli.StringFlag{Name: "cache-dir", EnvVars: []string{"COFFER_CACHE_DIR"},
			Usage: "keep caches in `DIR` (default: $XDG_CACHE_HOME/coffer, ~/.cache/coffer)"},
		&cli.BoolFlag{Name: "no-cache", EnvVars: []string{"COFFER_NO_CACHE"}, Usage: "keep no cache on disk"},
		&cli.StringFlag{Name: "compression", EnvVars: []string{"COFFER_COMPRESSION"},
			Usage: "how hard to compress: `LEVEL` is one of " + levelNames()},
		&cli.BoolFlag{Name: "json", EnvVars: []string{"COFFER_JSON"}, Usage: "print JSON for programs (docs/json.md)"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"COFFER_QUIET"},
			Usage: "print nothing but errors and warnings"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, EnvVars: []string{"COFFER_VERBOSE"},
			Usage: "name every item that something is done to"},
		&cli.BoolFlag{Name: "no-progress", EnvVars: []string{"COFFER_NO_PROGRESS"}, Usage: "show no progress"},
		&cli.StringFlag{Name: "cpuprofile", EnvVars: []string{"COFFER_CPUPROFILE"}, Hidden: true},
		&cli.StringFlag{Name: "memprofile", EnvVars: []string{"COFFER_MEMPROFILE"}, Hidden: true},
	}
}

func levelNames() string {
	var names []string
	for _, l := range seal.Levels() {
		names = append(names, string(l))
	}
	return strings.Join(names, ", ")
}

// level reads --compression.
func level(c *cli.Context) (seal.Level, error) {
	l := seal.Level(c.String("compression"))
	if l != "" && !slices.Contains(seal.Levels(), l) {
		return "", usageError("there is no compression level %q: choose one of %s", l, levelNames())
	}
	return l, nil
}

// filterFlags choose among snapshots.
func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "host", Usage: "only snapshots of this `HOST`"},
		&cli.StringFlag{Name: "name", Usage: "only snapshots of this `NAME`"},
		&cli.StringSliceFlag{Name: "tag", Usage: "only snapshots with this `TAG` (repeat or separate by commas; all must fit)"},
		&cli.StringSliceFlag{Name: "path", Usage: "only snapshots of this `PATH` (repeatable)"},
	}
}

func filterOf(c *cli.Context) snapshot.Filter {
	return snapshot.Filter{Host: c.String("host"), Name: c.String("name"),
		Tags: splitCommas(c.StringSlice("tag")), Paths: c.StringSlice("path")}
}

func splitCommas(values []string) []string {
	var out []string
	for _, v := range values {
		for _, part := range strings.Split(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// wantArgs checks the number of arguments; what says what they are.
func wantArgs(c *cli.Context, least, most int, what string) error {
	n := c.NArg()
	switch {
	case n < least:
		return usageError("this needs %s: see '%s --help'", what, c.Command.HelpName)
	case most >= 0 && n > most:
		return usageError("this takes %s, and %q is one too many: see '%s --help'", what, c.Args().Get(most), c.Command.HelpName)
	}
	return nil
}
