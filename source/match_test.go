package source_test

import (
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"coffer/source"
)

func compile(t testing.TB, root string, patterns ...string) *source.Matcher {
	t.Helper()
	var all []source.Pattern
	for _, p := range patterns {
		all = append(all, source.Pattern{Text: p})
	}
	m, err := source.Compile(all, root)
	check(t, err)
	return m
}

// excluded asks as a walk does: from the top, until something is left out.
func excluded(m *source.Matcher, name string) bool {
	name, isDir := strings.CutSuffix(name, "/")
	for i := range name {
		if name[i] == '/' && m.Excluded(name[:i], true) {
			return true
		}
	}
	return m.Excluded(name, isDir)
}

// paths are tried with each set of patterns. A slash at the end: a directory.
var paths = []string{
	"a", "b", "a.o", "A.O", "dir/", "dir/a", "dir/a.o", "dir/b/", "dir/b/a.o", "dir/b/c/", "dir/b/c/a",
	"x/", "x/dir/", "x/dir/a", "x/y/", "x/y/dir/", "x/y/dir/b/", "x/y/dir/b/z", ".hidden", "x/.hidden",
	"a b", "trail ", "#hash", "!bang", "star*", "[b]", "q?", "aXb", "a]b", "a-b", "1", "caf\u00e9",
	"\xff\xfe", "\xfe", "x/\xff", "foo.txt", "foo.md", "bar.txt", "deep/er/and/deep/er/", "deep/er/and/deep/er/a", "{a,b}",
}

func TestAgainstGit(t *testing.T) {
	for _, rules := range [][]string{
		{"a"}, {"*.o"}, {"dir"}, {"dir/"}, {"/a"}, {"/dir"}, {"/dir/*"}, {"/dir/**"}, {"**/dir"}, {"**/dir/a"},
		{"**/dir/**"}, {"/**/a"}, {"/x/**/a"}, {"/x/**/dir/**"}, {"*"}, {"**"}, {"**/"}, {"*/"}, {"/*", "!/dir"},
		{"/dir/*", "!/dir/b"}, {"/dir/*", "!/dir/b/", "/dir/b/*", "!/dir/b/c"}, {"*.o", "!a.o"}, {"!a.o", "*.o"},
		{".*"}, {"a?b"}, {"?"}, {"a[-X]b"}, {"a[!X]b"}, {"a[^X]b"}, {"[]a]"}, {"a[]]b"}, {"a[]-]b"}, {"[[:digit:]]"},
		{"[[:alpha:]]"}, {"[a-c]"}, {"[!a-c]"}, {`\#hash`}, {`\!bang`}, {`star\*`}, {`star\?`}, {`\[b\]`}, {`[[]b]`},
		{`a\ b`}, {"a b"}, {"trail\\ "}, {"\xff\xfe"}, {"\xff*"}, {"*\xfe"}, {"foo.*", "!foo.md"}, {"{a,b}"}, {`\a`}, {"/deep/**/er/a"},
		{"d*r"}, {"*i*"}, {"/x/*/dir"}, {"a**b"}, {"/dir/**b"}, {"**a"}, {"[[:space:]]"}, {"a[[:space:]]b"}, {"[[:punct:]]hash"}, {"**/**/a"},
		{"/dir/**/**/a"}, {`[\]a]`}, {"a[X-]b"}, {"a[--a]b"}, {"foo.txt", "bar.txt", "!/bar.txt"},
	} {
		git := gitIgnored(t, rules)
		patterns, err := source.ReadPatterns(strings.NewReader(strings.Join(rules, "\n")), ".gitignore", false)
		check(t, err)
		m, err := source.Compile(patterns, "")
		check(t, err)
		for _, name := range paths {
			if got := excluded(m, name); got != git[name] {
				t.Errorf("%q with %q: excluded %v, git says %v", name, rules, got, git[name])
			}
		}
	}
}

// gitIgnored asks git about all paths. Only directories have to exist for that.
func gitIgnored(t *testing.T, rules []string) map[string]bool {
	t.Helper()
	root := t.TempDir()
	run := exec.Command("git", "init", "-q", root)
	check(t, run.Run())
	check(t, os.WriteFile(root+"/.git/info/exclude", []byte(strings.Join(rules, "\n")+"\n"), 0o644))
	ask := make([]string, len(paths))
	for i, name := range paths {
		dir, ok := strings.CutSuffix(name, "/")
		if ask[i] = dir; ok {
			check(t, os.MkdirAll(root+"/"+dir, 0o755))
		}
	}
	run = exec.Command("git", "check-ignore", "-z", "--stdin", "--no-index")
	run.Dir = root
	run.Stdin = strings.NewReader(strings.Join(ask, "\x00"))
	out, err := run.Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("git check-ignore: %v", err)
	}
	ignored := map[string]bool{}
	for _, name := range strings.Split(string(out), "\x00") {
		ignored[name], ignored[name+"/"] = true, true
	}
	return ignored
}

