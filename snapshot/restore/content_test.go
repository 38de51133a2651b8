package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

// Files of more chunks than a batch holds, with chunks in common, while no
// descriptor may stay open.
func TestManyChunksFewDescriptors(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	r := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	must(t, os.WriteFile(src+"/a", data, 0o600))
	must(t, os.WriteFile(src+"/b", append(bytes.Clone(data[:300_000]), data...), 0o644))
	must(t, os.WriteFile(src+"/sub", nil, 0o444))
	must(t, os.WriteFile(src+"/z", data[4096:500_000], 0o4755))
	var mem snapshottest.Mem
	k := taker{t: t, mem: &mem, chunk: 16}
	fd, err := unix.Open(src, openDir, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	e := k.entry(fd, ".")
	e.Name = "src"
	if !resolve(t, &mem, e.Tree, "/a").Spilled() {
		t.Error("the content of a did not spill; the test needs more chunks")
	}
	root := k.listing([]*snapshot.Entry{e})
	g := goal{root: root, at: "/src", e: resolve(t, &mem, root, "/src"), target: target}
	interruptLarge(t, &mem, g)
	run := newRun(storedTree{&mem}, g, Options{})
	run.fds.max = 1
	must(t, run.all(context.Background()))
	if rep := run.rep.result(); rep.ProblemCount > 0 {
		t.Errorf("problems: %v", rep.Problems)
	}
	exactIfRoot(t, src, target)
	restoreTo(t, &mem, root, "/src", target, Options{InPlace: true, Checksum: true, Verify: true})
}

// interruptLarge ends a run between two batches of a file: what is unfinished
// goes.
func interruptLarge(t *testing.T, mem *snapshottest.Mem, g goal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &interrupter{Mem: mem, cancel: cancel}
	s.left.Store(firstPlaces*21 + 20_000)
	if err := newRun(storedTree{s}, g, Options{}).all(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	for path := range treeOf(t, g.target) {
		if strings.Contains(path, partialPrefix) {
			t.Errorf("%s was left", path)
		}
	}
}

func TestChunkOfManyPlacesIsLoadedOnce(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	same := strings.Repeat("same", 64<<10)
	for i := range 50 {
		put(t, src, fmt.Sprintf("f%d %s", i, same))
	}
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	mem.ResetLoads()
	restoreTo(t, &mem, root, "/src", target, Options{})
	for key, n := range mem.Loads() {
		if key.Kind == chunk.Data && n > 1 {
			t.Errorf("chunk %s was loaded %d times", key.ID.Short(), n)
		}
	}
	sameTree(t, treeOf(t, target), treeOf(t, src))
}

func TestVerifyReadsBack(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	put(t, src, "good 1\nrotten 2\nmode 3\nlost 4")
	var mem snapshottest.Mem
	root := take(t, &mem, src)
	rot := func(ev Event) {
		if ev.Action != Make {
			return
		}
		switch ev.Path {
		case "/src/rotten":
			st := lstatOf(t, target+"/rotten")
			must(t, os.WriteFile(target+"/rotten", []byte("X"), 0))
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, target+"/rotten", []unix.Timespec{st.Mtim, st.Mtim}, 0))
		case "/src/mode":
			must(t, os.Chmod(target+"/mode", 0))
		case "/src/lost":
			must(t, os.Remove(target+"/lost"))
		}
	}
	rep, err := Run(context.Background(), &mem, root, "/src", target, Options{Verify: true, Event: rot})
	must(t, err)
	found := make(map[string]string)
	for _, p := range rep.Problems {
		found[p.Path] = p.What
	}
	sameTree(t, found, map[string]string{"/src/rotten": "verify", "/src/mode": "verify", "/src/lost": "verify"})
}

