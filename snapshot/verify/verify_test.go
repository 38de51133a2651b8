package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket/buckettest"
	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/gc"
	"coffer/snapshot/verify"
	"coffer/store"
)

func TestClean(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 10)
	w.backup(4, 10)
	rep := w.run(w.b, verify.Options{})
	want := verify.Report{Snapshots: 2, Trees: 6, Refs: 40, Packs: rep.Packs, Bytes: rep.Bytes, Coverage: verify.Coverage{Never: rep.Packs}}
	if fmt.Sprintf("%+v", rep) != fmt.Sprintf("%+v", want) || rep.Packs < 4 {
		t.Errorf("%+v", rep)
	}
	var last, total int64
	rep = w.run(w.b, verify.Options{ReadData: true, Event: func(d, n int64) { last, total = d, n }})
	if !rep.OK() || rep.PacksRead != rep.Packs || rep.BytesRead != rep.Bytes || rep.Chunks != 46 || last != total || last != rep.Bytes {
		t.Errorf("%+v; %d of %d", rep, last, total)
	}
	if none, err := verify.Run(t.Context(), w.open(w.b), nil, verify.Options{ReadData: true}); err != nil || !none.OK() {
		t.Errorf("no snapshots: %+v, %v", none, err)
	}
}

// TestPagesOnce: what snapshots share is read once.
func TestPagesOnce(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.backup(2, 300)
	}
	one := w.run(w.b, verify.Options{})
	w.snaps = w.snaps[:1]
	if again := w.run(w.b, verify.Options{}); again.Trees != one.Trees || again.Refs != 600 || again.Trees < 6 {
		t.Errorf("%+v, %+v", one, again)
	}
}

func TestDamagedContent(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	w.backup(3, 10)
	name := w.packOf(w.content["/dir001/file0003"])
	var inPack []string
	for at, id := range w.content {
		if w.packOf(id) == name {
			inPack = append(inPack, at)
		}
	}
	var want []string
	for i := range 2 {
		for _, at := range slices.Sorted(slices.Values(inPack)) {
			if i == 1 || at < "/dir002" {
				want = append(want, fmt.Sprintf("%d:%s", i, at))
			}
		}
	}
	for how, data := range map[string][]byte{"missing": nil, "emptied": {}, "cut": w.read(name)[:1000]} {
		for _, opt := range []verify.Options{{}, {ReadData: true}} {
			rep := w.run(altered{w.b, map[string][]byte{name: data}}, opt)
			got := w.paths(rep)
			if !slices.Equal(got, want) || rep.BadPaths != int64(len(want)) || len(rep.BadSnapshots) != 2 {
				t.Errorf("%s, %v: %q; want %q", how, opt.ReadData, got, want)
			}
			if rep.Damaged[0].Pack != name || rep.DamagedTotal != int64(len(rep.Damaged)) {
				t.Errorf("%s: %+v", how, rep.Damaged[0])
			}
		}
	}
}

