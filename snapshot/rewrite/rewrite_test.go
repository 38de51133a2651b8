package rewrite_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket/buckettest"
	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/rewrite"
	"coffer/snapshot/snapshottest"
	"coffer/store"
)

func (w *world) run(opt rewrite.Options) rewrite.Report {
	w.Helper()
	rep, err := rewrite.Run(w.Context(), w.st, w.snaps(), opt)
	w.ok(err)
	return rep
}

// home has a match for "secret" in some places, and a large directory.
func home() files {
	f := files{"/home/a/secret": "s|e|c", "/home/a/plain": "p", "/home/a/key/x/y": "secret words", "/home/b": "bb", "/home/l": "->a/secret",
		"/home/hard/1": "one inode", "/home/hard/secret": "one inode", "/etc/passwd": "root", "/etc/secret/deep/er": "x|y", "/empty": ""}
	for i := range 3000 {
		f[fmt.Sprintf("/home/many/%d/f", i%7)] = "many"
		f[fmt.Sprintf("/home/large/file%05d", i)] = fmt.Sprint(i)
	}
	f["/home/spilled"] = strings.Repeat("0123456789|", 1000) // its content does not fit into a page
	return f
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		roots, patterns []string
		dropped         uint64
	}{
		{[]string{"/home", "/etc"}, []string{"secret"}, 5},
		{[]string{"/home", "/etc"}, []string{"/home/a/secret"}, 1},
		{[]string{"/home", "/etc"}, []string{"/a/secret"}, 1}, // within a root, as in a backup
		{[]string{"/"}, []string{"/a/secret"}, 0},
		{[]string{"/"}, []string{"/home/a"}, 6},
		{[]string{"/home", "/etc"}, []string{"/home"}, 3029},
		{nil, []string{"*"}, 3035},
		{[]string{"/"}, []string{"file0000?", "!file00003"}, 9},
		{[]string{"/home", "/etc"}, []string{"secret/"}, 3},
		{[]string{"/"}, []string{"spilled", "many/3"}, 3},
	} {
		t.Run(fmt.Sprint(c.roots, c.patterns), func(t *testing.T) {
			w := newWorld(t)
			w.backup(home(), c.roots...)
			old := w.snaps()[0]
			opt := rewrite.Options{Patterns: patterns(c.patterns...), Forget: true}
			rep := w.run(opt)
			if got := rep.Dropped().Items; got != c.dropped {
				t.Errorf("dropped %d entries, want %d", got, c.dropped)
			}
			if c.dropped == 0 {
				if len(rep.Snapshots) > 0 || len(w.snaps()) != 1 || w.snaps()[0].Forgotten {
					t.Errorf("%+v", rep)
				}
				return
			}
			w.checkPair(rep.Snapshots[0], old, c.roots, c.patterns)
			if again := w.run(opt); len(again.Snapshots) != 0 || again.Looked != 1 {
				t.Errorf("a second run finds %+v", again)
			}
		})
	}
}

// checkPair holds a snapshot that was rewritten against the one before.
func (w *world) checkPair(res rewrite.Result, old snapshot.Snapshot, roots, texts []string) {
	w.Helper()
	made := w.find(res.New)
	if gone := w.find(old.ID); !gone.Forgotten || made.Forgotten || res.Old != old.ID {
		w.Errorf("forgotten: %v, %v", gone.Forgotten, made.Forgotten)
	}
	want := w.list(w.st, old.Root, matches(w, roots, patterns(texts...)))
	got := w.list(w.st, made.Root, none)
	if !slices.Equal(got.entries, want.entries) {
		w.Errorf("got %d entries, want %d:\n%.2000s\nwant\n%.2000s", len(got.entries), len(want.entries), strings.Join(got.entries, "\n"), strings.Join(want.entries, "\n"))
	}
	w.checkTree(made, got)
	w.checkShared(old, got, want)
	dropped := snapshot.Totals{Items: old.Items - made.Items, Files: old.Files - made.Files, Bytes: old.Bytes - made.Bytes}
	if dropped != res.Dropped {
		w.Errorf("dropped %+v, and the manifests say %+v", res.Dropped, dropped)
	}
	w.checkManifest(old, made, texts)
}