func TestSegments(t *testing.T) {
	holes := func(at ...int64) (hs []snapshot.Extent) {
		for i := 0; i < len(at); i += 2 {
			hs = append(hs, snapshot.Extent{Offset: at[i], Length: at[i+1] - at[i]})
		}
		return hs
	}
	for _, c := range []struct {
		size  int64
		holes []snapshot.Extent
		want  string
	}{
		{10, holes(0, 10), ""},
		{10, holes(0, 4), "abcdef@4"},
		{10, holes(4, 10), "abcd@0"},
		{10, holes(2, 4, 6, 8), "ab@0 cd@4 ef@8"},
		{10, holes(0, 1, 9, 10), "abcdefgh@1"},
	} {
		segs := segmentsOf(c.size, c.holes)
		var got []string
		data := []byte("abcdefghij")[:c.size-holeBytes(c.holes)]
		note := func(part []byte, at int64) error {
			got = append(got, fmt.Sprintf("%s@%d", part, at))
			return nil
		}
		must(t, eachPart(segs, 0, data, note))
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%v: %q, want %q", c.holes, text, c.want)
		}
		checkBytewise(t, segs, data, c.want)
		if err := eachPart(segs, int64(len(data)), []byte("x"), note); !errors.Is(err, errTooLong) {
			t.Errorf("%v: more content than room gives %v", c.holes, err)
		}
	}
}

func holeBytes(holes []snapshot.Extent) (n int64) {
	for _, h := range holes {
		n += h.Length
	}
	return n
}

// checkBytewise writes one byte at a time: it must go to the same place.
func checkBytewise(t *testing.T, segs []segment, data []byte, want string) {
	t.Helper()
	file := bytes.Repeat([]byte{'.'}, 10)
	for i := range data {
		must(t, eachPart(segs, int64(i), data[i:i+1], func(part []byte, at int64) error {
			copy(file[at:], part)
			return nil
		}))
	}
	expected := bytes.Repeat([]byte{'.'}, 10)
	for _, p := range strings.Fields(want) {
		part, at, _ := strings.Cut(p, "@")
		copy(expected[at[0]-'0':], part)
	}
	if !bytes.Equal(file, expected) {
		t.Errorf("bytewise %s, want %s", file, expected)
	}
}

// A partial that was closed to make room is not opened again if it is another.
func TestSwappedPartialIsNoticed(t *testing.T) {
	base := t.TempDir()
	put(t, base, "outside untouched\ntarget/")
	tree := &fakeTree{data: []byte("evil"), listings: map[chunk.ID][]*snapshot.Entry{{1}: {{
		Name: "f", Type: snapshot.File, Size: 12, Mode: 0o644,
		Content: []snapshot.Ref{{ID: chunk.ID{1}, Length: 4}, {ID: chunk.ID{2}, Length: 4}, {ID: chunk.ID{3}, Length: 4}},
	}}}}
	g := goal{at: "/", e: &snapshot.Entry{Name: "/", Type: snapshot.Dir, Tree: chunk.ID{1}}, target: base + "/target"}
	r := newRun(swapper{tree, base}, g, Options{})
	r.fds.max = 0
	must(t, r.all(context.Background()))
	if rep := r.rep.result(); len(rep.Problems) != 1 || !errors.Is(rep.Problems[0].Err, errMoved) {
		t.Errorf("problems: %v", rep.Problems)
	}
	if data, err := os.ReadFile(base + "/outside"); err != nil || string(data) != "untouched" {
		t.Errorf("outside is %q, %v", data, err)
	}
}

// A swapper puts a hard link to a file outside in the place of the partial,
// after the first chunk.
type swapper struct {
	*fakeTree
	base string
}

func (s swapper) each(ctx context.Context, ids []chunk.ID, fn func(int, []byte, error) error) error {
	return s.fakeTree.each(ctx, ids, func(i int, data []byte, err error) error {
		partials, _ := filepath.Glob(s.base + "/target/" + partialPrefix + "*")
		for _, p := range partials {
			_ = os.Remove(p)
			_ = os.Link(s.base+"/outside", p)
		}
		return fn(i, data, err)
	})
}
