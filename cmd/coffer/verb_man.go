package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

// manVerb writes the man page. 'make man' calls it, so users do not see it.
func (a *app) manVerb() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "write the man page coffer.1 into a directory",
		UsageText: "coffer man DIR",
		Hidden:    true,
		Description: `Writes the man page coffer.1.

Examples:
  coffer man /usr/local/share/man/man1`,
		Action: a.runMan,
	}
}

func (a *app) runMan(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "one directory"); err != nil {
		return err
	}
	describe(c.App.Commands)
	page, err := c.App.ToManWithSection(1)
	if err != nil {
		return err
	}
	dir := c.Args().First()
	name := filepath.Join(dir, "coffer.1")
	if err = os.MkdirAll(dir, 0o755); err == nil {
		err = os.WriteFile(name, []byte(page), 0o644)
	}
	if err != nil {
		return failure("the man page cannot be written: %s", plainText(err))
	}
	a.say("Wrote %s.", printable(name))
	return nil
}

// describe puts descriptions where ToMan finds them: it leaves them out.
func describe(verbs []*cli.Command) {
	for _, v := range verbs {
		v.UsageText += "\n\n" + v.Description
		describe(v.Subcommands)
	}
}