// rsync and we agree on what has a slash in the middle, and git does not.
func TestAgainstRsync(t *testing.T) {
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("rsync is not installed")
	}
	root := t.TempDir()
	for _, name := range paths {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			os.MkdirAll(root+"/"+dir, 0o755)
		} else if os.MkdirAll(root+"/"+path.Dir(name), 0o755) == nil {
			os.WriteFile(root+"/"+name, nil, 0o644) // "a" is a directory in another line
		}
	}
	for _, rule := range []string{"dir/a", "dir/b", "b/c", "y/dir/", "dir/*", "x/*/dir", "/x/y", "/dir/a", "*.o", "dir/b/c", "er/a"} {
		m := compile(t, "", rule)
		out, err := exec.Command("rsync", "-rn", "--out-format=%n", "-8", "--exclude="+rule, root+"/", root+"-none/").Output()
		check(t, err)
		kept := map[string]bool{}
		for _, line := range strings.Split(string(out), "\n") {
			kept[strings.TrimSuffix(line, "/")] = true
		}
		for _, name := range paths {
			if st, err := os.Lstat(root + "/" + name); err != nil || !utf8.ValidString(name) || strings.ContainsAny(name, "*?[]{") || st.IsDir() != strings.HasSuffix(name, "/") {
				continue
			}
			equal(t, name+" kept with "+rule, !excluded(m, name), kept[strings.TrimSuffix(name, "/")])
		}
	}
}

func TestAnchors(t *testing.T) {
	for _, c := range []struct {
		root, pattern, path string
		want                bool
	}{
		{"/home/u", "/home/u/.cache", ".cache", true},
		{"/home/u", "/home/u/.cache", "x/.cache", false},
		{"/home/u", "/.cache", ".cache", true},
		{"/home/u", "/home/*/.cache", ".cache", true},
		{"/home/u", "/home/v/.cache", ".cache", false},
		{"/home", "/home/*/.cache", "u/.cache", true},
		{"/home", "/home/*/.cache", "u/v/.cache", false},
		{"/home", "/**/.cache", "u/v/.cache", true},
		{"/home/u", "/home/**/x", "x", true},
		{"/home/u", "/home/**/x", "a/b/x", true},
		{"/home/u", "/**/u/x", "x", true},
		{"/home/u", "/**/u/x", "a/x", false},
		{"/home/u", "/home/u", "home/u", true},
		{"/home/u", "/home/u", "u", false},
		{"/home/u", "/home/**", "any", true},
		{"/", "/home/u", "home/u", true},
		{"/", "/home/u", "x/home/u", false},
		{"/home/u", "home/u", "home/u", true},
	} {
		m := compile(t, c.root, c.pattern)
		equal(t, c.pattern+" on "+c.path+" below "+c.root, m.Excluded(c.path, false), c.want)
	}
}

// A character is one of UTF-8 for us, and a byte for git.
func TestCharacters(t *testing.T) {
	for _, pattern := range []string{"?", "[!a-c]", "[é-ü]"} {
		equal(t, pattern, compile(t, "", pattern).Excluded("é", false), true)
	}
	equal(t, "a byte", compile(t, "", "?").Excluded("\xff", false), true)
}

func TestFold(t *testing.T) {
	m, err := source.Compile([]source.Pattern{
		{Text: "*.JPG", Fold: true}, {Text: "ÉTÉ", Fold: true}, {Text: "\xffA", Fold: true}, {Text: "[[:upper:]]x", Fold: true}, {Text: "Exact"},
	}, "")
	check(t, err)
	for name, want := range map[string]bool{
		"a.jpg": true, "a.JpG": true, "été": true, "\xffa": true, "\xfea": false, "ax": true, "Exact": true, "exact": false,
	} {
		equal(t, name, m.Excluded(name, false), want)
	}
}

func TestBrokenPatterns(t *testing.T) {
	for _, text := range []string{"", "/", "!", "//", "a[b", `a\`, "[[:what:]]", "a/../b", ".", "[", "[!", "[\xff]", "a/[b/c]", "[c-a]"} {
		_, err := source.Compile([]source.Pattern{{Text: text, Origin: "file:3"}}, "")
		if err == nil || !strings.Contains(err.Error(), "file:3") {
			t.Errorf("%q: error is %v", text, err)
		}
	}
}

func TestReadPatterns(t *testing.T) {
	got, err := source.ReadPatterns(strings.NewReader("\ufeff# no\r\na \r\n\n  b\\ \\ \n\\\\ \n"), "f", false)
	check(t, err)
	var texts []string
	for _, p := range got {
		texts = append(texts, p.Text)
	}
	equalSlices(t, "patterns", texts, []string{"a", `  b\ \ `, `\\`})
	equal(t, "origin", got[0].Origin, "f:2")
}

func TestNoPatterns(t *testing.T) {
	m, err := source.Compile(nil, "/")
	check(t, err)
	if m != nil || m.Excluded("a", false) {
		t.Error("something is left out")
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("a/**/b[!c-]*", "a/x/bd")
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		if m, err := source.Compile([]source.Pattern{{Text: pattern}}, "/home/u"); err == nil {
			m.Excluded(name, true)
		}
	})
}

func BenchmarkExcluded(b *testing.B) {
	var rules []string
	for _, s := range []string{"node_modules", "*.o", ".cache/", "/var/tmp", "*~"} {
		for _, t := range []string{"", "x", "y", "z", "1", "2", "3", "4", "5", "6"} {
			rules = append(rules, strings.TrimSuffix(s, "/")+t)
		}
	}
	m := compile(b, "/", rules...)
	b.ReportAllocs()
	for b.Loop() {
		m.Excluded("home/user/src/project/internal/some-file.go", false)
	}
}
