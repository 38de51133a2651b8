package local_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
	"coffer/bucket/local/internal/disk"
)

// TestCleanTemp: of what a killed process left, one that is being written and
// something foreign, only the first goes.
func TestCleanTemp(t *testing.T) {
	dir, b := rootOf(t)
	for _, name := range []string{"put-dead1", "put-dead2", "foreign"} {
		if err := os.WriteFile(filepath.Join(dir, "tmp", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slow := &slowBody{Reader: strings.NewReader("slow"), begun: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error)
	go func() { done <- b.Put(t.Context(), "packs/0/slow", slow, 4) }()
	<-slow.begun
	other := must(local.Open(dir))
	if n, err := other.CleanTemp(t.Context()); n != 2 || err != nil {
		t.Errorf("CleanTemp = %d, %v", n, err)
	}
	close(slow.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 2 { // the foreign file and the marker
		t.Errorf("%v, %v", left, err)
	}
}

// slowBody waits in its first Read.
type slowBody struct {
	io.Reader
	once        sync.Once
	begun, goOn chan struct{}
}

func (s *slowBody) Read(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun); <-s.goOn })
	return s.Reader.Read(p)
}

func (s *slowBody) Seek(int64, int) (int64, error) { return 0, nil }

// TestCleanTempRace has CleanTemp run all the time while others put.
func TestCleanTempRace(t *testing.T) {
	b := create(t)
	stop := make(chan struct{})
	var cleaner, writers sync.WaitGroup
	cleaner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.CleanTemp(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for w := range 3 {
		writers.Go(func() {
			for i := range 40 {
				name := filepath.Join("d", string(rune('a'+w)), string(rune('a'+i%26))+string(rune('a'+i/26)))
				if err := b.Put(t.Context(), name, strings.NewReader(name), int64(len(name))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	cleaner.Wait()
}

// TestCleanTempBetween has CleanTemp come exactly between the making of a
// temporary file and its lock.
func TestCleanTempBetween(t *testing.T) {
	fsys := crashfs.New()
	b := must(local.CreateFS(fsys, "/repo"))
	between := &interloper{FS: fsys, between: func() {
		if n, err := b.CleanTemp(t.Context()); n != 1 || err != nil {
			t.Errorf("CleanTemp = %d, %v", n, err)
		}
	}}
	put(t, must(local.OpenFS(between, "/repo")), "packs/0/a", "x")
	if got, err := readAll(t, b, "packs/0/a"); got != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestHoldOfTheDead: the lock of a process that was killed is gone, and so are
// its temporary files after a clean-up.
func TestHoldOfTheDead(t *testing.T) {
	fsys := crashfs.New()
	b := must(local.CreateFS(fsys, "/repo"))
	if _, err := b.PutHeld(t.Context(), "sessions/0/s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	fsys.Hook(func(c crashfs.Call) error {
		if c.Op == crashfs.Sync {
			return crashfs.ErrPowerOff
		}
		return nil
	})
	if err := b.Put(t.Context(), "packs/0/a", strings.NewReader("x"), 1); !errors.Is(err, crashfs.ErrPowerOff) {
		t.Fatal(err)
	}
	after := must(local.OpenFS(fsys.Cut(crashfs.Everything), "/repo"))
	if held, err := after.Held(t.Context(), "sessions/0/s"); held || err != nil {
		t.Errorf("Held = %v, %v", held, err)
	}
	if n, err := after.CleanTemp(t.Context()); n != 1 || err != nil {
		t.Errorf("CleanTemp = %d, %v", n, err)
	}
}

// interloper does something right after the next file is made.
type interloper struct {
	*crashfs.FS
	between func()
}

func (i *interloper) Create(path string) (disk.File, error) {
	f, err := i.FS.Create(path)
	if between := i.between; between != nil && err == nil {
		i.between = nil
		between()
	}
	return f, err
}

func readAll(t *testing.T, b *local.Bucket, name string) (string, error) {
	t.Helper()
	data, err := buckettest.Read(t.Context(), b, name, 0, -1)
	return string(data), err
}
