package explorer

// Large returns worlds too big to be explored to the end: for random walks, and for long searches.
func Large() []Config {
	one, two, both := seeds()
	hard := []Policy{KeepOldest, KeepNewest, Everything, Early}
	return []Config{
		{
			Name: "large: kills", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{2}, Asks: 1, KillAny: true, Policies: hard[1:3], Rules: Rules{Rewrite: Sometimes},
		},
		{
			Name: "large: two pruners and a checkpoint", Seeds: []Seed{both}, Writers: []int{2}, Roots: []uint8{1, 3}, Again: true,
			Pruners: []int{1, 1}, Asks: 1, KillAny: true, Crashes: 1, Policies: hard[1:3],
		},
		{
			Name: "large: two writers and two pruners", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{1, 1}, Asks: 1, KillAny: true, Crashes: 1,
		},
		{
			Name: "large: recipes", Seeds: []Seed{one, {2, 1<<5 | 1}}, Writers: []int{1, 1}, Roots: []uint8{1, 2, 3}, Recipes: true, Again: true,
			Pruners: []int{2}, Asks: 2, Policies: hard[:3],
		},
		{
			Name: "large: late and repeated calls", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{2}, Asks: 1, Crashes: 1, Dups: 1, LateDels: 1, KillAny: true, AskAny: true,
		},
		{
			Name: "large: reader", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Reader: 3,
			Pruners: []int{2, 1}, Asks: 1, KillAny: true,
		},
		{
			Name: "large: power cut", Seeds: []Seed{one}, Writers: []int{1, 1}, Roots: []uint8{1, 2}, Parents: true,
			Pruners: []int{1, 1}, Asks: 1, PowerCuts: 1, Crashes: 1, Policies: hard[1:3],
		},
		{
			Name: "large: everything", Seeds: []Seed{one, two}, Writers: []int{2, 2}, Roots: []uint8{1, 2, 3, 4}, Parents: true, Recipes: true, Again: true,
			Reader: 2, Pruners: []int{2, 2}, Asks: 2, AskAny: true, Policies: []Policy{DeadOnly, KeepOldest, KeepNewest, Everything, Early},
			Paged: true, Split: true, KillAny: true, Crashes: 2, Dups: 1, LateDels: 1, Rules: Rules{Rewrite: Sometimes},
		},
	}
}
