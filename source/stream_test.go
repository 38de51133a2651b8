package source_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coffer/source"
)

func start(t *testing.T, ctx context.Context, line string, stderr io.Writer) *source.Process {
	t.Helper()
	p, err := source.Command{Line: line, Stderr: stderr}.Start(ctx)
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func TestCommand(t *testing.T) {
	var stderr bytes.Buffer
	p := start(t, t.Context(), "seq 1 100000; echo note >&2", &stderr)
	out, err := io.ReadAll(p)
	check(t, err)
	equal(t, "lines", bytes.Count(out, []byte("\n")), 100000)
	check(t, p.Wait())
	equal(t, "stderr", stderr.String(), "note\n")
}

func TestCommandFails(t *testing.T) {
	p := start(t, t.Context(), "echo half; seq 1 5000 >&2; echo 'no such table' >&2; exit 3", nil)
	out, err := io.ReadAll(p)
	equal(t, "output", string(out), "half\n")
	var failed *source.CommandError
	if !errors.As(err, &failed) {
		t.Fatalf("error is %v", err)
	}
	equal(t, "exit code", failed.ExitCode, 3)
	equal(t, "length of tail", len(failed.Stderr), 4096)
	if !strings.HasSuffix(err.Error(), "no such table") || p.Wait() != err {
		t.Errorf("errors are %v and %v", err, p.Wait())
	}
}

func TestCommandKilledBySignal(t *testing.T) {
	err := start(t, t.Context(), "kill -SEGV $$", nil).Wait()
	var failed *source.CommandError
	if !errors.As(err, &failed) || failed.Signal != "SIGSEGV" || failed.ExitCode != -1 {
		t.Errorf("error is %v", err)
	}
}

// Cancelling ends the children of the shell too, and those that left its group
// cannot hold us up.
func TestCommandCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := start(t, ctx, "sleep 61 & echo $!; setsid sleep 7 & wait", nil)
	line := make([]byte, 32)
	n, err := p.Read(line)
	check(t, err)
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err = io.ReadAll(p)
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	status := "/proc/" + strings.TrimSpace(string(line[:n])) + "/stat"
	for range 100 { // whoever inherits the child reaps it in its own time
		text, err := os.ReadFile(status)
		if err != nil || bytes.Contains(text, []byte(") Z ")) {
			return
		}
		tick()
	}
	t.Error("the child lives")
}

func TestCommandClosedEarly(t *testing.T) {
	p := start(t, t.Context(), "yes", nil)
	_, err := p.Read(make([]byte, 10))
	check(t, err)
	check(t, p.Close())
	check(t, p.Close())
	if _, err := p.Read(make([]byte, 10)); err == nil || err == io.EOF {
		t.Errorf("error is %v", err)
	}
}

func TestCommandAfterCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (source.Command{Line: "true"}).Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := (source.Command{Line: "true", Dir: "/no such"}).Start(t.Context()); err == nil {
		t.Error("no error")
	}
}

func collect(seq iter.Seq2[string, error]) (all []string, failed error) {
	for path, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, path)
	}
	return all, nil
}

func TestReadPaths(t *testing.T) {
	all, err := collect(source.ReadPaths(strings.NewReader("/a\n\n# no\n./#yes\n b \n\xff\r\nlast")))
	check(t, err)
	equalSlices(t, "paths", all, []string{"/a", "./#yes", " b ", "\xff\r", "last"})
	all, err = collect(source.ReadPaths0(strings.NewReader("#a\x00b\nc\x00\x00d")))
	check(t, err)
	equalSlices(t, "paths", all, []string{"#a", "b\nc", "d"})
	_, err = collect(source.ReadPaths(strings.NewReader("a\nb\x00c\n")))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error is %v", err)
	}
	if _, err = collect(source.ReadPaths0(strings.NewReader(strings.Repeat("x", 2<<20)))); err == nil {
		t.Error("no error")
	}
}

func TestOpenList(t *testing.T) {
	f, err := source.OpenList("-", strings.NewReader("x"))
	check(t, err)
	text, err := io.ReadAll(f)
	check(t, err)
	equal(t, "text", string(text), "x")
	_, err = source.OpenList("/no such", nil)
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("error is %v", err)
	}
}

func TestTags(t *testing.T) {
	root := t.TempDir()
	cache := source.CacheTag()
	for name, text := range map[string]string{
		"good/CACHEDIR.TAG": cache.Header + "\nmore", "bad/CACHEDIR.TAG": "Signature: 8a", "none/x": "",
		"dir/CACHEDIR.TAG/x": "", "own/.nobackup": "", "both/.nobackup": "", "both/CACHEDIR.TAG": cache.Header,
	} {
		write(t, root+"/"+name, text)
	}
	own, err := source.ParseTag(".nobackup")
	check(t, err)
	for name, want := range map[string]string{
		"good": "CACHEDIR.TAG", "bad": "", "none": "", "dir": "", "own": ".nobackup", "both": "CACHEDIR.TAG",
	} {
		dir := open(t, root+"/"+name, source.Options{})
		list, err := dir.Names()
		check(t, err)
		got, err := dir.Tagged(list, []source.Tag{cache, own})
		check(t, err)
		equal(t, name, got, want)
	}
	tag, err := source.ParseTag("f:head:er")
	check(t, err)
	equal(t, "tag", tag, source.Tag{Name: "f", Header: "head:er"})
	for _, text := range []string{"", ":x", "a/b", "..", "."} {
		if _, err := source.ParseTag(text); err == nil {
			t.Errorf("%q is a tag", text)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "10M": 10 << 20, "1G": 1 << 30, "2k": 2048, "3KiB": 3072, "1TB": 1 << 40, "7b": 7, "8191P": 8191 << 50,
	} {
		got, err := source.ParseSize(text)
		check(t, err)
		equal(t, text, got, want)
	}
	for _, text := range []string{"", "M", "-1", "1.5G", "10X", "8192P", "1 G", "99999999999999999999", "1Mi1"} {
		if n, err := source.ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}
