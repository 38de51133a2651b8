package golden

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/bucket/local"
	"coffer/seal"
	"coffer/snapshot"
	"coffer/snapshot/capture"
	"coffer/store"
)

var makeIt = flag.Bool("golden.make", false, "make testdata/v1, which must not exist")

// What stands where.
const (
	testdata = "../../testdata"
	treeAt   = "/home/ann"
	streamAt = "/db/dump.sql"
	password = "coffer"
)

// readerPath is where the independent reader stands, wherever a test has gone.
var readerPath, _ = filepath.Abs(testdata + "/reader/coffer_read.py")

// A repo is a repository on disk, with what opens it.
type repo struct {
	dir      string
	keyFile  string
	recovery string // its text
}

func golden() repo {
	text, _ := os.ReadFile(testdata + "/v1.recovery") // if it is not there, nothing opens
	return repo{dir: testdata + "/v1", keyFile: testdata + "/v1.key", recovery: strings.TrimSpace(string(text))}
}

// copied returns a copy of r that may be spoiled.
func (r repo) copied(t testing.TB) repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	r.dir = dir
	return r
}

func (r repo) secret() (seal.Secret, error) {
	key, err := os.ReadFile(r.keyFile)
	return seal.Secret{Kind: seal.KeyFile, Value: key}, err
}

func (r repo) open(ctx context.Context, secret seal.Secret) (*store.Store, error) {
	b, err := local.Open(r.dir)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, b, store.Env{Host: "golden"}, secret)
}

// build makes a repository in dir with two snapshots, and returns what they
// must hold.
func build(t testing.TB, dir string, extra func(builder)) (repo, string) {
	t.Helper()
	ctx := context.Background()
	b := builder{t, filepath.Join(t.TempDir(), "tree")}
	r := repo{dir: filepath.Join(dir, "v1"), keyFile: filepath.Join(dir, "v1.key")}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	b.ok(os.WriteFile(r.keyFile, key, 0o600))
	bucket, err := local.Create(r.dir)
	b.ok(err)
	env := store.Env{Host: "golden", Now: func() time.Time { return now(0) }}
	secret := seal.Secret{Kind: seal.KeyFile, Value: key}
	recovery, err := store.Init(ctx, bucket, env, store.InitOptions{Secret: secret, Label: "key file", Pack: 64 << 10})
	b.ok(err)
	r.recovery = seal.FormatRecovery(recovery)
	s, err := store.Open(ctx, bucket, env, secret)
	b.ok(err)
	defer func() { b.ok(s.Close()) }()
	_, err = s.AddKey(ctx, seal.Secret{Kind: seal.Password, Value: []byte(password)}, "password")
	b.ok(err)
	b.ok(os.Mkdir(b.dir, 0o751))
	t.Chdir(filepath.Dir(b.dir)) // so that no path of this machine gets into the snapshots
	var want strings.Builder
	for n, change := range []func(){b.first, b.second} {
		change()
		if n == 0 && extra != nil {
			extra(b)
		}
		snap := b.capture(s, n+1)
		items := expected(t, b.dir, n+1)
		want.WriteString("snapshot " + describeSnapshot(snap) + describe(items))
	}
	return r, want.String()
}

func (b builder) capture(s *store.Store, n int) snapshot.Snapshot {
	b.t.Helper()
	opt := capture.Options{Host: "golden", Tags: []string{"made once", "v1"}[:n], Roots: []capture.Root{{Path: filepath.Base(b.dir), At: treeAt}},
		Now: func() time.Time { return now(n) }, Program: "coffer golden", User: "ann", Excludes: []string{"*.tmp"}}
	open := func(context.Context) (io.Reader, func() error, error) {
		return bytes.NewReader(dump(n)), func() error { return nil }, nil
	}
	opt.Streams = []capture.Stream{{Kind: "stdin", Spec: "dump", At: streamAt, Open: open}}
	rep, err := capture.Run(context.Background(), s, opt)
	b.ok(err)
	if m := rep.Snapshot.Manifest; m.State != snapshot.Complete {
		b.t.Fatalf("snapshot %d is not complete: %v", n, m.Warnings)
	}
	return rep.Snapshot
}

// TestMake makes the golden repository, once for each version of the format.
func TestMake(t *testing.T) {
	if !*makeIt {
		t.Skip("only with -golden.make")
	}
	if os.Getuid() != 0 {
		t.Fatal("only root can make all sorts of files")
	}
	here, err := filepath.Abs(testdata)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v1", "v1.key", "v1.recovery", "v1.expected"} {
		if _, err := os.Lstat(filepath.Join(here, name)); !os.IsNotExist(err) {
			t.Fatalf("testdata/%s is there (%v): golden repositories are never made again", name, err)
		}
	}
	r, want := build(t, here, nil)
	for name, text := range map[string]string{"v1.recovery": r.recovery + "\n", "v1.expected": want} {
		if err := os.WriteFile(filepath.Join(here, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// found reads all that the current code finds in a repository: every snapshot
// and whatever is damaged.
func found(ctx context.Context, r repo, secret seal.Secret) (text string, damage []error, err error) {
	s, err := r.open(ctx, secret)
	if err != nil {
		return "", nil, err
	}
	rep, err := s.Check(ctx, store.CheckOptions{Data: true, Damage: func(d *store.DamageError) { damage = append(damage, d) }})
	if err != nil {
		return "", damage, err
	}
	if rep.Orphans > 0 || rep.PacksRead == 0 {
		damage = append(damage, store.ErrNoRepository)
	}
	snaps, err := snapshots(ctx, s)
	if err != nil {
		return "", damage, err
	}
	var b strings.Builder
	for _, snap := range snaps {
		items, err := fromStore(ctx, s, snap)
		if err != nil {
			return b.String(), damage, err
		}
		b.WriteString("snapshot " + describeSnapshot(snap) + describe(items))
	}
	return b.String(), damage, s.Close()
}

func snapshots(ctx context.Context, s *store.Store) ([]snapshot.Snapshot, error) {
	commits, err := s.Commits(ctx)
	if err != nil {
		return nil, err
	}
	var list []snapshot.Snapshot
	for _, c := range commits {
		m, err := snapshot.DecodeManifest(c.Payload)
		if err != nil {
			return nil, err
		}
		list = append(list, snapshot.Snapshot{ID: c.ID, Manifest: m})
	}
	slices.SortFunc(list, snapshot.Compare)
	return list, nil
}

// TestGolden reads testdata/v1 with each of its secrets.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(testdata + "/v1.expected")
	if err != nil {
		t.Fatal(err)
	}
	r := golden().copied(t)
	key, err := r.secret()
	if err != nil {
		t.Fatal(err)
	}
	recovery, err := seal.ParseRecovery(r.recovery)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []seal.Secret{key, recovery, {Kind: seal.Password, Value: []byte(password)}} {
		t.Run(string(secret.Kind), func(t *testing.T) {
			text, damage, err := found(t.Context(), r, secret)
			if err != nil || len(damage) > 0 {
				t.Fatal(err, damage)
			}
			same(t, text, string(want))
		})
	}
}

// same compares line by line, so that a failure can be read.
func same(t testing.TB, got, want string) {
	t.Helper()
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("line %d of %d\n got %q\nwant %q", i+1, len(b), slices.Concat(a, []string{"", ""})[min(i, len(a))],
				slices.Concat(b, []string{"", ""})[min(i, len(b))])
		}
	}
}
