package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"coffer/snapshot"
)

func TestParsePart(t *testing.T) {
	for text, want := range map[string]part{
		"5%": {percent: 5}, "0.5%": {percent: 0.5}, "100%": {percent: 100},
		"1/4": {percent: 25}, "3/4": {percent: 75}, "10M": {bytes: 10 << 20}, "": {},
	} {
		if got, err := parsePart(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0%", "101%", "-1%", "x%", "2/1", "0/3", "1/0", "1/x", "x", "0", "NaN%"} {
		if got, err := parsePart(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestStopReader(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	got, err := io.ReadAll(stopReader(context.Background(), iotest.HalfReader(bytes.NewReader(want))))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	broken := io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errors.New("broken")))
	if got, err = io.ReadAll(stopReader(context.Background(), broken)); err == nil || string(got) != "abc" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestStopReaderEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	silent, w := io.Pipe()
	defer func() { _ = w.Close() }()
	why := interrupted{syscall.SIGINT}
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := stopReader(ctx, silent).Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Fatalf("%v, want %v", err, why)
	}
}

func TestProgressLine(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &app{now: func() time.Time { return now }}
	p := &progress{app: a, unit: "files", started: now.Add(-10 * time.Second)}
	p.set(1, 100<<20, 300<<20)
	if got, want := p.line(), "1 file, 100 MiB of 300 MiB, 10 MiB/s, 20s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.unit = "copied:"
	if got, want := p.line(), "copied: 100 MiB of 300 MiB, 10 MiB/s, 20s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.unit = "files"
	p.set(1500, 100<<20, 0)
	if got, want := p.line(), "1,500 files, 100 MiB, 10 MiB/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProgressLinesAppear(t *testing.T) {
	var out lockedBuffer
	a := &app{now: time.Now, stderr: &out}
	p := &progress{app: a, unit: "files", started: time.Now(), end: make(chan struct{})}
	p.every(time.Millisecond, func() { a.errLine(p.line()) })
	for out.String() == "" {
		time.Sleep(time.Millisecond)
	}
	p.stop()
	if !strings.HasPrefix(out.String(), "0 files, 0 B\n") {
		t.Errorf("%q", out.String())
	}
}

func TestPlainText(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("open: %w", &fs.PathError{Op: "lstat", Path: "/x", Err: syscall.ENOENT}), "open: /x does not exist"},
		{&fs.PathError{Op: "open", Path: "/x\x1b", Err: syscall.EACCES}, `permission to use /x\x1b is denied`},
		{errors.Join(errors.New("one"), &fs.PathError{Op: "read", Path: "y", Err: syscall.EIO}), "one; y: input/output error"},
	} {
		if got := plainText(tt.err); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "ä ö": "ä ö", "a\x1b[2J": `a\x1b[2J`, "\xff": `\xff`, "a\nb": `a\nb`} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTypesHaveNames(t *testing.T) {
	for typ := snapshot.File; typ <= snapshot.Socket; typ++ {
		if got, ok := parseType(typeName(typ)); !ok || got != typ {
			t.Errorf("%v is called %q, which is %v", typ, typeName(typ), got)
		}
	}
	if typeName(99) != "unknown" {
		t.Error("a type of the future has a name")
	}
}

// A lockedBuffer may be written and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
