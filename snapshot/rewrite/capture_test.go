package rewrite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/snapshot"
	"coffer/snapshot/capture"
	"coffer/snapshot/rewrite"
)

// TestNextBackup: what was dropped comes back if it still exists, and is then
// read anew, unless the next backup excludes it.
func TestNextBackup(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "s", "a/plain": "p", "a/secret": "t", "other": "o"} {
		p := filepath.Join(dir, name)
		w.ok(os.MkdirAll(filepath.Dir(p), 0o700))
		w.ok(os.WriteFile(p, []byte(text), 0o600))
	}
	w.ok(os.Link(filepath.Join(dir, "secret"), filepath.Join(dir, "link")))
	opt := capture.Options{Host: "h", Roots: []capture.Root{{Path: dir}}}
	backup := func(excludes ...string) snapshot.Snapshot {
		opt.Patterns, opt.Excludes = patterns(excludes...), excludes
		rep, err := capture.Run(t.Context(), w.st, opt)
		w.ok(err)
		return w.find(rep.Snapshot.ID)
	}
	names := func(s snapshot.Snapshot) string {
		var out []string
		w.ok(snapshot.Walk(t.Context(), w.st, s.Root, dir, func(p string, e *snapshot.Entry) error {
			if e.Type == snapshot.File {
				data := make([]byte, e.Size)
				_, err := snapshot.NewReader(t.Context(), w.st, e).ReadAt(data, 0)
				w.ok(err)
				out = append(out, strings.TrimPrefix(p, dir)+"="+string(data))
			}
			return nil
		}))
		return strings.Join(out, " ")
	}
	const all, rest = "/a/plain=p /a/secret=t /link=s /other=o /secret=s", "/a/plain=p /link=s /other=o"
	if got := names(backup()); got != all {
		t.Fatal(got)
	}
	rep := w.run(rewrite.Options{Patterns: patterns("secret"), Forget: true})
	if got := names(w.find(rep.Snapshots[0].New)); got != rest {
		t.Errorf("rewritten: %s", got)
	}
	if got := names(backup("secret")); got != rest {
		t.Errorf("the next one with an exclude: %s", got)
	}
	if got := names(backup()); got != all {
		t.Errorf("the next one without: %s", got)
	}
}
