package explorer

import "testing"

// TestMutants: every mistake is found, and for the right reason. What is seen
// first is often a rule broken; "in the end" looks away from rules, until data is lost.
func TestMutants(t *testing.T) {
	one, two, _ := seeds()
	hard := []Policy{KeepOldest, Everything}
	base := Config{Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1}, Pruners: []int{1}, Asks: 1, Policies: []Policy{KeepOldest}, Rules: Rules{Rewrite: Never}}
	with := func(change func(c *Config)) Config {
		c := base
		change(&c)
		return c
	}
	kill := with(func(c *Config) { c.KillAny, c.Pruners = true, []int{2} })
	uploads := with(func(c *Config) { c.Roots = []uint8{2} })
	killUp := with(func(c *Config) { c.KillAny, c.Pruners, c.Roots = true, []int{2}, []uint8{2} })
	recipes := with(func(c *Config) { c.Recipes, c.Seeds = true, []Seed{two} })
	cuts := with(func(c *Config) { c.PowerCuts, c.Pruners = 1, []int{1, 1} })
	cutHard := with(func(c *Config) { c.PowerCuts, c.Policies = 1, hard })
	cutText := with(func(c *Config) { c.PowerCuts, c.Rules.Records, c.Rules.Manifests = 1, ByText, true })
	parents := with(func(c *Config) { c.Parents = true })
	seen := map[Mutant]bool{WriterTrustsDone: true} // see TestMistakesThatDoNoHarm
	for _, test := range []struct {
		name  string
		m     Mutant
		cfg   Config
		want  Invariant
		blind []Invariant
	}{
		{"list sessions before publishing the plan", SessionsBeforePlan, base, I2, nil},
		{"skip the second mark", NoSecondMark, base, I1, nil},
		{"forget deletes the object", ForgetDeletes, base, I4, nil},
		{"forget deletes the object, in the end", ForgetDeletes, uploads, I1, []Invariant{I4, I5, I6}},
		{"kill by time-out without ABORT", KillWithoutAbort, kill, I2, nil},
		{"names from content, late Delete", ContentNames, with(func(c *Config) {
			c.Rules.Rewrite, c.LateDels, c.Pruners = Always, 1, []int{2}
		}), I1, nil},
		{"hit without live-pack check", HitInDeadPack, base, I6, nil},
		{"hit without live-pack check, by condemnation", HitInDeadPack, base, I5, []Invariant{I6}},
		{"hit without live-pack check, in the end", HitInDeadPack, base, I1, []Invariant{I5, I6}},
		{"empty list page believed", EmptyPageBelieved, with(func(c *Config) { c.Lies, c.LieIn, c.Paged = 1, OfFates, true }), I2, nil},
		{"delete before .done", DeleteBeforeDone, base, I4, nil},
		{"delete before .done, in the end", DeleteBeforeDone, base, I1, []Invariant{I4, ID, IG}},
		{"two plans", TwoPlans, with(func(c *Config) { c.Pruners, c.Policies = []int{1, 1}, hard }), I1, nil},
		{"no second list after registration", NoSecondList, base, I2, nil},
		{"step 7 skipped", NoStep7, kill, I2, nil},
		{"registration deleted without a fate, then a commit", RegistrationDeleted, kill, I2, nil},
		{"uncovered deltas left out", NoUncovered, uploads, I1, []Invariant{I5, I6}},
		{"a checkpoint that keeps the old view", OldView, with(func(c *Config) { c.Writers = []int{2} }), I6, nil},
		{"a checkpoint that keeps the old view, in the end", OldView, with(func(c *Config) { c.Writers, c.KillAny = []int{2}, true }), I1, []Invariant{I5, I6}},
		{"D names a commit the first mark had not seen", UnseenInD, uploads, I1, []Invariant{I5, I6}},
		{"a parent from D", ParentFromD, parents, I1, nil},
		{"n+2 before n+1.done", PlanBeforeDone, with(func(c *Config) { c.Pruners = []int{2} }), I7, nil},
		{"n+2 before n+1.done, in the end", PlanBeforeDone, with(func(c *Config) { c.Pruners = []int{2} }), I2, []Invariant{I7, ID, IG, I1}},
		{"generation records deleted", RecordsDeleted, with(func(c *Config) {
			c.Pruners, c.Policies, c.Writers, c.Seeds, c.Asks = []int{2, 1}, hard, nil, []Seed{one, {2, 2}, {4, 4}}, 0
		}), I1, []Invariant{I4, I7, ID, IG}},
		{"ABORTs swept one generation early", AbortsEarly, killUp, I1, []Invariant{I5, I6}},
		{"writer does not flush commits", WriterTrustsCommits, cuts, I1, nil},
		{"writer does not flush the generation", WriterTrustsPlan, cutHard, I1, []Invariant{IG}},
		{"pruner does not flush commits", PrunerTrustsCommits, cutText, I1, nil},
		{"pruner does not flush the generation", PrunerTrustsPlan, cuts, I1, []Invariant{ID, IG}},
		{"pruner does not flush .done", PrunerTrustsDone, cuts, I2, []Invariant{ID, IG}},
		{"bases of recipes left out of the first mark", NoBasesInFirstMark, recipes, I1, nil},
		{"bases of recipes left out of the second mark", NoBasesInSecondMark, recipes, I1, nil},
		{"a whole copy dropped in favour of a recipe", RecipeInstead, with(func(c *Config) { c.Recipes, c.Again, c.Seeds, c.Roots = true, true, []Seed{one, two}, []uint8{1, 2} }), I1, nil},
		{"a recipe on a recipe", RecipeOnRecipe, with(func(c *Config) { c.Recipes, c.Seeds, c.Roots = true, []Seed{{1, 1<<4 | 2}}, []uint8{4} }), I1, nil},
	} {
		seen[test.m] = true
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := test.cfg
			cfg.Mutant, cfg.Blind = test.m, test.blind
			explore(t, cfg, test.want)
			if !testing.Short() {
				cfg.Mutant, cfg.Limit = None, 50_000
				explore(t, cfg, 0) // it was the mistake, not the world
			}
		})
	}
	for m := None + 1; m < mutants; m++ {
		if !seen[m] {
			t.Errorf("mutant %d is not tested", m)
		}
	}
}

// TestMistakesThatDoNoHarm: a writer may rely on a .done that is gone after a
// power cut. All of W was decided, and flushed, before that .done was put, and D is
// frozen: whoever closes the generation again finds the same roots and rescues
// the same chunks, and nobody plans the next generation before he has flushed
// this one's .done. The code flushes it all the same: one rule for all records is simpler.
//
// Likewise a pruner that does not flush commits, as long as the catalogue holds whole
// manifests: whoever lost the commit had not been told of success.
func TestMistakesThatDoNoHarm(t *testing.T) {
	for _, cfg := range Configs() {
		if cfg.PowerCuts == 0 {
			continue
		}
		for _, mistake := range []Mutant{WriterTrustsDone, PrunerTrustsCommits} {
			cfg.Mutant = mistake
			t.Run(cfg.Name, func(t *testing.T) {
				t.Parallel()
				explore(t, short(cfg), 0)
			})
		}
	}
}
