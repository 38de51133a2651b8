package explorer

import "hash/maphash"

// Invariant is one of I1..I7 of the protocol, or one of our own.
type Invariant uint8

const (
	_  Invariant = iota
	I1           // every valid snapshot's closure is in existing packs and in the readable index
	I2           // a session that reported success stays valid until someone asks to forget it; nothing valid vanishes
	I3           // what a finished D dropped never comes back
	I4           // only names in a .done are deleted; a name is never believed twice
	I5           // a session with base g never relies on C_m, m <= g
	I6           // a hit names a pack in the live set of the session's generation
	I7           // generation n+1 is planned only after n.done exists
	ID           // what an open generation drops can still be read
	IR           // what a reader with a registration reads is there
	IG           // after everybody died, a fresh pruner frees all garbage
	invariants
)

func (i Invariant) String() string {
	return [...]string{"none", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "ID (dropped, not yet closed)", "IR (reader)", "IG (garbage)"}[i]
}

// Rules are the choices that the protocol's text and the code may make differently.
// The zero value is what the code does.
type Rules struct {
	Rewrite     Rewriting   // R1
	FullMark    bool        // the second mark walks all roots (the text); else those not covered (R2)
	Records     RecordsRule // R3
	Manifests   bool        // a snapshot's manifest is in its fate alone; else the catalogue has it too (R3)
	Step7Last   bool        // step 7 reads the newest .done above g (R6); else the first one above g
	SureNoop    bool        // R7 also waits for small records to be swept
	ListNewest  bool        // newest generation and .done above g by List, which may lie; else by Get of the next names
	WOnce       bool        // W from one listing of sessions/<n> (the text); else from the union of two
	MoveByLastD bool        // a reader moves to the newest generation whose D lacks its snapshot (the text); else no D since its own may name it
}

// Rewriting says when a plan writes the index of its base anew.
type Rewriting uint8

const (
	Never     Rewriting = iota // segments with masks
	Sometimes                  // masks, or anew, as the pruner likes
	Always                     // the text
)

// RecordsRule says which registrations and fates the sweep of m deletes.
type RecordsRule uint8

const (
	BelowM1   RecordsRule = iota // regs with base <= m-1; fates with base <= m-2
	BelowM2                      // regs and fates with base <= m-2
	ByText                       // regs with base <= m-1 that the catalogue lacks; of fates these too, but ABORTs with base <= m-2
	CommitsM1                    // regs and COMMITs with base <= m-1; ABORTs with base <= m-2
	FatesM1                      // as CommitsM1, ABORTs too: one generation early
)

// Mutant names one mistake in the protocol.
type Mutant uint8

const (
	None Mutant = iota
	SessionsBeforePlan
	NoSecondMark
	ForgetDeletes
	KillWithoutAbort
	ContentNames
	HitInDeadPack
	EmptyPageBelieved
	DeleteBeforeDone
	TwoPlans
	NoSecondList
	NoStep7
	RegistrationDeleted
	NoUncovered
	OldView
	UnseenInD
	ParentFromD
	PlanBeforeDone
	RecordsDeleted
	AbortsEarly
	WriterTrustsCommits // on a local disk, before they are flushed
	WriterTrustsPlan
	WriterTrustsDone
	PrunerTrustsCommits
	PrunerTrustsPlan
	PrunerTrustsDone
	NoBasesInFirstMark
	NoBasesInSecondMark
	RecipeInstead
	RecipeOnRecipe
	mutants
)

// Listing names a listing that may lie.
type Listing uint8

const (
	OfSessions Listing = 1 << iota // W
	OfFates                        // before the second mark
	OfMarked                       // before the first mark
	OfView                         // by a writer
	OfGenerations
)

// Seed is a snapshot that is there when the exploration begins.
type Seed struct {
	Root    uint8 // chunks it needs
	Content uint8 // what its session stored: low nibble whole, high nibble recipes
}