// checkTree counts anew, and writes every directory anew: it must be cut alike.
func (w *world) checkTree(s snapshot.Snapshot, got listed) {
	w.Helper()
	for p, dir := range got.dirs {
		var sum snapshot.Totals
		var m snapshottest.Mem
		l := snapshot.NewListing(&m)
		for e, err := range snapshot.List(w.Context(), w.st, dir.Tree, "") {
			w.ok(err)
			sum.Add(e)
			w.ok(l.Add(w.Context(), e))
		}
		id, _, err := l.Close(w.Context())
		w.ok(err)
		if p == "/" {
			dir.Items, dir.Files, dir.Size = s.Items, s.Files, s.Bytes
		}
		if id != dir.Tree || sum != (snapshot.Totals{Items: dir.Items, Files: dir.Files, Bytes: dir.Size}) {
			w.Errorf("%s: %+v as %s, written anew %+v as %s", p, dir, dir.Tree, sum, id)
		}
	}
	all := map[chunk.Kind][]chunk.ID{}
	w.ok(snapshot.Reach(w.Context(), w.st, s.Root, func(k chunk.Kind, id chunk.ID) bool {
		all[k] = append(all[k], id)
		return true
	}))
	missing, err := w.st.Missing(w.Context(), all[chunk.Data])
	w.ok(err)
	if len(missing) > 0 {
		w.Errorf("%d chunks are missing", len(missing))
	}
}

// checkShared demands that directories without a match are the same pages.
func (w *world) checkShared(old snapshot.Snapshot, got, want listed) {
	w.Helper()
	for p, dir := range want.dirs { // those of the old tree
		all := w.list(w.st, dir.Tree, none).entries
		left := 0
		for _, e := range want.entries {
			if strings.HasPrefix(e, strings.TrimSuffix(p, "/")+"/") && !strings.HasPrefix(e, "/ ") {
				left++
			}
		}
		if same := left == len(all)-1; same != (got.dirs[p].Tree == dir.Tree) {
			w.Errorf("%s of %s: %d entries of %d are left, and the listing is %s after %s", p, old.ID, left, len(all)-1, got.dirs[p].Tree, dir.Tree)
		}
	}
}

func (w *world) checkManifest(old, made snapshot.Snapshot, texts []string) {
	w.Helper()
	if made.Rewrote != old.ID || made.Original != "" || made.ID == old.ID {
		w.Errorf("%s was made of %q", made.ID, made.Rewrote)
	}
	if want := append([]string{"*.old"}, texts...); !slices.Equal(made.Excludes, want) {
		w.Errorf("excludes are %q, want %q", made.Excludes, want)
	}
	if old.Top != nil {
		a, err := snapshot.DecodeEntry(old.Top)
		w.ok(err)
		b, err := snapshot.DecodeEntry(made.Top)
		w.ok(err)
		a.Tree, a.Items, a.Files, a.Size = made.Root, made.Items, made.Files, made.Bytes
		if !reflect.DeepEqual(a, b) {
			w.Errorf("top is %+v, want %+v", b, a)
		}
	}
	same := made.Manifest
	same.Root, same.Items, same.Files, same.Bytes = old.Root, old.Items, old.Files, old.Bytes
	same.Rewrote, same.Excludes, same.Top, same.Warnings = "", old.Excludes, old.Top, old.Warnings
	if !reflect.DeepEqual(same, old.Manifest) {
		w.Errorf("got  %+v\nwant %+v", same, old.Manifest)
	}
}

// TestWarnings: the names of what is gone are gone from the warnings, too.
func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{"secret": "/home/b /home/a/key/x/y", "key/": "/home/a/secret /home/b", "/home/a": "/home/b", "plain": "/home/a/secret /home/b /home/a/key/x/y"} {
		w := newWorld(t)
		w.backup(home(), "/home", "/etc")
		made := w.find(w.run(rewrite.Options{Patterns: patterns(text)}).Snapshots[0].New)
		var got []string
		for _, warning := range made.Warnings {
			got = append(got, warning.Path)
		}
		if strings.Join(got, " ") != want || made.Warned != 3 {
			t.Errorf("without %q: %q of %d", text, got, made.Warned)
		}
	}
}

