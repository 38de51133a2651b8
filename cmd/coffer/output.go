package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"coffer/snapshot"
)

// say prints a line of the result, unless the user wants none.
func (a *app) say(format string, args ...any) {
	if !a.quiet && !a.json {
		_, _ = fmt.Fprintf(a.stdout, format+"\n", args...) // a closed pipe ends the program by itself
	}
}

// note prints a line that is no part of the result.
func (a *app) note(format string, args ...any) {
	if !a.quiet && !a.json {
		a.errLine(fmt.Sprintf(format, args...))
	}
}

// warn prints a warning. --quiet does not silence it: it is why a command ends
// with something else than 0.
func (a *app) warn(path, text string) {
	if a.json {
		a.errJSON(struct {
			Warning string `json:"warning"`
			*jsonPath
		}{text, optionalPath(path)})
		return
	}
	if path != "" {
		text = printable(path) + ": " + text
	}
	a.errLine("warning: " + text)
}

func (a *app) reportError(text string, code int) {
	if a.json {
		a.errJSON(struct {
			Error    string `json:"error"`
			ExitCode int    `json:"exit_code"`
		}{text, code})
		return
	}
	name := "coffer"
	if a.verb != "" {
		name += " " + a.verb
	}
	a.errLine(name + ": " + text)
}

func (a *app) errJSON(v any) {
	text, err := json.Marshal(v)
	if err == nil {
		a.errLine(string(text))
	}
}

// errLine writes one line to stderr, above the progress bar if there is one.
func (a *app) errLine(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.stderr
	if w := a.progress.above(); w != nil {
		out = w
	}
	_, _ = fmt.Fprintln(out, line) // there is no place to complain
}

// printJSON prints the one document of a command.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// A lister prints a long result, as lines of text or of JSON.
type lister struct {
	quiet bool
	w     *bufio.Writer
	enc   *json.Encoder // nil for text
}

func (a *app) lister() *lister {
	l := &lister{quiet: a.quiet, w: bufio.NewWriterSize(a.stdout, 1<<16)}
	if a.json {
		l.enc = json.NewEncoder(l.w)
		l.enc.SetEscapeHTML(false)
	}
	return l
}

// add prints an item; text is called only if text is wanted.
func (l *lister) add(doc func() any, text func() string) error {
	if l.enc != nil {
		return l.enc.Encode(doc())
	}
	if l.quiet {
		return nil
	}
	_, err := l.w.WriteString(text() + "\n")
	return err
}

// close joins what went wrong before with the last write.
func (l *lister) close(err error) error { return errors.Join(err, l.w.Flush()) }

// A table lines up columns.
type table struct{ w *tabwriter.Writer }

func (a *app) table(heads ...string) *table {
	var out io.Writer = io.Discard
	if !a.quiet && !a.json {
		out = a.stdout
	}
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row(heads...)
	return t
}

func (t *table) row(cells ...string) {
	_, _ = fmt.Fprintln(t.w, strings.TrimRight(strings.Join(cells, "\t"), "\t ")) // Flush reports errors
}

func (t *table) flush() error { return t.w.Flush() }

// A jsonPath is a name in JSON, which knows only text: where it is not UTF-8,
// path has replacement characters and path_base64 the bytes.
type jsonPath struct {
	Path   string `json:"path"`
	Base64 string `json:"path_base64,omitempty"`
}

func newPath(p string) jsonPath {
	text, coded := textAndBytes(p)
	return jsonPath{text, coded}
}

func optionalPath(p string) *jsonPath {
	if p == "" {
		return nil
	}
	j := newPath(p)
	return &j
}

func textAndBytes(s string) (text, coded string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError)), base64.StdEncoding.EncodeToString([]byte(s))
}

// printable returns a name as it may be shown on a terminal: names are bytes of
// any kind, and some would move the cursor.
func printable(name string) string {
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			q := strconv.QuoteToGraphic(name)
			return q[1 : len(q)-1]
		}
	}
	return name
}

// name returns a name for stdout: as it is for programs, safe for people.
func (a *app) name(n string) string {
	if a.terminal.out {
		return printable(n)
	}
	return n
}

func size(n int64) string {
	if n < 0 {
		return "-" + size(-n)
	}
	return humanize.IBytes(uint64(n))
}

func count[N ~int | ~int64 | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func number[N ~int | ~int64 | ~uint64](n N) string { return humanize.Comma(int64(n)) }

func shortID(id string) string { return id[:min(8, len(id))] }

// minute is for tables; JSON has all digits.
func minute(t snapshot.Time) string { return t.AsTime().Format("2006-01-02 15:04:05") }

func jsonTime(t snapshot.Time) string { return t.AsTime().Format(time.RFC3339Nano) }

func elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// A logHandler shows what lower layers log as warnings.
type logHandler struct {
	app   *app
	attrs []slog.Attr
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.app.verbose
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	add := func(at slog.Attr) bool {
		if err, ok := at.Value.Any().(error); ok {
			text += " (" + reason(err) + ")"
		} else {
			text += fmt.Sprintf(" (%s)", at.Value)
		}
		return true
	}
	for _, at := range h.attrs {
		add(at)
	}
	r.Attrs(add)
	if r.Level >= slog.LevelWarn {
		h.app.warn("", text)
	} else {
		h.app.note("%s", text)
	}
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.app, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