// Config is one small world to be explored.
type Config struct {
	Name     string
	Seeds    []Seed
	Writers  []int // sessions of each writer
	Roots    []uint8
	Again    bool // a writer may upload what its view holds
	Parents  bool
	Recipes  bool
	Reader   int   // registrations that the reader can make
	Pruners  []int // cycles of each pruner
	Policies []Policy
	Asks     int
	AskAny   bool // snapshots that nobody can see yet may be asked for

	Paged     bool // listings in two pages
	Split     bool // pack and segment are put one after another
	KillAny   bool // a pruner may take anybody for dead
	Crashes   int
	Dups      int // Puts that arrive twice
	LateDels  int // Deletes that arrive after they were acknowledged
	Lies      int // pages that come back empty
	LieIn     Listing
	PowerCuts int // a local disk: what was not flushed may be gone

	Rules  Rules
	Mutant Mutant
	Blind  []Invariant // not looked at: to see what a mistake leads to in the end
	Limit  int         // states at most; 0: all
}

type kind uint8

const (
	writer kind = iota
	reader
	pruner
	absent
)

// role is what an actor is; its sessions or cycles are first..first+n-1.
type role struct {
	kind     kind
	first, n int
	plan     int
	name     string
}

// model is a configuration ready to be stepped.
type model struct {
	cfg   *Config
	roles [maxActors]role
	seeds sids
	fresh int // the actor that comes after all died
	blind [invariants]bool
	out   []succ
	seed  maphash.Seed
}

// succ is a state and how it was reached.
type succ struct {
	s    State
	how  Step
	fail Invariant
}

func newModel(cfg *Config) *model {
	m := &model{cfg: cfg, seed: maphash.MakeSeed(), seeds: sid(len(cfg.Seeds)) - 1}
	n, next := 0, len(cfg.Seeds)
	add := func(k kind, first, count, plan int, name string) {
		m.roles[n] = role{k, first, count, plan, name}
		n++
	}
	for i, c := range cfg.Writers {
		add(writer, next, c, i, "writer "+string(rune('A'+i)))
		next += c
	}
	if cfg.Reader > 0 {
		add(reader, next, cfg.Reader, 0, "reader")
		next += cfg.Reader
	}
	cycles := 0
	for i, c := range cfg.Pruners {
		add(pruner, cycles, c, i, "pruner "+string(rune('P'+i)))
		cycles += c
	}
	m.fresh = n
	add(pruner, maxCycles/2, maxCycles/2, maxPlans-1, "fresh pruner")
	if next > maxSids || cycles > maxCycles/2 || len(cfg.Writers) > 2 {
		panic("explorer: the world is too small for " + cfg.Name)
	}
	for ; n < maxActors; n++ {
		m.roles[n].kind = absent
	}
	for _, i := range cfg.Blind {
		m.blind[i] = true
	}
	return m
}

func (m *model) is(x Mutant) bool { return m.cfg.Mutant == x }

// initial is generation 0, closed, with the seeds in its base and catalogue.
func (m *model) initial() State {
	var s State
	for i := range s.pk {
		s.pk[i] = uint8(i)
	}
	for i, seed := range m.cfg.Seeds {
		s.root[i], s.content[i] = seed.Root, seed.Content
		s.done[0].cat |= sid(i)
		if seed.Content != 0 {
			s.rec[0].segs |= pack(i)
		}
	}
	s.packs, s.segs = s.rec[0].segs, s.rec[0].segs
	s.acked = s.done[0].cat
	s.gens, s.dones = gen(0), gen(0)
	s.asksLeft, s.crashLeft, s.dupLeft = uint8(m.cfg.Asks), uint8(m.cfg.Crashes), uint8(m.cfg.Dups)
	s.lateLeft, s.lieLeft, s.cutLeft = uint8(m.cfg.LateDels), uint8(m.cfg.Lies), uint8(m.cfg.PowerCuts)
	return s
}

// fork appends a copy of s as its successor by this step, to be changed by the caller.
func (m *model) fork(s *State, who int, what string, args ...int) *State {
	if len(m.out) < cap(m.out) {
		m.out = m.out[:len(m.out)+1]
	} else {
		m.out = append(m.out, succ{})
	}
	t := &m.out[len(m.out)-1]
	t.s, t.fail = *s, 0
	t.how = Step{who: int8(who), what: what}
	copy(t.how.args[:], args)
	return &t.s
}

// fail says that the last step broke an invariant.
func (m *model) fail(i Invariant) {
	if t := &m.out[len(m.out)-1]; t.fail == 0 && !m.blind[i] {
		t.fail = i
	}
}

// Step is one line of a trace.
type Step struct {
	who  int8 // actor, or -1
	what string
	args [2]int
	note string
}
