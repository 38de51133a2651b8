package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/blake3"
)

// TestManyProcessesAndKills runs eight hosts that back up, two prunes, somebody
// who forgets and somebody who restores, all as processes of their own on one
// repository, and kills them at random. What was acknowledged and not forgotten
// must be there in the end, deep and exact. COFFER_CHAOS says how long.
func TestManyProcessesAndKills(t *testing.T) {
	c := newChaos(t)
	var actors sync.WaitGroup
	for i := range 8 {
		actors.Go(func() { c.host(i) })
	}
	for i := range 2 {
		actors.Go(func() { c.pruner(uint64(i)) })
	}
	actors.Go(c.forgetter)
	actors.Go(c.restorer)
	actors.Wait()
	c.judge()
}

// A tree is what a snapshot must hold: file paths and the hashes of their bytes.
type tree map[string][32]byte

type chaos struct {
	*rig
	until time.Time
	seed  uint64

	mu     sync.Mutex
	kept   map[string]tree // by ID of acknowledged snapshots that nobody has asked to forget
	counts map[string]int
}

func newChaos(t *testing.T) *chaos {
	length := 25 * time.Second
	if testing.Short() {
		length = 8 * time.Second
	}
	if text := os.Getenv("COFFER_CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %v", seed, length)
	return &chaos{rig: newRig(t), until: time.Now().Add(length), seed: seed, kept: map[string]tree{}, counts: map[string]int{}}
}

func (c *chaos) over() bool { return time.Now().After(c.until) || c.t.Failed() }

// run starts the command and kills it at a random moment, or not. ok says that
// it ended well by itself; dead that it was killed.
func (c *chaos) run(rnd *rand.Rand, what string, args ...string) (out string, ok, dead bool) {
	cmd := c.command(args...)
	var text, errText strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &errText
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return "", false, false
	}
	if rnd.IntN(4) == 0 {
		timer := time.AfterFunc(time.Duration(rnd.IntN(700))*time.Millisecond, func() { _ = cmd.Process.Kill() }) // it may be over
		defer timer.Stop()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, _ := exit.Sys().(syscall.WaitStatus)
		dead = status.Signaled()
	}
	c.count(what, err, dead)
	if err != nil && !dead && what != "restore" {
		c.t.Errorf("coffer %s: %v\n%s", strings.Join(args, " "), err, errText.String())
	}
	if err != nil {
		return errText.String(), false, dead
	}
	return text.String(), true, false
}

func (c *chaos) count(what string, err error, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case dead:
		what += " killed"
	case err != nil:
		what += " failed"
	}
	c.counts[what]++
}

// host changes its tree and backs it up, time and again. Much of what hosts
// have is the same.
func (c *chaos) host(i int) {
	rnd := rand.New(rand.NewPCG(c.seed, uint64(i)))
	dir := filepath.Join(c.work, fmt.Sprintf("host%d", i))
	for !c.over() {
		if err := change(dir, rnd); err != nil {
			c.t.Error(err)
			return
		}
		want, err := look(dir)
		if err != nil {
			c.t.Error(err)
			return
		}
		out, ok, _ := c.run(rnd, "backup", "backup", "--json", "--host", fmt.Sprintf("host%d", i), "--as", "/data="+dir)
		if !ok {
			continue
		}
		id, err := snapshotID(out)
		if err != nil {
			c.t.Errorf("%v in %s", err, out)
			return
		}
		c.mu.Lock()
		c.kept[id] = want
		c.mu.Unlock()
	}
}

// snapshotID reads what backup --json printed.
func snapshotID(out string) (string, error) {
	var v struct {
		Snapshot struct {
			ID string `json:"id"`
		} `json:"snapshot"`
	}
	err := json.Unmarshal([]byte(out), &v)
	if err == nil && v.Snapshot.ID == "" {
		err = errors.New("no snapshot")
	}
	return v.Snapshot.ID, err
}

