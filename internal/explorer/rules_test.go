package explorer

import "testing"

// TestOtherRulesHoldToo: where text and code differ, or could, both are safe.
func TestOtherRulesHoldToo(t *testing.T) {
	worlds := map[string]bool{
		"healthy sessions are killed": true, "crashes": true, "pages": true, "reader": true, "two pruners, three cycles": true,
		"generations published early": true, "power cut, two writers": true, "three cycles": true,
	}
	for name, rules := range map[string]Rules{
		"all as the text":                            {Rewrite: Always, FullMark: true, Records: ByText, Manifests: true, Step7Last: true},
		"R1: segments are rewritten now and then":    {Rewrite: Sometimes},
		"R2: the second mark walks all roots":        {FullMark: true},
		"R3: records go two generations later":       {Records: BelowM2},
		"R3: COMMITs go one generation later":        {Records: CommitsM1},
		"R6: step 7 reads the newest .done":          {Step7Last: true},
		"R7: a prune with small records is no no-op": {SureNoop: true},
	} {
		for _, cfg := range Configs() {
			if !worlds[cfg.Name] || testing.Short() && cfg.Name != "pages" {
				continue
			}
			cfg.Rules = rules
			t.Run(name+"/"+cfg.Name, func(t *testing.T) {
				t.Parallel()
				explore(t, short(cfg), 0)
			})
		}
	}
}

// TestRulesThatAreUnsafe: what was tried, or written, and does not hold.
func TestRulesThatAreUnsafe(t *testing.T) {
	world := func(name string) Config {
		for _, cfg := range Configs() {
			if cfg.Name == name {
				return cfg
			}
		}
		t.Fatal("no world ", name)
		return Config{}
	}
	for _, test := range []struct {
		name  string
		world string
		rules Rules
		blind []Invariant
		want  Invariant
	}{
		// Get is never wrong about a name; a listing may be.
		{"the newest generation by a listing that lies", "empty pages", Rules{ListNewest: true}, nil, I2},
		// Whoever is not in W and commits before .done has success reported to it, and is lost.
		{"W by one listing that lies", "empty pages", Rules{WOnce: true}, nil, I2},
		// It was killed, missed a generation that dropped its snapshot, and looks at a later one.
		{"a reader looks at the last D alone", "reader", Rules{MoveByLastD: true}, nil, IR},
		{"ABORTs go one generation later", "healthy sessions are killed", Rules{Records: FatesM1}, []Invariant{I5, I6}, I1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := world(test.world)
			cfg.Rules, cfg.Blind = test.rules, test.blind
			explore(t, cfg, test.want)
		})
	}
}
