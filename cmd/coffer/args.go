package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// The cli package stops looking for flags at the first argument. People put
// flags where they please, and a flag that is taken for a path is a backup of
// the wrong thing. So arguments are put in order before cli sees them:
//
//	coffer [global flags] verb [subverb] [flags] -- arguments
//
// "--" ends flags. Flags that nobody knows are refused here, with the one that
// was probably meant.

// A flagUse is a flag as it was given. Some verbs care for the order in which
// different flags stand, which cli forgets.
type flagUse struct{ name, value string }

// An arranger puts arguments in order.
type arranger struct {
	root    []cli.Flag
	verbs   []*cli.Command
	path    []*cli.Command // verb and subverb
	globals []string
	locals  []string
	args    []string
	asked   bool      // for help, with the word in place of the flag
	uses    []flagUse // in the order given
}

// arrange reads the words after the program's name.
func (a *arranger) arrange(words []string) error {
	for len(words) > 0 {
		word, rest := words[0], words[1:]
		var err error
		switch {
		case word == "--":
			return a.wordsOnly(rest)
		case len(word) > 1 && word[0] == '-':
			rest, err = a.flag(word, rest)
		default:
			err = a.word(word)
		}
		if err != nil {
			return err
		}
		words = rest
	}
	return nil
}

func (a *arranger) wordsOnly(words []string) error {
	for _, w := range words {
		if err := a.word(w); err != nil {
			return err
		}
	}
	return nil
}

// result is the command line in the order that cli wants.
func (a *arranger) result() []string {
	out := append([]string{"coffer"}, a.globals...)
	for _, c := range a.path {
		out = append(out, c.Name)
	}
	out = append(out, a.locals...)
	if a.asked {
		out = append(out, "--help")
	}
	if len(a.args) > 0 {
		out = append(append(out, "--"), a.args...)
	}
	return out
}

// word takes the name of a verb, as long as one is missing, or an argument.
func (a *arranger) word(w string) error {
	if len(a.path) > 0 && len(a.subverbs()) == 0 {
		a.args = append(a.args, w)
		return nil
	}
	if w == "help" && !a.asked {
		a.asked = true
		return nil
	}
	for _, c := range a.subverbs() {
		if c.HasName(w) {
			a.path = append(a.path, c)
			return nil
		}
	}
	return a.unknownVerb(w)
}

// subverbs are the verbs that may come next.
func (a *arranger) subverbs() []*cli.Command {
	if len(a.path) == 0 {
		return a.verbs
	}
	return a.path[len(a.path)-1].Subcommands
}

func (a *arranger) unknownVerb(w string) error {
	if w == "unlock" && len(a.path) == 0 {
		return usageError("there is no command \"unlock\", and no need of one: no lock outlives the process that took it")
	}
	meant := strings.TrimSpace(cli.SuggestCommand(a.subverbs(), w))
	if !strings.Contains(meant, `"`+w[:min(1, len(w))]) { // cli finds something for any word
		meant = "Run " + a.help() + " for a list."
	}
	return usageError("there is no command %q. %s", w, meant)
}

// verb is the name of the verb as far as it is known.
func (a *arranger) verb() string {
	var names []string
	for _, c := range a.path {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

// help is how to get help on it.
func (a *arranger) help() string {
	return "'" + strings.TrimSpace("coffer "+a.verb()) + " --help'"
}

// flag takes a flag and its value, and returns what is left.
func (a *arranger) flag(word string, rest []string) ([]string, error) {
	if !strings.HasPrefix(word, "--") {
		return a.shortFlags(word[1:], rest)
	}
	name, value, given := strings.Cut(word[2:], "=")
	f := a.find(name)
	if f == nil || len(name) == 1 {
		return nil, a.unknownFlag("--" + name)
	}
	return a.take(f, value, given, rest)
}

// shortFlags takes -x, -xy for -x -y, and -rVALUE for -r VALUE.
func (a *arranger) shortFlags(letters string, rest []string) ([]string, error) {
	for i, letter := range letters {
		f := a.find(string(letter))
		if f == nil {
			return nil, a.unknownFlag("-" + letters)
		}
		after := letters[i+len(string(letter)):]
		if takesValue(f) && after != "" {
			return a.take(f, strings.TrimPrefix(after, "="), true, rest)
		}
		var err error
		if rest, err = a.take(f, "", false, rest); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (a *arranger) take(f cli.Flag, value string, given bool, rest []string) ([]string, error) {
	name := f.Names()[0]
	switch {
	case given:
	case !takesValue(f):
		value = "true"
	case len(rest) == 0:
		return nil, usageError("--%s needs a value: see %s", name, a.help())
	default:
		value, rest = rest[0], rest[1:]
	}
	a.keep(f, name, value)
	return rest, nil
}

// keep files a flag with those of the verb or with the global ones.
func (a *arranger) keep(f cli.Flag, name, value string) {
	word := "--" + name + "=" + value
	a.uses = append(a.uses, flagUse{name, value})
	if a.isGlobal(f) {
		a.globals = append(a.globals, word)
	} else {
		a.locals = append(a.locals, word)
	}
}

func (a *arranger) isGlobal(f cli.Flag) bool {
	for _, g := range a.root {
		if g == f {
			return true
		}
	}
	return false
}

// find looks for a flag in the verb first, then among the global ones.
func (a *arranger) find(name string) cli.Flag {
	for _, f := range a.known() {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func (a *arranger) known() []cli.Flag {
	var all []cli.Flag
	if len(a.path) > 0 {
		all = append(all, a.path[len(a.path)-1].Flags...)
	}
	return append(append(all, a.root...), cli.HelpFlag)
}

func (a *arranger) unknownFlag(given string) error {
	if meant := cli.SuggestFlag(a.known(), strings.TrimLeft(given, "-"), false); meant != "" {
		return usageError("there is no flag %s; did you mean %s?", given, meant)
	}
	return usageError("there is no flag %s: see %s", given, a.help())
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