// change writes some files, of a few hundred contents that all hosts draw from
// or of its own, and removes some.
func change(dir string, rnd *rand.Rand) error {
	for range 30 {
		p := filepath.Join(dir, fmt.Sprint("d", rnd.IntN(8)), fmt.Sprint("f", rnd.IntN(40)))
		if rnd.IntN(5) == 0 {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		seed := uint64(rnd.IntN(400))
		if rnd.IntN(3) == 0 {
			seed = rnd.Uint64()
		}
		data := make([]byte, 1+seed*7919%200_000)
		rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(data)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// look reads what is in a directory.
func look(dir string) (tree, error) {
	t := tree{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		t[name] = blake3.Sum256(data)
		return err
	})
	return t, err
}

func (c *chaos) pruner(i uint64) {
	rnd := rand.New(rand.NewPCG(c.seed, 100+i))
	for !c.over() {
		c.run(rnd, "prune", "prune", "--quiet", "--wait", fmt.Sprint(rnd.IntN(1500), "ms"))
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
	}
}

// pick returns one of the acknowledged snapshots.
func (c *chaos) pick(rnd *rand.Rand, take bool) (string, tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == 0 || take && len(c.kept) < 12 {
		return "", nil
	}
	n := rnd.IntN(len(c.kept))
	for id, want := range c.kept {
		if n--; n < 0 {
			if take {
				delete(c.kept, id)
			}
			return id, want
		}
	}
	return "", nil
}

func (c *chaos) forgetter() {
	rnd := rand.New(rand.NewPCG(c.seed, 200))
	for !c.over() {
		time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
		if id, _ := c.pick(rnd, true); id != "" {
			c.run(rnd, "forget", "forget", "--quiet", id)
		}
	}
}

// restorer restores snapshots that may be forgotten meanwhile. Then it may be
// told so; what it restores is right.
func (c *chaos) restorer() {
	rnd := rand.New(rand.NewPCG(c.seed, 300))
	for n := 0; !c.over(); n++ {
		id, want := c.pick(rnd, false)
		if id == "" {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		target := filepath.Join(c.work, fmt.Sprint("restore", n))
		out, ok, dead := c.run(rnd, "restore", "restore", "--quiet", "--target", target, id)
		c.mu.Lock()
		_, still := c.kept[id]
		c.mu.Unlock()
		switch {
		case ok:
			c.compare(id, filepath.Join(target, "data"), want)
		case !dead && still:
			c.t.Errorf("restore %s: %s", id, out)
		}
		if err := os.RemoveAll(target); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *chaos) compare(id, dir string, want tree) {
	got, err := look(dir)
	if err != nil {
		c.t.Errorf("restored %s: %v", id, err)
		return
	}
	if !maps.Equal(got, want) {
		c.t.Errorf("restored %s: %d files, and not the %d that were saved", id, len(got), len(want))
	}
}

// judge looks at what is left when all is quiet: with a cache of its own, as
// another machine would.
func (c *chaos) judge() {
	c.t.Log(c.counts)
	if c.counts["prune"] == 0 || c.counts["backup"] == 0 || c.counts["backup killed"]+c.counts["prune killed"] == 0 {
		c.t.Error("too little happened to prove anything")
	}
	c.coffer("prune", "--quiet")
	c.coffer("prune", "--quiet")
	c.coffer("verify", "--read-data", "--quiet")
	if err := os.RemoveAll(filepath.Join(c.work, "cache")); err != nil {
		c.t.Error(err)
	}
	for id, want := range c.kept {
		target := filepath.Join(c.work, "judge", id)
		c.coffer("restore", "--quiet", "--target", target, id)
		c.compare(id, filepath.Join(target, "data"), want)
		if err := os.RemoveAll(target); err != nil {
			c.t.Error(err)
		}
	}
	c.coffer("forget", "--quiet", "--yes", "--all", "--host", "host0")
	c.coffer("prune", "--quiet")
	c.coffer("verify", "--read-data", "--quiet")
}
