package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// flagText is a line of --help. The one of the cli package doubles names of
// flags that can be repeated, and says "default: false" of every switch.
func flagText(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	before, rest, _ := strings.Cut(doc.GetUsage(), "`")
	value, after, quoted := strings.Cut(rest, "`")
	text := "    "
	for _, n := range f.Names() {
		if len(n) == 1 {
			text = "-" + n + ", "
		}
	}
	text += "--" + f.Names()[0]
	if quoted {
		text += " " + value
	} else if doc.TakesValue() {
		text += " VALUE"
	}
	text += "\t" + before + value + after
	if vars := doc.GetEnvVars(); len(vars) > 0 {
		text += " [$" + vars[0] + "]"
	}
	return text
}
