package explorer

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// short keeps the run under the race detector short: the search then ends early.
func short(cfg Config) Config {
	if testing.Short() && cfg.Limit == 0 {
		cfg.Limit = 10_000
	}
	return cfg
}

func explore(t *testing.T, cfg Config, want Invariant) {
	t.Helper()
	start := time.Now()
	r := Explore(cfg)
	t.Log(r, "in", time.Since(start).Round(time.Millisecond))
	if r.Broken != want {
		t.Errorf("broken: %v, want %v\n%s", r.Broken, want, strings.Join(r.Trace, "\n"))
	} else if want != 0 && testing.Verbose() {
		t.Logf("broken as it should: %v\n%s", r.Broken, strings.Join(r.Trace, "\n"))
	}
}

func TestProtocolHoldsInSmallWorlds(t *testing.T) {
	for _, cfg := range Configs() {
		t.Run(cfg.Name, func(t *testing.T) {
			t.Parallel()
			explore(t, short(cfg), 0)
		})
	}
}

// TestRandomWalks goes through worlds too big for a search; COFFER_EXPLORE=1h makes it go on for so long.
func TestRandomWalks(t *testing.T) {
	d := 8 * time.Second
	if testing.Short() {
		d = time.Second
	}
	if s := os.Getenv("COFFER_EXPLORE"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	worlds := Large()
	for _, cfg := range worlds {
		t.Run(cfg.Name, func(t *testing.T) {
			t.Parallel()
			steps := 0
			for end := time.Now().Add(2 * d / time.Duration(len(worlds))); time.Now().Before(end); {
				seed := rand.Uint64()
				r := Walk(cfg, seed, 10_000)
				steps += r.States
				if r.Broken != 0 {
					t.Fatalf("seed %d breaks %v\n%s", seed, r.Broken, strings.Join(r.Trace, "\n"))
				}
			}
			t.Log(steps, "steps")
		})
	}
}

func TestWalkIsRepeatedBySeed(t *testing.T) {
	one, _, _ := seeds()
	cfg := Config{Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1}, Pruners: []int{1}, Asks: 1, Mutant: NoSecondMark}
	a, b := Walk(cfg, 7, 100_000), Walk(cfg, 7, 100_000)
	if a.Broken == 0 || strings.Join(a.Trace, "\n") != strings.Join(b.Trace, "\n") {
		t.Errorf("one seed, two ways:\n%v\n%v", a.Trace, b.Trace)
	}
}
