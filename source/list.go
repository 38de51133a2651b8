package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// maxLine bounds a line of a list of names or patterns.
const maxLine = 1 << 20

// ReadPaths reads a list of paths, one a line. Empty lines and lines that begin
// with "#" are skipped; a file of such a name is listed as "./#name". Nothing
// else is special: blanks count, and nothing is expanded.
func ReadPaths(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n := 0
		for line, err := range split(r, '\n') {
			n++
			if err == nil && strings.IndexByte(line, 0) >= 0 {
				err = fmt.Errorf("read list: line %d has a NUL byte: is the list separated by them?", n)
			}
			if err == nil && (line == "" || line[0] == '#') {
				continue
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// ReadPaths0 reads a list of paths separated by NUL, such as find -print0
// writes. There are no comments: every byte belongs to a name.
func ReadPaths0(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for path, err := range split(r, 0) {
			if err == nil && path == "" {
				continue
			}
			if !yield(path, err) || err != nil {
				return
			}
		}
	}
}

func split(r io.Reader, sep byte) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, maxLine)
		s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
			if i := bytes.IndexByte(data, sep); i >= 0 {
				return i + 1, data[:i], nil
			}
			if atEOF && len(data) > 0 {
				return len(data), data, nil
			}
			return 0, nil, nil
		})
		for s.Scan() {
			if !yield(s.Text(), nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield("", fmt.Errorf("read list: %w", tooLong(err)))
		}
	}
}

func tooLong(err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a path is longer than %d bytes: is the list separated otherwise?", maxLine)
	}
	return err
}

// OpenList opens the file that holds a list; "-" is stdin, which the caller
// passes and which is not closed.
func OpenList(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open list: %w", err)
	}
	return f, nil
}