// TestManySnapshots rewrites a history with little changes, of different roots.
func TestManySnapshots(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t)
	f := home()
	roots := [][]string{{"/home", "/etc"}, {"/home", "/etc"}, {"/"}, nil}
	old := map[string][]string{} // roots by ID
	for i := range 12 {
		f = maps.Clone(f)
		for range 5 {
			f[fmt.Sprintf("/home/large/file%05d", rnd.IntN(5000))] = fmt.Sprint("new", i)
		}
		f[fmt.Sprintf("/home/n%d/a/secret", rnd.IntN(4))] = "s"
		now := f
		if i == 5 {
			now = files{"/home/b": "nothing to find"}
		}
		w.backup(now, roots[i%4]...)
	}
	texts := []string{"/a/secret", "*7[0-3]", "!file00070"}
	all := w.snaps()
	for i, s := range all {
		old[s.ID] = roots[i%4]
	}
	rep := w.run(rewrite.Options{Patterns: patterns(texts...), Forget: true})
	if len(rep.Snapshots) != 11 || rep.Looked != 12 || len(rep.Asked) != 11 || rep.Stored == 0 {
		t.Errorf("%d of %d were rewritten", len(rep.Snapshots), rep.Looked)
	}
	for i, res := range rep.Snapshots {
		w.checkPair(res, w.find(res.Old), old[res.Old], texts)
		if i > 0 && snapshot.Compare(w.find(rep.Snapshots[i-1].New), w.find(res.New)) > 0 {
			t.Error("the report is not in the order of time")
		}
	}
}

// objects are the names of all that is stored, but for what readers leave.
func (w *world) objects() []string {
	w.Helper()
	names, err := buckettest.Names(w.Context(), w.b, "", "")
	w.ok(err)
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "sessions/") || strings.HasPrefix(n, "fates/") })
}

func TestDryRun(t *testing.T) {
	w := newWorld(t)
	w.backup(home(), "/home", "/etc")
	before := w.objects()
	var events []rewrite.Event
	rep := w.run(rewrite.Options{Patterns: patterns("secret"), DryRun: true, Forget: true, Event: func(e rewrite.Event) { events = append(events, e) }})
	want := snapshot.Totals{Items: 5, Files: 3, Bytes: 5 + 9 + 3}
	if len(rep.Snapshots) != 1 || rep.Snapshots[0].New != "" || rep.Snapshots[0].Dropped != want {
		t.Errorf("%+v", rep)
	}
	if !slices.Equal(before, w.objects()) || len(w.snaps()) != 1 || w.snaps()[0].Forgotten || len(events) != 1 {
		t.Error("a dry run has changed something")
	}
}

// TestGoesOn: a run that ended before it could forget is finished by the next
// one, which makes nothing twice.
func TestGoesOn(t *testing.T) {
	w := newWorld(t)
	w.backup(home(), "/home", "/etc")
	w.backup(home(), "/etc")
	held := w.commit(w.snaps()[0], func(m *snapshot.Manifest) { m.Hold = &snapshot.Hold{Reason: "why"} })
	opt := rewrite.Options{Patterns: patterns("secret")}
	first := w.run(opt)
	if len(w.snaps()) != 4 || len(first.Asked) != 0 {
		t.Fatalf("%d snapshots", len(w.snaps()))
	}
	// It may also have ended when it had taken the hold over.
	w.commit(w.find(first.Snapshots[0].New), func(m *snapshot.Manifest) { m.Hold = &snapshot.Hold{Reason: "why"} })
	opt.Forget, opt.Held = true, true
	second := w.run(opt)
	if !reflect.DeepEqual(first.Snapshots, second.Snapshots) || len(w.snaps()) != 4 || !slices.Contains(second.Asked, held) {
		t.Errorf("%+v\n%+v", first, second)
	}
	for _, res := range second.Snapshots {
		if s := w.find(res.Old); s.Present() {
			t.Errorf("%s is still there", s.ID)
		}
	}
	if made := w.find(second.Snapshots[0].New); len(made.Holds) != 1 || made.Holds[0].Reason != "why" {
		t.Errorf("%+v", made.Holds)
	}
}

// TestSharedDirectories: what two snapshots share is looked at once.
func TestSharedDirectories(t *testing.T) {
	w := newWorld(t)
	f := home()
	for range 20 {
		w.backup(f, "/home", "/etc")
		f = maps.Clone(f)
		f["/home/large/file00001"] = fmt.Sprint(len(w.snaps()))
	}
	rep := w.run(rewrite.Options{Patterns: patterns("secret"), Forget: true})
	for _, res := range rep.Snapshots {
		w.checkPair(res, w.find(res.Old), []string{"/home", "/etc"}, []string{"secret"})
	}
	if one := w.find(rep.Snapshots[0].New); rep.Stored > 3*int64(len(mustEncode(t, &one.Manifest)))*20+200_000 {
		t.Errorf("%d bytes were stored", rep.Stored)
	}
}

