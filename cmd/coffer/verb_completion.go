package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

func (a *app) completionVerb() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes commands and flags in a shell",
		UsageText: "coffer completion bash|zsh|fish",
		Description: `Prints a script for your shell.

Examples:
  coffer completion bash > /etc/bash_completion.d/coffer
  coffer completion zsh > /usr/local/share/zsh/site-functions/_coffer
  coffer completion fish > ~/.config/fish/completions/coffer.fish`,
		Action: a.runCompletion,
	}
}

func (a *app) runCompletion(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "the name of a shell: bash, zsh or fish"); err != nil {
		return err
	}
	var script string
	var err error
	switch shell := c.Args().First(); shell {
	case "bash":
		script = bashCompletion
	case "zsh":
		script = zshCompletion
	case "fish":
		script, err = c.App.ToFishCompletion()
	default:
		return usageError("there is no completion for %q: choose bash, zsh or fish", shell)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Script string `json:"script"`
		}{script})
	}
	a.say("%s", strings.TrimRight(script, "\n"))
	return nil
}

// Both scripts ask the program itself; where it knows nothing, as for
// arguments, the shell offers files.
const (
	bashCompletion = `# bash completion for coffer
_coffer() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$cur" == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _coffer coffer
`
	zshCompletion = `#compdef coffer
_coffer() {
  local -a opts words_before
  words_before=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && words_before+=("${words[CURRENT]}")
  opts=("${(@f)$("${(@Q)words_before}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${opts[1]}" ]]; then
    compadd -- "${opts[@]}"
  else
    _files
  fi
}
compdef _coffer coffer
`
)
