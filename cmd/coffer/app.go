package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"coffer/seal"
)

// An app is one run of the program: what it takes from the machine, and what
// the command line said.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	rand           io.Reader
	terminal       terminals

	json, quiet, verbose, noProgress bool

	level      seal.Level
	verb       string
	repo       string    // as given
	interrupt  string    // what to say of the work that was under way
	secretFrom string    // where the secret came from, for messages
	uses       []flagUse // flags on the command line, in order
	profiles   *profiles

	warnedRecords bool // of records that cannot be read

	mu       sync.Mutex // for stderr: warnings come from many goroutines
	progress *progress  // nil while none is shown
}

// terminals say which of the standard streams people sit at.
type terminals struct{ in, out, err bool }

func newApp() *app {
	return &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, now: time.Now, rand: rand.Reader,
		terminal: terminals{isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr)},
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// run runs one command line and returns the exit code.
func (a *app) run(ctx context.Context, argv []string) int {
	a.json = slices.Contains(argv, "--json") // until the flags are read, for errors in them
	err := a.dispatch(ctx, argv)
	if stopErr := a.profiles.stop(); err == nil {
		err = stopErr
	}
	if err == nil {
		return exitDone
	}
	text, code := a.explain(ctx, err)
	a.reportError(text, code)
	return code
}

func (a *app) dispatch(ctx context.Context, argv []string) error {
	cmd := a.command()
	if len(argv) > 1 && argv[len(argv)-1] == "--generate-bash-completion" {
		return cmd.RunContext(ctx, argv)
	}
	if slices.Equal(argv[1:], []string{"--version"}) {
		argv = []string{argv[0], "version"}
	}
	words := &arranger{root: cmd.Flags, verbs: cmd.Commands}
	err := words.arrange(argv[1:])
	a.verb, a.uses = words.verb(), words.uses
	if err != nil {
		return err
	}
	return cmd.RunContext(ctx, words.result())
}

// command describes the program to the cli package.
func (a *app) command() *cli.App {
	c := &cli.App{
		Name:      "coffer",
		HelpName:  "coffer",
		Usage:     "keep dated, encrypted, deduplicated snapshots of directories and streams",
		UsageText: "coffer [global flags] COMMAND [flags] [arguments]",
		Description: "Flags may stand before or after arguments; \"--\" ends them. Every flag of this list has the\n" +
			"environment variable named beside it. 'coffer COMMAND --help' shows examples.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but for some items,\n" +
			"5 refused by a safety rule, 130 interrupted.",
		Flags:                     globalFlags(),
		Commands:                  a.verbs(),
		Before:                    a.readGlobals,
		Action:                    noVerb,
		HideVersion:               true,
		HideHelpCommand:           true, // arrange knows it
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
		Writer:                    a.stdout,
		ErrWriter:                 a.stderr,
		OnUsageError:              usageFromCLI,
		ExitErrHandler:            func(*cli.Context, error) {}, // run does this
	}
	cli.FlagStringer = flagText
	finishVerbs(c.Commands)
	return c
}

// verbs are all commands, in the order in which a user meets them.
func (a *app) verbs() []*cli.Command {
	return []*cli.Command{
		a.initVerb(), a.backupVerb(), a.snapshotsVerb(), a.lsVerb(), a.findVerb(), a.historyVerb(),
		a.diffVerb(), a.catVerb(), a.statsVerb(), a.restoreVerb(), a.forgetVerb(), a.undeleteVerb(),
		a.pruneVerb(), a.holdVerb(), a.tagVerb(), a.rewriteVerb(), a.verifyVerb(), a.repairVerb(), a.keyVerb(), a.cacheVerb(),
		a.versionVerb(), a.completionVerb(), a.manVerb(),
	}
}

// finishVerbs sets what all verbs have in common. Without HideHelpCommand,
// 'coffer backup help' would not back up a directory called help.
func finishVerbs(verbs []*cli.Command) {
	for _, v := range verbs {
		v.HideHelpCommand = true
		v.OnUsageError = usageFromCLI
		if len(v.Subcommands) > 0 && v.Action == nil {
			v.Action = needSubcommand
		}
		finishVerbs(v.Subcommands)
	}
}

func noVerb(*cli.Context) error {
	return usageError("say what to do: 'coffer --help' lists the commands")
}

func needSubcommand(c *cli.Context) error {
	var names []string
	for _, s := range c.Command.Subcommands {
		names = append(names, s.Name)
	}
	return usageError("say what to do: %s", strings.Join(names, ", "))
}

// usageFromCLI rewords what cli says of a flag's value.
func usageFromCLI(c *cli.Context, err error, _ bool) error {
	return usageError("%s: see '%s --help'", err, c.Command.HelpName)
}

// readGlobals takes over the global flags before a verb runs.
func (a *app) readGlobals(c *cli.Context) error {
	a.json, a.quiet, a.verbose = c.Bool("json"), c.Bool("quiet"), c.Bool("verbose")
	a.noProgress = c.Bool("no-progress")
	a.repo = c.String("repo")
	var err error
	if a.level, err = level(c); err != nil {
		return err
	}
	a.profiles, err = startProfiles(c.String("cpuprofile"), c.String("memprofile"))
	return err
}

// logger passes on what lower layers have to say to people.
func (a *app) logger() *slog.Logger { return slog.New(&logHandler{app: a}) }
