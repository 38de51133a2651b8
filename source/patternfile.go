package source

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ReadPatterns reads patterns, one a line, as gitignore has them: empty lines
// and those that begin with "#" say nothing ("\#" does), blanks at the end of a
// line count only after a backslash. name is the file's, for messages.
func ReadPatterns(r io.Reader, name string, fold bool) ([]Pattern, error) {
	var all []Pattern
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // some editors put it there
		}
		text = trimBlanks(text)
		if text == "" || text[0] == '#' {
			continue
		}
		all = append(all, Pattern{Text: text, Fold: fold, Origin: fmt.Sprintf("%s:%d", printable(name), n)})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read patterns in %s: %w", printable(name), err)
	}
	return all, nil
}

func trimBlanks(text string) string {
	for strings.HasSuffix(text, " ") && !escapedEnd(text) {
		text = text[:len(text)-1]
	}
	return text
}

// escapedEnd tells whether an odd number of backslashes precedes the last byte.
func escapedEnd(text string) bool {
	head := text[:len(text)-1]
	return (len(head)-len(strings.TrimRight(head, `\`)))%2 == 1
}
