package explorer

// seeds returns a snapshot of chunk 0, one of chunk 1, and one of both.
func seeds() (one, two, both Seed) { return Seed{1, 1}, Seed{2, 2}, Seed{3, 3} }

// Configs are the small worlds that are explored to the end.
func Configs() []Config {
	one, two, both := seeds()
	hard := []Policy{KeepOldest, Everything}
	return []Config{
		{
			Name: "two writers and a pruner", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{2}, Asks: 1, Policies: hard,
		},
		{
			Name: "checkpoint", Seeds: []Seed{one}, Writers: []int{2}, Roots: []uint8{1, 3}, Parents: true, Again: true,
			Pruners: []int{2}, Asks: 1, Policies: []Policy{KeepOldest, KeepNewest, Everything},
		},
		{
			Name: "two pruners", Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{1, 1}, Asks: 1, Policies: hard,
		},
		{
			Name: "two pruners, three cycles", Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1},
			Pruners: []int{2, 1}, Asks: 1, Policies: []Policy{KeepOldest}, KillAny: true,
		},
		{
			Name: "healthy sessions are killed", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2},
			Pruners: []int{2}, Asks: 1, KillAny: true,
		},
		{
			Name: "three cycles", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{2}, Parents: true,
			Pruners: []int{3}, Asks: 1, KillAny: true,
		},
		{
			Name: "crashes", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1},
			Pruners: []int{2}, Asks: 1, Crashes: 1, Split: true,
		},
		{
			Name: "crashes, two pruners", Seeds: []Seed{both}, Writers: []int{1}, Roots: []uint8{1},
			Pruners: []int{1, 1}, Asks: 1, Crashes: 1, Policies: hard[1:],
		},
		{
			Name: "late and repeated calls", Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1, 2},
			Pruners: []int{2}, Asks: 1, Crashes: 1, Dups: 1, LateDels: 1, KillAny: true,
		},
		{
			Name: "pages", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{2}, Parents: true,
			Pruners: []int{2}, Asks: 1, Paged: true, KillAny: true,
		},
		{
			Name: "empty pages", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{2}, Asks: 1, Lies: 1, LieIn: OfSessions | OfFates | OfMarked | OfView | OfGenerations, Paged: true,
		},
		{
			Name: "power cut, two writers", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1},
			Pruners: []int{1}, Asks: 1, PowerCuts: 1, Policies: hard,
		},
		{
			Name: "power cut, two pruners", Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1},
			Pruners: []int{1, 1}, Asks: 1, PowerCuts: 1, Policies: hard,
		},
		{
			Name: "reader", Seeds: []Seed{one}, Writers: []int{1}, Roots: []uint8{1, 2}, Reader: 2,
			Pruners: []int{2}, Asks: 1, KillAny: true,
		},
		{
			Name: "recipes", Seeds: []Seed{one, two}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Recipes: true, Again: true,
			Pruners: []int{1}, Asks: 1, Policies: []Policy{KeepOldest, KeepNewest},
		},
		{
			Name: "generations published early", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1}, Parents: true,
			Pruners: []int{2}, Asks: 1, Policies: []Policy{Early, KeepOldest},
		},
	}
}
