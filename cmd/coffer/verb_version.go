package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker: -X main.version=1.2.3.
var version string

// programVersion is what this program calls itself.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel" + revision(info)
}

func revision(info *debug.BuildInfo) string {
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "-" + shortID(s.Value)
		}
	}
	return ""
}

func (a *app) versionVerb() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the version",
		UsageText: "coffer version [--json]",
		Description: `Prints the version of the program, and which format of repositories it writes.

Examples:
  coffer version
  coffer version --json`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Version  string `json:"version"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
					Format   int    `json:"repository_format"`
				}{programVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, repositoryFormat})
			}
			a.say("coffer %s (repository format %d, %s, %s/%s)", programVersion(), repositoryFormat, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// repositoryFormat is the version of docs/format.md.
const repositoryFormat = 1
