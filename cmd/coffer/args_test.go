package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestArrange(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"backup /home --tag x", "coffer backup --tag=x -- /home"},
		{"backup -r repo /home -q", "coffer --repo=repo --quiet=true backup -- /home"},
		{"-qrrepo backup", "coffer --quiet=true --repo=repo backup"},
		{"-r=repo backup", "coffer --repo=repo backup"},
		{"backup -- --tag -x", "coffer backup -- --tag -x"},
		{"backup - -nx", "coffer backup --dry-run=true --one-file-system=true -- -"},
		{"backup --tag --host x", "coffer backup --tag=--host -- x"},
		{"push -e a=b", "coffer backup --exclude=a=b"},
		{"key --label x add", ""},
		{"key add --label x", "coffer key add --label=x"},
		{"help key add", "coffer key add --help"},
		{"backup help", "coffer backup -- help"},
		{"snapshots --quiet=false", "coffer --quiet=false snapshots"},
		{"backup --no-such", ""},
		{"backup -Q", ""},
		{"backup --x", ""},
		{"backup --tag", ""},
		{"nothing", ""},
		{"unlock", ""},
		{"forget -d 7 -l -1 --group-by= x", "coffer forget --keep-daily=7 --keep-last=-1 --group-by= -- x"},
		{"hold add x --reason y", "coffer hold add --reason=y -- x"},
		{"-- backup -x", "coffer backup -- -x"},
	} {
		cmd := newApp().command()
		a := &arranger{root: cmd.Flags, verbs: cmd.Commands}
		err := a.arrange(strings.Fields(tt.in))
		if tt.want == "" {
			var e *exitError
			if !errors.As(err, &e) || e.status != exitUsage {
				t.Errorf("%s: %v, want a usage error", tt.in, err)
			}
			continue
		}
		if got := a.result(); err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: %q, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

// Whatever is typed, an argument never becomes a flag, nor a flag an argument.
func FuzzArrange(f *testing.F) {
	f.Add("backup\n/home\n--tag\nx")
	f.Add("-q\nkey\nadd\n--label=x")
	f.Add("backup\n--\n--tag")
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\n")
		cmd := newApp().command()
		a := &arranger{root: cmd.Flags, verbs: cmd.Commands}
		if a.arrange(words) != nil {
			return
		}
		out := a.result()
		cut := slices.Index(out, "--")
		if cut < 0 {
			cut = len(out)
		}
		for _, w := range out[1+len(a.path) : cut] {
			if !strings.HasPrefix(w, "--") && !slices.ContainsFunc(cmd.Commands, func(c *cli.Command) bool { return c.HasName(w) }) &&
				!slices.Contains([]string{"list", "add", "remove", "passwd", "size", "limit", "clean", "path", "release"}, w) {
				t.Errorf("%q became %q: %q is before the arguments", words, out, w)
			}
		}
		for _, w := range a.args {
			if !slices.Contains(words, w) {
				t.Errorf("%q became %q: nobody gave %q", words, out, w)
			}
		}
	})
}