// TestFlippedContent is found only by reading, and costs one block.
func TestFlippedContent(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	name := w.packOf(w.content["/dir000/file0000"])
	bad := w.read(name)
	bad[300] ^= 1
	damaged := altered{w.b, map[string][]byte{name: bad}}
	if rep := w.run(damaged, verify.Options{}); !rep.OK() {
		t.Errorf("%+v", rep)
	}
	rep := w.run(damaged, verify.Options{ReadData: true})
	for _, d := range rep.Damaged {
		if d.Path != "" && (d.Pack != name || d.Chunk != w.content[d.Path].String() || d.Err == "") {
			t.Errorf("%+v", d)
		}
	}
	if len(w.paths(rep)) == 0 || len(w.paths(rep)) == 20 {
		t.Errorf("%+v", rep)
	}
	text, err := json.Marshal(rep)
	if err != nil || !strings.Contains(string(text), `"path":"/dir000/file0000"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestHarmlessDamage: a trailer costs no file.
func TestHarmlessDamage(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 10)
	name := w.packOf(w.content["/dir000/file0000"])
	bad := w.read(name)
	bad[len(bad)-1] ^= 1
	rep := w.run(altered{w.b, map[string][]byte{name: bad}}, verify.Options{ReadData: true})
	if rep.OK() || rep.BadPaths != 0 || len(rep.BadSnapshots) != 0 || rep.Damaged[0].Pack != name {
		t.Errorf("%+v", rep)
	}
}

func TestDamagedTree(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 10)
	w.backup(3, 10)
	for at, want := range map[string][]string{
		"/dir001": {"0:/", "1:/dir000", "1:/dir001"}, // in the pack of the first snapshot
		"/":       {"1:/"},                           // of the second
	} {
		name := w.packOf(w.trees[at])
		rep := w.run(altered{w.b, map[string][]byte{name: nil}}, verify.Options{})
		if got := w.paths(rep); !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", at, got, want)
		}
	}
}

// TestNotInTheIndex: the index knows nothing of a chunk of data, of a tree.
func TestNotInTheIndex(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 3, func(ctx context.Context, s snapshot.Saver, l *snapshot.Listing) error {
		ref := snapshot.Ref{ID: chunk.Sum(chunk.Data, []byte("never saved")), Length: 11}
		e := &snapshot.Entry{Name: "never", Type: snapshot.File, Size: 11, Content: []snapshot.Ref{ref}}
		tree := &snapshot.Entry{Name: "no-listing", Type: snapshot.Dir, Tree: chunk.Sum(chunk.Tree, []byte("x")), Items: 1}
		if err := l.Add(ctx, e); err != nil {
			return err
		}
		return l.Add(ctx, tree)
	})
	rep := w.run(w.b, verify.Options{})
	if got := w.paths(rep); !slices.Equal(got, []string{"0:/never", "0:/no-listing"}) {
		t.Errorf("%q", got)
	}
}

// TestSpilled: the content of a large file is named in tree chunks of its own.
func TestSpilled(t *testing.T) {
	w := newWorld(t)
	var last chunk.ID
	w.backup(1, 2, func(ctx context.Context, s snapshot.Saver, l *snapshot.Listing) error {
		e := &snapshot.Entry{Name: "large", Type: snapshot.File}
		for i := range 9000 {
			data := fmt.Appendf(nil, "chunk %d", i)
			id, err := s.Save(ctx, chunk.Data, data)
			if err != nil {
				return err
			}
			if last = id; i == 8999 {
				last = chunk.Sum(chunk.Data, []byte("lost"))
			}
			e.Content = append(e.Content, snapshot.Ref{ID: last, Length: uint32(len(data))})
			e.Size += int64(len(data))
		}
		return l.Add(ctx, e)
	})
	rep := w.run(w.b, verify.Options{})
	if got := w.paths(rep); !slices.Equal(got, []string{"0:/large"}) || rep.Damaged[0].Chunk != last.String() {
		t.Errorf("%+v", rep.Damaged)
	}
	if rep.Refs != 9002 {
		t.Errorf("%d refs", rep.Refs)
	}
}

// TestShare: what is read is at least the share, by bytes, and what was not read
// for longest; in as many runs as the share says, all is read.
func TestShare(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 12 {
		w.backup(i+1, 20)
	}
	size := w.sizes()
	all := w.run(w.b, verify.Options{})
	if c := all.Coverage; c.Never != all.Packs || c.Read != 0 || !c.Oldest.IsZero() || all.Packs < 20 {
		t.Fatalf("%+v", all)
	}
	opt := verify.Options{ReadData: true, Percent: 5, Size: size}
	read, days := 0, 0
	for days < 40 {
		w.clock = w.clock.AddDate(0, 0, 1)
		days++
		rep := w.run(w.b, opt)
		read += rep.PacksRead
		if float64(rep.BytesRead) < 0.05*float64(rep.Bytes) && rep.Coverage.Never > 0 || !rep.OK() {
			t.Errorf("%d of %d bytes read", rep.BytesRead, rep.Bytes)
		}
		if rep.Coverage.Read+rep.Coverage.Never != rep.Packs || rep.Coverage.Never > 0 && rep.Coverage.Read != read {
			t.Errorf("read %d by now: %+v", read, rep.Coverage)
		}
		if rep.Coverage.Never == 0 {
			break
		}
	}
	if days > 20 || days < 10 {
		t.Errorf("all is read after %d days", days)
	}
	for range 30 { // and so it goes on
		w.clock = w.clock.AddDate(0, 0, 1)
		rep := w.run(w.b, opt)
		if age := w.clock.Sub(rep.Coverage.Oldest); age > 20*24*time.Hour || rep.Coverage.Never != 0 {
			t.Errorf("%v ago: %+v", age, rep.Coverage)
		}
	}
	opt.Percent, opt.Bytes = 0, 100_000
	if rep := w.run(w.b, opt); rep.BytesRead < 100_000 || rep.BytesRead > 100_000+64<<10 {
		t.Errorf("%d bytes read of 100000", rep.BytesRead)
	}
}

// TestBefore: what was read since is left alone, also as a share.
func TestBefore(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	w.backup(2, 20)
	before := func(days int) verify.Options {
		return verify.Options{ReadData: true, Before: w.clock.AddDate(0, 0, -days), Size: w.sizes()}
	}
	old := w.run(w.b, before(30))
	if old.PacksRead != old.Packs {
		t.Errorf("never read, and left alone: %+v", old)
	}
	w.clock = w.clock.AddDate(0, 0, 20)
	w.backup(5, 20)
	rep := w.run(w.b, before(30))
	if rep.PacksRead != rep.Packs-old.Packs || rep.Coverage.Never != 0 || w.clock.Sub(rep.Coverage.Oldest) != 20*24*time.Hour {
		t.Errorf("%+v", rep)
	}
	w.clock = w.clock.AddDate(0, 0, 11)
	opt := before(30)
	opt.Percent = 1
	if part := w.run(w.b, opt); part.PacksRead != 1 {
		t.Errorf("%+v", part)
	}
	if rest := w.run(w.b, before(30)); rest.PacksRead != old.Packs-1 {
		t.Errorf("%+v", rest)
	}
	if none := w.run(w.b, before(30)); none.PacksRead != 0 || !none.OK() {
		t.Errorf("%+v", none)
	}
}

// TestDamagedIsNotRead: a pack with damage counts as never read, and so is read
// each time until it is repaired.
func TestDamagedIsNotRead(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 20)
	name := w.packOf(w.content["/dir001/file0003"])
	bad := w.read(name)
	bad[len(bad)/2] ^= 1
	b := altered{w.b, map[string][]byte{name: bad}}
	for range 3 {
		rep := w.run(b, verify.Options{ReadData: true, Before: time.Now().Add(-time.Hour), Size: w.sizes()})
		if rep.Coverage.Never != 1 || rep.Coverage.Unknown != int64(len(bad)) || !rep.News || !slices.Equal(rep.BadPacks, []string{name}) {
			t.Errorf("%+v", rep)
		}
	}
	if rep := w.run(w.b, verify.Options{ReadData: true}); rep.Coverage.Never != 0 {
		t.Errorf("%+v", rep)
	}
	if rep := w.run(b, verify.Options{ReadData: true}); rep.Coverage.Never != 1 { // it was good once
		t.Errorf("%+v", rep)
	}
}

// TestRepaired: once a repair knows what is lost it is no news, all paths are
// told, and what is stored again is whole.
func TestRepaired(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 30)
	w.backup(3, 30)
	lost := w.content["/dir001/file0003"]
	name := w.packOf(lost)
	want := map[string]bool{}
	for at, id := range w.content {
		if w.packOf(id) == name {
			want[at] = true
		}
	}
	bad := w.read(name)
	if err := w.b.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	rep := w.run(w.b, verify.Options{})
	if !rep.News || rep.Lost != 0 || len(rep.BadPacks) != 0 {
		t.Errorf("%+v", rep)
	}
	s := w.open(w.b)
	plan, err := s.PlanRepair(t.Context(), store.RepairOptions{Marker: gc.New("", nil, nil), Missing: verify.Missing})
	if err != nil {
		t.Fatal(err)
	}
	done, err := plan.Run(t.Context())
	if err != nil || len(done.Lost) != len(want) {
		t.Fatalf("%d lost, want %d: %+v, %v", len(done.Lost), len(want), done, err)
	}
	told := map[string]bool{}
	opt := verify.Options{Path: func(d verify.Damage) { told[d.Path] = true }}
	rep = w.run(w.b, opt)
	if rep.News || rep.Lost != len(want) || len(rep.Missing) != 0 || !maps.Equal(told, want) || len(rep.BadSnapshots) != 2 {
		t.Errorf("%+v; told %v, want %v", rep, told, want)
	}
	w.backup(3, 30) // it stores them again
	if rep = w.run(w.b, verify.Options{ReadData: true}); !rep.OK() || rep.Lost != 0 || len(bad) == 0 {
		t.Errorf("%+v", rep)
	}
}

// TestMissing finds what is below what is there, once, and not what is known to
// be lost.
func TestMissing(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 5)
	w.backup(3, 5)
	s := w.open(w.b)
	commits, err := s.Commits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := map[chunk.ID]bool{w.content["/dir000/file0001"]: true, w.trees["/dir002"]: true, w.content["/dir002/file0001"]: true}
	known := w.content["/dir001/file0001"]
	has := func(id chunk.ID) (bool, error) { return !gone[id] && id != known, nil }
	got, err := verify.Missing(t.Context(), view{s, known}, commits, has)
	delete(gone, w.content["/dir002/file0001"]) // nothing that is there names it
	if err != nil || len(got) != len(gone) || !gone[got[0]] || !gone[got[1]] || got[0] == got[1] {
		t.Errorf("%v, %v, want %v", got, err, gone)
	}
	broken := s.Close()
	name := w.packOf(w.trees["/dir001"])
	bad := w.read(name)
	for i := 100; i < len(bad)-100; i++ {
		bad[i] ^= 1
	}
	s = w.open(altered{w.b, map[string][]byte{name: bad}})
	if _, err := verify.Missing(t.Context(), view{s, known}, commits, has); err == nil || broken != nil {
		t.Error("a page that cannot be read is no error")
	}
}

// A view is a store that knows of one lost chunk.
type view struct {
	*store.Store
	lost chunk.ID
}

func (v view) Lost(id chunk.ID) bool { return id == v.lost }

// TestManyPaths: the list of what is damaged ends, the count does not.
func TestManyPaths(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 600)
	w.backup(2, 600)
	bad := map[string][]byte{}
	for _, id := range w.content {
		bad[w.packOf(id)] = nil
	}
	rep := w.run(altered{w.b, bad}, verify.Options{})
	if rep.BadPaths != 1800 || len(w.paths(rep)) != verify.MaxListed || rep.DamagedTotal != 1800+int64(len(bad)) {
		t.Errorf("%d paths, %d listed, %d in all", rep.BadPaths, len(w.paths(rep)), rep.DamagedTotal)
	}
}

// TestForgotten: damage that no snapshot needs is told, and blamed on none.
func TestForgotten(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 5)
	w.backup(2, 5)
	name := w.packOf(w.content["/dir001/file0000"])
	bad := w.read(name)
	for i := 100; i < len(bad); i += 1000 {
		bad[i] ^= 1
	}
	w.snaps = w.snaps[:1]
	rep := w.run(altered{w.b, map[string][]byte{name: bad}}, verify.Options{ReadData: true})
	if rep.OK() || rep.BadPaths != 0 || !slices.ContainsFunc(rep.Damaged, func(d verify.Damage) bool { return d.Chunk != "" }) {
		t.Errorf("%+v", rep)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.backup(2, 50)
	ctx, cancel := context.WithCancel(t.Context())
	rep, err := verify.Run(ctx, w.open(w.b), w.snaps, verify.Options{ReadData: true, Event: func(int64, int64) { cancel() }})
	if err == nil || ctx.Err() == nil {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestFailingListing: no connection is an error, not damage.
func TestFailingListing(t *testing.T) {
	w := newWorld(t)
	w.backup(1, 3)
	f := buckettest.NewFaults(buckettest.Rule{Kind: buckettest.List, Prefix: "packs/"})
	rep, err := verify.Run(t.Context(), w.open(f.Wrap(w.b)), w.snaps, verify.Options{})
	if err == nil || len(rep.Damaged) > 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestEveryPack loses each pack in turn: what verify says cannot be restored is
// what cannot be walked and loaded.
func TestEveryPack(t *testing.T) {
	w := newWorld(t)
	w.backup(3, 12)
	names, err := buckettest.Names(t.Context(), w.b, "packs/", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b := altered{w.b, map[string][]byte{name: nil}}
		said := map[string]bool{}
		for _, d := range w.run(b, verify.Options{}).Damaged {
			if d.Path != "" {
				said[d.Path] = true
			}
		}
		truth := map[string]bool{}
		s := w.open(b)
		w.walk(s, "/", w.snaps[0].Root, truth)
		if !maps.Equal(said, truth) || len(truth) == 0 {
			t.Errorf("%s: said %v, and it is %v", name, said, truth)
		}
	}
}

func (w *world) walk(s *store.Store, at string, tree chunk.ID, bad map[string]bool) {
	for e, err := range snapshot.List(w.t.Context(), s, tree, "") {
		if err != nil {
			bad[at] = true
			return
		}
		below := strings.TrimSuffix(at, "/") + "/" + e.Name
		if e.Type == snapshot.Dir {
			w.walk(s, below, e.Tree, bad)
			continue
		}
		if _, err := io.ReadAll(snapshot.NewReader(w.t.Context(), s, e)); err != nil {
			bad[below] = true
		}
	}
}
