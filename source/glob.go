package source

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// A glob matches one element of a path. Most patterns need no matching of
// wildcards; path.Match does it where they do.
type glob struct {
	kind globKind
	text string
}

type globKind uint8

const (
	literal globKind = iota // text
	prefix                  // text*
	suffix                  // *text
	full                    // text is a pattern for path.Match
	deep                    // **, any number of elements
)

func (g glob) match(name string) bool {
	switch g.kind {
	case literal:
		return name == g.text
	case prefix:
		return strings.HasPrefix(name, g.text)
	case suffix:
		return strings.HasSuffix(name, g.text)
	}
	ok, _ := path.Match(g.text, name)
	return ok
}

const special = `*?[\`

func compileGlob(text string, fold bool) (glob, error) {
	if text == "**" {
		return glob{kind: deep}, nil
	}
	if !strings.ContainsAny(text, special) {
		return glob{literal, text}, nil
	}
	if rest := text[1:]; text[0] == '*' && !strings.ContainsAny(rest, special) {
		return glob{suffix, rest}, nil
	}
	if rest, ok := strings.CutSuffix(text, "*"); ok && !strings.ContainsAny(rest, special) {
		return glob{prefix, rest}, nil
	}
	translated, err := translate(text, fold)
	if err != nil {
		return glob{}, err
	}
	if _, err := path.Match(translated, ""); err != nil {
		return glob{}, err
	}
	return glob{full, translated}, nil
}

// translate turns gitignore's spelling into that of path.Match, which knows
// [^a] but not [!a], nor []a], [a-], [[:alpha:]].
func translate(text string, fold bool) (string, error) {
	var b strings.Builder
	for len(text) > 0 {
		switch text[0] {
		case '\\':
			if len(text) == 1 {
				return "", errors.New("nothing follows the last backslash")
			}
			b.WriteString(text[:2])
			text = text[2:]
		case '[':
			rest, err := translateClass(&b, text[1:], fold)
			if err != nil {
				return "", err
			}
			text = rest
		default:
			b.WriteByte(text[0])
			text = text[1:]
		}
	}
	return b.String(), nil
}

// translateClass writes what follows an opening bracket, and returns what
// follows the closing one.
func translateClass(b *strings.Builder, text string, fold bool) (rest string, err error) {
	b.WriteByte('[')
	if text != "" && (text[0] == '!' || text[0] == '^') {
		b.WriteByte('^')
		text = text[1:]
	}
	for first := true; text != ""; first = false {
		if text[0] == ']' && !first {
			b.WriteByte(']')
			return text[1:], nil
		}
		if name, after, ok := namedClass(text); ok {
			ranges, err := classRanges(name, fold)
			if err != nil {
				return "", err
			}
			b.WriteString(ranges)
			text = after
			continue
		}
		if text, err = translateRange(b, text); err != nil {
			return "", err
		}
	}
	return "", errors.New("a bracket is not closed")
}

// translateRange writes one character of a class, or a range of them.
func translateRange(b *strings.Builder, text string) (rest string, err error) {
	low, text, err := translateChar(b, text)
	if err != nil || len(text) < 2 || text[0] != '-' || text[1] == ']' {
		return text, err
	}
	b.WriteByte('-')
	high, text, err := translateChar(b, text[1:])
	if err == nil && high < low {
		err = fmt.Errorf("the range %c-%c is empty", low, high)
	}
	return text, err
}

func translateChar(b *strings.Builder, text string) (char rune, rest string, err error) {
	if text[0] == '\\' {
		text = text[1:]
	}
	char, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return 0, "", errors.New("a bracket is not closed")
	}
	if char == utf8.RuneError && n == 1 {
		return 0, "", errors.New("a bracket holds a byte that is not UTF-8")
	}
	b.WriteByte('\\')
	b.WriteString(text[:n])
	return char, text[n:], nil
}

func namedClass(text string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(text, "[:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(after, ":]")
}

func classRanges(name string, fold bool) (string, error) {
	if fold && name == "upper" {
		name = "lower"
	}
	for _, c := range [][2]string{
		{"alpha", `a-zA-Z`}, {"digit", `0-9`}, {"alnum", `a-zA-Z0-9`}, {"upper", `A-Z`}, {"lower", `a-z`},
		{"xdigit", `0-9a-fA-F`}, {"space", ` \` + "\t-\r"}, {"blank", " \t"}, {"cntrl", "\x00-\x1f\x7f"},
		{"punct", "!-/:-@\\[-`{-~"}, {"graph", `!-~`}, {"print", ` -~`},
	} {
		if c[0] == name {
			return c[1], nil
		}
	}
	return "", errors.New("unknown class [:" + name + ":]")
}

// lower keeps bytes that are not UTF-8, which strings.ToLower would make equal
// to each other.
func lower(s string) string {
	if utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
