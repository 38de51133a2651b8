package golden

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// python is Debian's, for which the reader's packages are installed.
const python = "/usr/bin/python3"

const packages = "the reader in testdata/reader needs Debian's packages: " +
	"apt-get install python3 python3-cryptography python3-zstandard python3-argon2"

// needPython fails, and does not skip, where the reader cannot run: then
// nothing would show that docs/format.md is still enough.
func needPython(t testing.TB) {
	t.Helper()
	out, err := exec.Command(python, "-c", "import cryptography, zstandard, argon2").CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", packages, err, out)
	}
}

// python runs the reader.
func (r repo) python(t testing.TB, args ...string) (out []byte, trouble string, err error) {
	t.Helper()
	return runReader(t, append([]string{"--repo", r.dir, "--key-file", r.keyFile}, args...)...)
}

func runReader(t testing.TB, args ...string) (out []byte, trouble string, err error) {
	t.Helper()
	cmd := exec.Command(python, append([]string{"-B", readerPath}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stderr.String(), err
}

// readAll returns all that the reader finds, in the form of v1.expected.
func (r repo) readAll(t testing.TB) string {
	t.Helper()
	list := r.mustRead(t, "list")
	var all strings.Builder
	for snap := range strings.Lines(string(list)) {
		id, _, _ := strings.Cut(snap, " ")
		all.WriteString("snapshot " + snap)
		all.Write(r.mustRead(t, "ls", "--recursive", "--full", id))
	}
	return all.String()
}

func (r repo) mustRead(t testing.TB, args ...string) []byte {
	t.Helper()
	out, trouble, err := r.python(t, args...)
	if err != nil {
		t.Fatalf("reader %q: %v\n%s", args, err, trouble)
	}
	return out
}

// TestReaderGolden reads testdata/v1 with the independent reader.
func TestReaderGolden(t *testing.T) {
	needPython(t)
	want, err := os.ReadFile(testdata + "/v1.expected")
	if err != nil {
		t.Fatal(err)
	}
	r := golden()
	same(t, r.readAll(t), string(want))
	r.mustRead(t, "check")
	for _, secret := range [][]string{{"--password", password}, {"--recovery-key", strings.ToLower(r.recovery)}} {
		out, trouble, err := runReader(t, append(append([]string{"--repo", r.dir}, secret...), "list")...)
		if err != nil || bytes.Count(out, []byte("\n")) != 2 {
			t.Errorf("%s: %v\n%s%s", secret[0], err, out, trouble)
		}
	}
}

// TestReaderFresh reads with both readers what the current code has just
// written, with files that are too large for testdata.
func TestReaderFresh(t *testing.T) {
	needPython(t)
	noise := random(2, 3<<20) // incompressible, several chunks
	r, want := build(t, t.TempDir(), func(b builder) { b.file("big noise", noise) })
	same(t, r.readAll(t), want)
	r.mustRead(t, "check")
	secret, err := r.secret()
	if err != nil {
		t.Fatal(err)
	}
	text, damage, err := found(context.Background(), r, secret)
	if err != nil || len(damage) > 0 {
		t.Fatal(err, damage)
	}
	same(t, text, want)
	id := strings.Fields(want)[1]
	for path, content := range map[string][]byte{"/big noise": noise, "/names/\xff\xfe not utf-8": []byte("named so\n"), "/empty": nil} {
		if got := r.mustRead(t, "cat", id, treeAt+path); !bytes.Equal(got, content) {
			t.Errorf("cat %q gives %d bytes, want %d", path, len(got), len(content))
		}
	}
	if got := r.mustRead(t, "cat", id[:8], streamAt); !bytes.Equal(got, dump(1)) {
		t.Errorf("cat of the stream gives %q", got)
	}
}
