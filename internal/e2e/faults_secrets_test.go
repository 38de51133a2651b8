package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"coffer/chunk"
)

// words are known plain texts, each of which nothing else contains.
var words = map[string]string{
	"content":    "Zq7-content-vexillologist-0f3a",
	"large file": "Zq7-large-brachistochrone-51c9",
	"file name":  "Zq7-name-quixotically-88d1",
	"directory":  "Zq7-directory-syzygy-3b77",
	"link":       "Zq7-target-zugzwang-c0de",
	"xattr":      "Zq7-xattr-jabberwock-19ae",
	"tag":        "Zq7-tag-kumquat-7e02",
	"later tag":  "Zq7-note-hullabaloo-d4d4",
	"reason":     "Zq7-reason-litigation-6a6a",
	"host":       "zq7-host-flibbertigibbet",
	"name":       "zq7-name-of-job-wunderkammer",
	"gone":       "Zq7-forgotten-palimpsest-2222",
	"stdin":      "Zq7-stdin-sesquipedalian-9090",
	"password":   "Zq7-password-correct-horse-4711",
	"second":     "Zq7-password-battery-staple-4712",
}

// Fault 42: no secret is in the process list, in what is printed or in a file that
// others can read, and nothing of what is known of the plain text, not even the
// ID of a chunk, is in the repository or in the cache: after backups, forgets,
// holds, tags, repacking and prunes.
func TestFaultsNothingInTheClear(t *testing.T) {
	r := newRig(t)
	for _, dir := range []string{"repo", "cache"} {
		if err := os.RemoveAll(filepath.Join(r.work, dir)); err != nil {
			t.Fatal(err)
		}
	}
	s := &secretRig{rig: r}
	tree := filepath.Join(r.work, "tree")
	large := bytes.Repeat([]byte(words["large file"]+" "), 100_000)
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(tree, words["directory"], name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(words["file name"], words["content"])
	write("large", string(large))
	write("gone", words["gone"])
	for i := range 40 {
		write(fmt.Sprint(words["file name"], i), fmt.Sprint(words["content"], i))
	}
	if err := os.Symlink(words["link"], filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setxattr(filepath.Join(tree, words["directory"]), "user.comment", []byte(words["xattr"]), 0); err != nil {
		t.Fatal(err)
	}

	s.recovery = recoveryKey(t, s.do("init"))
	id := words["name"]
	s.do("backup", "-v", "--name", id, "--tag", words["tag"], tree)
	s.do("forget", "--yes", "latest")
	if err := os.Remove(filepath.Join(tree, words["directory"], "gone")); err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds { // with what prune marks, and keeps of it
		write("changes", fmt.Sprint(words["content"], time.Now()))
		s.do("backup", "-v", "--name", id, tree)
		s.do("prune")
		s.do("tag", "--add", words["later tag"], "latest")
		s.do("hold", "add", "--reason", words["reason"], "latest")
		s.do("forget", "--keep-last", "1", "--name", id)
		s.do("prune")
	}
	s.do("hold", "release", "--all", "latest")
	s.do("backup", "--command", "dump=echo "+words["stdin"], "--name", "dump")
	s.do("key", "add", "--label", "second")
	s.do("verify", "--read-data")
	s.do("find", "-v", "*"+words["file name"]+"*")
	s.do("stats")
	s.do("prune", "--json")
	s.fail("snapshots", "--json")

	secret := map[string][]byte{}
	for what, word := range words {
		secret[what] = []byte(word)
	}
	secret["recovery key"] = []byte(s.recovery)
	for what, plain := range map[string][]byte{"content": []byte(words["content"]), "large file": large, "gone": []byte(words["gone"]), "stdin": []byte(words["stdin"] + "\n")} {
		sum := chunk.Sum(chunk.Data, plain)
		secret["ID of the "+what] = sum[:8]
		secret["ID of the "+what+" in hex"] = []byte(hex.EncodeToString(sum[:8]))
	}
	n := 0
	for _, dir := range []string{"repo", "cache"} {
		n += s.scan(filepath.Join(r.work, dir), secret)
	}
	if n < 20 {
		t.Errorf("only %d files were looked at", n)
	}
	if list, _ := filepath.Glob(filepath.Join(r.work, "cache/*/*")); len(list) == 0 {
		t.Error("there is no cache to look into")
	}
	s.said(secret)
}

// A secretRig watches what the command shows of its secrets.
type secretRig struct {
	*rig
	recovery string
	output   []string
	lines    []string // of the process list
}

func (s *secretRig) start(args []string) (out string, err error) {
	cmd := s.command(args...)
	cmd.Env = append(cmd.Env, "COFFER_KEY_FILE=", "COFFER_HOST="+words["host"], "COFFER_PASSWORD="+words["password"], "COFFER_NEW_PASSWORD="+words["second"])
	if args[0] == "snapshots" {
		cmd.Env = append(cmd.Env, "COFFER_PASSWORD=wrong-"+words["second"])
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		return "", err
	}
	over := make(chan error)
	go func() { over <- cmd.Wait() }()
	for {
		select {
		case err := <-over:
			if args[0] != "init" {
				s.output = append(s.output, text.String())
			}
			return text.String(), err
		case <-time.After(20 * time.Millisecond):
			ps, err := exec.Command("ps", "-eo", "args").Output()
			if err != nil {
				s.t.Error(err)
			}
			for line := range strings.Lines(string(ps)) {
				if strings.Contains(line, s.bin) {
					s.lines = append(s.lines, line)
				}
			}
		}
	}
}

func (s *secretRig) do(args ...string) string {
	s.t.Helper()
	out, err := s.start(args)
	if err != nil {
		s.t.Fatalf("coffer %v: %v\n%s", args, err, out)
	}
	return out
}

func (s *secretRig) fail(args ...string) {
	s.t.Helper()
	if out, err := s.start(args); err == nil {
		s.t.Errorf("coffer %v: %s", args, out)
	}
}

func recoveryKey(t *testing.T, out string) string {
	t.Helper()
	_, rest, _ := strings.Cut(out, "Recovery key: ")
	key, _, ok := strings.Cut(rest, "\n")
	if !ok || len(key) < 40 {
		t.Fatalf("no recovery key: %s", out)
	}
	return key
}

// said looks through the process list and what was printed: of passwords and keys
// there may be nothing.
func (s *secretRig) said(secret map[string][]byte) {
	s.t.Helper()
	if len(s.lines) < 5 {
		s.t.Errorf("the process list was seen only %d times", len(s.lines))
	}
	for _, what := range []string{"password", "second", "recovery key"} {
		for _, text := range append(s.output, s.lines...) {
			if strings.Contains(text, string(secret[what])) {
				s.t.Errorf("the %s is shown: %s", what, text)
			}
		}
	}
}

// scan looks for secrets in the names and bytes of files, and for files that
// others can read.
func (s *secretRig) scan(dir string, secret map[string][]byte) (n int) {
	s.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			s.t.Errorf("%s has mode %v", path, info.Mode())
		}
		data := []byte(path)
		if !d.IsDir() {
			n++
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data = append(data, content...)
		}
		for what, word := range secret {
			if bytes.Contains(data, word) {
				s.t.Errorf("the %s is in %s", what, path)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
