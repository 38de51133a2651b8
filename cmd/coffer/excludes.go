package main

import (
	"bytes"

	"github.com/urfave/cli/v2"

	"coffer/snapshot/capture"
	"coffer/source"
)

// excludeFlags are shared by the verbs that leave something out.
func excludeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "leave out what fits `PATTERN` (repeatable)"},
		&cli.StringSliceFlag{Name: "iexclude", Usage: "the same for `PATTERN`, with upper and lower case alike"},
		&cli.StringSliceFlag{Name: "exclude-file", Usage: "leave out what fits the patterns in `FILE`, one a line (repeatable)"},
		&cli.StringSliceFlag{Name: "iexclude-file", Usage: "the same for `FILE`, with upper and lower case alike"},
	}
}

// patterns gathers the patterns of the four flags that begin with word or "i"
// and word, in the order in which they stand on the command line: the last one
// that fits decides.
func (a *app) patterns(word string) ([]source.Pattern, error) {
	var all []source.Pattern
	for _, u := range a.uses {
		switch u.name {
		case word, "i" + word:
			all = append(all, source.Pattern{Text: u.value, Fold: u.name != word})
		case word + "-file", "i" + word + "-file":
			more, err := patternFile(u.value, u.name != word+"-file")
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	if _, err := source.Compile(all, ""); err != nil {
		return nil, usageError("%w", err)
	}
	return all, nil
}

func patternFile(name string, fold bool) ([]source.Pattern, error) {
	data, err := readFile("file of patterns", name)
	if err != nil {
		return nil, err
	}
	list, err := source.ReadPatterns(bytes.NewReader(data), name, fold)
	if err != nil {
		return nil, usageError("%w", err)
	}
	return list, nil
}

// readExcludes sets all that a backup leaves out.
func (a *app) readExcludes(c *cli.Context, opt *capture.Options) error {
	var err error
	if opt.Patterns, err = a.patterns("exclude"); err != nil {
		return err
	}
	for _, p := range opt.Patterns {
		opt.Excludes = append(opt.Excludes, p.Text)
	}
	for _, text := range c.StringSlice("exclude-if-present") {
		tag, err := source.ParseTag(text)
		if err != nil {
			return usageError("--exclude-if-present: %w", err)
		}
		opt.SkipTags = append(opt.SkipTags, tag)
	}
	if c.Bool("exclude-caches") {
		opt.SkipTags = append(opt.SkipTags, source.CacheTag())
	}
	opt.LargerThan, err = sizeFlag(c, "exclude-larger-than")
	return err
}

// sizeFlag reads a flag that is a number of bytes; 0 if it is not set.
func sizeFlag(c *cli.Context, name string) (int64, error) {
	text := c.String(name)
	if text == "" {
		return 0, nil
	}
	n, err := source.ParseSize(text)
	if err != nil {
		return 0, usageError("--%s: %w", name, err)
	}
	return n, nil
}
