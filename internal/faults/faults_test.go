// Package faults sees that docs/faults.md is true: the tests that it names exist,
// no fault is left out, and each test that says which fault it is for is named.
package faults

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// last is the number of the last fault.
const last = 42

// A row is a line of the table.
type row struct {
	number      int
	text, notes string
	tests       []string // package.Function, or script:name
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	named  = regexp.MustCompile(`^[a-z0-9/]+\.(Test|Fuzz)\w+$`)
	later  = regexp.MustCompile(`\blater: (S3 repositories|appliance)\b`)
	says   = regexp.MustCompile(`\bFaults? (\d+(?:, \d+)*):`)
)

func rows(t *testing.T) (list []row) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 || cells[0] != "" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil { // the head of the table
			continue
		}
		if len(cells) != 6 {
			t.Fatalf("fault %d has %d cells", n, len(cells)-2)
		}
		r := row{number: n, text: strings.TrimSpace(cells[2]), notes: strings.TrimSpace(cells[4])}
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			r.tests = append(r.tests, m[1])
		}
		list = append(list, r)
	}
	return list
}

// TestEachFaultOnce demands all numbers in their order, each with tests or with
// what it waits for.
func TestEachFaultOnce(t *testing.T) {
	list := rows(t)
	for i, r := range list {
		if r.number != i+1 {
			t.Fatalf("fault %d stands where %d should", r.number, i+1)
		}
		if r.text == "" || len(r.tests) == 0 && !later.MatchString(r.notes) {
			t.Errorf("fault %d has no test, and does not say for what it waits", r.number)
		}
	}
	if len(list) != last {
		t.Errorf("%d faults, want %d", len(list), last)
	}
}

// TestNamedTestsExist looks for every test that the table names, in the notes too.
func TestNamedTestsExist(t *testing.T) {
	packages := map[string]map[string]*ast.FuncDecl{}
	for _, r := range rows(t) {
		names := r.tests
		for _, m := range quoted.FindAllStringSubmatch(r.notes, -1) {
			if named.MatchString(m[1]) {
				names = append(names, m[1])
			}
		}
		for _, name := range names {
			if script, ok := strings.CutPrefix(name, "script:"); ok {
				if _, err := os.Stat(filepath.Join(root, "cmd/coffer/testdata/script", script+".txt")); err != nil {
					t.Errorf("fault %d: %v", r.number, err)
				}
				continue
			}
			if !named.MatchString(name) {
				t.Errorf("fault %d: %q is no name of a test", r.number, name)
				continue
			}
			i := strings.LastIndex(name, ".")
			pkg, function := name[:i], name[i+1:]
			if packages[pkg] == nil {
				packages[pkg] = functions(t, filepath.Join(root, pkg, "*_test.go"))
			}
			if packages[pkg][function] == nil {
				t.Errorf("fault %d: package %s has no %s", r.number, pkg, function)
			}
		}
	}
}

// functions are those in the files that a pattern fits.
func functions(t *testing.T, pattern string) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*ast.FuncDecl{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = f
			}
		}
	}
	return found
}

// TestWhatTestsSay demands that a test whose comment says "Fault 7:" stands in
// line 7, and that those in files of the name faults_*_test.go say something.
func TestWhatTestsSay(t *testing.T) {
	inLine := map[string]bool{}
	for _, r := range rows(t) {
		for _, name := range r.tests {
			inLine[fmt.Sprint(r.number, " ", name)] = true
		}
		for _, m := range quoted.FindAllStringSubmatch(r.notes, -1) {
			inLine[fmt.Sprint(r.number, " ", m[1])] = true
		}
	}
	seen := 0
	for _, file := range faultFiles(t) {
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range functions(t, file) {
			if !strings.HasPrefix(name, "Test") {
				continue
			}
			seen++
			all := says.FindAllStringSubmatch(f.Doc.Text(), -1)
			if !strings.HasPrefix(f.Doc.Text(), "Fault") || len(all) == 0 {
				t.Errorf("%s in %s does not say for which fault it is", name, file)
			}
			for _, m := range all {
				for _, n := range strings.Split(m[1], ", ") {
					if key := n + " " + filepath.ToSlash(dir) + "." + name; !inLine[key] {
						t.Errorf("line %s of docs/faults.md lacks %s.%s", n, dir, name)
					}
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d tests were found", seen)
	}
}

func faultFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if ok, _ := filepath.Match("faults_*_test.go", d.Name()); ok {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
