// Package explorer proves, on small worlds, that prune can run beside
// everything else: it is the protocol of generations and fates as a model,
// and a search through all orders in which its steps can happen.
//
// The model. A bucket of named objects, written once; writers with several
// sessions each, which hit, upload whole or as a recipe, or take a parent
// over; people who ask to forget; pruners, which plan, help, rescue, close
// and sweep; a reader that moves on. Every call to the bucket is a step.
// Faults are steps too: a crash whose last call arrives later or never, a Put
// that arrives twice, a Delete that arrives late, listings in two pages, pages
// that come back empty, a healthy session taken for dead, and on local disks
// a power cut that takes every name that nobody has flushed. After every step
// all invariants are checked; then all actors die, with their last calls lost
// and with these calls arriving, and a fresh pruner, alone, must lose nothing and
// leave nothing that is not needed.
//
// The worlds. [Configs] are explored to the end, breadth first, so the first
// trace found is the shortest. [Large] are for random walks. [Rules] switches
// between what the code does and what the protocol's text says. [Mutant]
// makes one mistake: if the search does not find it, it is too weak.
//
// Abstracted away. There are up to three chunks, one pack and one segment a
// session; bytes, keys and trees do not exist, a snapshot is the set of chunks
// that it needs. Reads that follow each other, and cannot tell whether
// something came between, are one step: the segments of a view with the
// listing that leads to them, the fates of W once all are decided. The names of one
// kind are deleted in one step, the kinds in any order. Time does not exist:
// a session that is slow may be taken for dead at any moment. Packs whose
// chunks cannot be read, notes, pieces of the catalogue, and servers that
// ignore If-None-Match are not here.
package explorer