func mustEncode(t *testing.T, m *snapshot.Manifest) []byte {
	t.Helper()
	b, err := snapshot.EncodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeld(t *testing.T) {
	now := time.Unix(1000, 0)
	held := func(reason string, until int64) func(*snapshot.Manifest) {
		return func(m *snapshot.Manifest) {
			m.Hold = &snapshot.Hold{Reason: reason, Until: snapshot.Time{Sec: until}, By: "me", Added: snapshot.Time{Sec: 3}}
		}
	}
	w := newWorld(t)
	w.backup(home(), "/home")
	w.backup(home(), "/etc")
	first, second := w.snaps()[0], w.snaps()[1]
	hold := w.commit(first, held("the audit", 0))
	ended := w.commit(first, held("over", 999))
	undeleted := w.commit(first, func(*snapshot.Manifest) {})
	opt := rewrite.Options{Patterns: patterns("secret"), Forget: true, Now: func() time.Time { return now }}

	rep, err := rewrite.Run(t.Context(), w.st, w.snaps(), opt)
	var refused *rewrite.HeldError
	if !errors.As(err, &refused) || refused.Snapshot != first.ID || len(refused.Holds) != 1 || !strings.Contains(err.Error(), hold) || !strings.Contains(err.Error(), "the audit") {
		t.Fatalf("%v", err)
	}
	if w.find(first.ID).Forgotten || rep.Snapshots[0].New != "" || rep.Snapshots[0].Err == nil || !w.find(second.ID).Forgotten {
		t.Errorf("%+v", rep)
	}

	opt.Held = true
	rep = w.run(opt)
	want := []string{first.ID, hold, ended, undeleted}
	if got := slices.Sorted(slices.Values(rep.Asked)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	made := w.find(rep.Snapshots[0].New)
	if w.find(first.ID).Present() || len(made.Holds) != 1 || made.Holds[0].Reason != "the audit" || made.Holds[0].By != "me" || made.Forgotten {
		t.Errorf("%+v", made)
	}
}

// TestHeldAlone: a snapshot that only its hold keeps stays so.
func TestHeldAlone(t *testing.T) {
	w := newWorld(t)
	w.backup(home(), "/home")
	s := w.snaps()[0]
	w.commit(s, func(m *snapshot.Manifest) { m.Hold = &snapshot.Hold{Reason: "r"} })
	w.ok(w.st.Forget(t.Context(), s.Records))
	rep := w.run(rewrite.Options{Patterns: patterns("secret"), Forget: true, Held: true})
	made := w.find(rep.Snapshots[0].New)
	if !made.Forgotten || !made.Present() || w.find(s.ID).Present() || made.Holds[0].Reason != "r" {
		t.Errorf("%+v", made)
	}
}

// TestForgottenIsLeft: nobody sees it, and the next prune takes it.
func TestForgottenIsLeft(t *testing.T) {
	w := newWorld(t)
	w.backup(home(), "/home")
	w.ok(w.st.Forget(t.Context(), w.snaps()[0].Records))
	if rep := w.run(rewrite.Options{Patterns: patterns("secret"), Forget: true}); rep.Looked != 0 || len(w.snaps()) != 1 {
		t.Errorf("%+v", rep)
	}
}

// TestDamagedPage: a snapshot that cannot be read is named and left alone, and
// the others are rewritten.
func TestDamagedPage(t *testing.T) {
	w := newWorld(t)
	w.backup(files{"/home/a/secret": "s"}, "/home")
	good := w.snaps()[0]
	m := good.Manifest
	m.Effective.Sec, m.Root = 99, chunk.ID{1, 2, 3}
	c, err := w.st.Write(t.Context(), func(ctx context.Context, _ *store.Session) ([]byte, error) { return snapshot.EncodeManifest(&m) })
	w.ok(err)
	rep, err := rewrite.Run(t.Context(), w.st, w.snaps(), rewrite.Options{Patterns: patterns("secret"), Forget: true})
	if err == nil || !strings.Contains(err.Error(), c.ID) || strings.Contains(err.Error(), good.ID) {
		t.Errorf("%v", err)
	}
	if w.find(c.ID).Forgotten || !w.find(good.ID).Forgotten || len(rep.Snapshots) != 2 || rep.Snapshots[0].New == "" {
		t.Errorf("%+v", rep)
	}
}

func TestBadOptions(t *testing.T) {
	w := newWorld(t)
	w.backup(home(), "/home")
	for _, texts := range [][]string{nil, {"a/../b"}} {
		rep, err := rewrite.Run(t.Context(), w.st, w.snaps(), rewrite.Options{Patterns: patterns(texts...), Forget: true})
		if err == nil || len(w.snaps()) != 1 || rep.Dropped().Items != 0 {
			t.Errorf("%q: %+v, %v", texts, rep, err)
		}
	}
}
