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
// A failure prints its seed and the last calls. The same seed makes the same
// schedule, as far as the store itself asks in the same order: it ranges over
// maps in a few places, so that what is in which pack may differ between two
// runs, and with it a few calls.
//
// Everything is in tests. COFFER_SIM_SECONDS=600 runs them for long,
// COFFER_SIM_SEED=n only one seed.
package simulate
