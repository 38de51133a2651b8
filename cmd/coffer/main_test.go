package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coffer": main})
}

// TestScript runs the scripts in testdata/script through the real main. Each of
// them begins with a key file, which opens a repository faster than a password.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupScript,
		Condition:           scriptCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      scriptCode,
			"jsonvalid": scriptJSON,
			"jsonlines": scriptJSONLines,
		},
	})
}

func setupScript(e *testscript.Env) error {
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("COFFER_REPOSITORY", filepath.Join(e.WorkDir, "repo"))
	e.Setenv("COFFER_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
	e.Setenv("COFFER_KEY_FILE", filepath.Join(e.WorkDir, "key"))
	e.Setenv("COFFER_HOST", "testhost")
	for _, name := range []string{"PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND", "RECOVERY_KEY", "NEW_PASSWORD", "JSON", "QUIET"} {
		e.Setenv("COFFER_"+name, "")
	}
	return os.WriteFile(filepath.Join(e.WorkDir, "key"), bytes.Repeat([]byte("k"), 32), 0o600)
}

func scriptCondition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "namespaces": // may mount something without others seeing it
		return exec.Command("unshare", "-m", "true").Run() == nil, nil
	}
	return false, errors.New("no such condition")
}

// scriptCode runs a command and wants a certain exit code: "code 3 coffer ...".
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (got == want) == neg {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptJSON checks that a file, or stdout or stderr, is one JSON document.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if json.Valid([]byte(ts.ReadFile(args[0]))) == neg {
		ts.Fatalf("%s is not as wanted: %s", args[0], ts.ReadFile(args[0]))
	}
}

// scriptJSONLines checks that there are lines, and that each is JSON.
func scriptJSONLines(ts *testscript.TestScript, neg bool, args []string) {
	lines, bad := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0]))), ""
	n := 0
	for lines.Scan() {
		n++
		if !json.Valid(lines.Bytes()) {
			bad = lines.Text()
		}
	}
	if (n > 0 && bad == "") == neg {
		ts.Fatalf("%s has %d lines, and this is not JSON: %q", args[0], n, bad)
	}
}
