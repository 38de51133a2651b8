// Package simulate runs the real store on a simulated bucket.
//
// Contract: every call of every actor (backups, forgetters, prunes, tidiers,
// readers) waits until a scheduler lets exactly one go on. The scheduler draws
// from a seeded generator, and so do the faults: crashes with calls in flight
// that take effect now, later or never, repeated Puts, late Deletes, lost replies,
// listings in pages. Time is that of a testing/synctest bubble. An oracle outside
// of the store knows what was acknowledged and what may go, and looks at the
// bucket by the side all the time. In the end everybody dies, and a fresh prune
// must lose nothing and free everything.
//
// A failure prints its seed and the last calls. The same seed mostly makes the same
// schedule: calls are ordered by who makes them and their names before one is
// chosen, random names are drawn from the seed, and every process has one worker.
// It does not where the store ranges over a map, or where a tick and a cancellation
// meet in a select; so COFFER_SIM_SEED=n tries a seed many times.
//
// Everything is in tests. COFFER_SIM_SECONDS=600 runs them for long, from seed
// COFFER_SIM_FIRST on.
package simulate
