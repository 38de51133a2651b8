package snapshot

import (
	"coffer/chunk"
)

// A State says how far a snapshot can be trusted to be whole.
type State uint8

const (
	Complete   State = 1 // every source succeeded and every item was read
	WithErrors State = 2 // every source succeeded; some items could not be read and are counted
	Incomplete State = 3 // a root was missing, a command failed, or it is a checkpoint
)

// A Manifest is what a snapshot is, apart from its tree: it is the payload of
// the commit record that makes the snapshot real. Its ID is the ID of that
// commit and is not stored in it.
type Manifest struct {
	Version   int       `cbor:"1,keyasint"`
	Host      string    `cbor:"2,keyasint"`
	Name      string    `cbor:"3,keyasint"`            // "default" unless said
	State     State     `cbor:"4,keyasint"`            //
	Sequence  uint64    `cbor:"5,keyasint"`            // counts up per host and name
	Captured  Time      `cbor:"6,keyasint"`            // start, by the source's clock
	Finished  Time      `cbor:"7,keyasint"`            // end, by the source's clock
	Received  Time      `cbor:"8,keyasint"`            // by the keeper's clock
	Effective Time      `cbor:"9,keyasint"`            // what retention and dates in arguments mean
	Root      chunk.ID  `cbor:"10,keyasint"`           // listing of the top directory
	Parent    string    `cbor:"11,keyasint,omitempty"` // snapshot that unchanged files were taken from
	Tags      []string  `cbor:"12,keyasint,omitempty"`
	Sources   []Source  `cbor:"13,keyasint,omitempty"`
	Items     uint64    `cbor:"14,keyasint"`           // entries of all kinds
	Files     uint64    `cbor:"15,keyasint"`           // regular files among them
	Bytes     int64     `cbor:"16,keyasint"`           // sum of the files' logical sizes, hard links counted once for each name
	NewBytes  int64     `cbor:"17,keyasint"`           // plain bytes of content that were new to the repository
	Stored    int64     `cbor:"18,keyasint"`           // bytes added to the repository, compressed and sealed
	Warnings  []Warning `cbor:"19,keyasint,omitempty"` // the first MaxWarnings
	Errors    uint64    `cbor:"20,keyasint,omitempty"` // items that could not be read whole, all of them
	Warned    uint64    `cbor:"21,keyasint,omitempty"` // warnings, all of them
	User      string    `cbor:"22,keyasint,omitempty"` // who ran it
	Program   string    `cbor:"23,keyasint,omitempty"` // "coffer 0.1.0"
	Excludes  []string  `cbor:"24,keyasint,omitempty"` // patterns as given
	Top       []byte    `cbor:"25,keyasint,omitempty"` // EncodeEntry of "/" itself, named "root", where "/" was backed up
	Original  string    `cbor:"26,keyasint,omitempty"` // ID that the snapshot goes by, where another commit made it first
	Hold      *Hold     `cbor:"27,keyasint,omitempty"` // this commit is a hold on Original, and no snapshot of its own
	Rewrote   string    `cbor:"28,keyasint,omitempty"` // snapshot that this one was made from, without some of its entries
}

// MaxWarnings is how many warnings a manifest keeps with their text; beyond
// that they are only counted, so that a manifest stays small.
const MaxWarnings = 1000

// A Source is one thing that a snapshot was taken of, and how it went.
type Source struct {
	Kind  string `cbor:"1,keyasint"`           // "path", "stdin", "command"
	Spec  string `cbor:"2,keyasint"`           // the path or command as given
	At    string `cbor:"3,keyasint"`           // where it stands in the tree, absolute
	Error string `cbor:"4,keyasint,omitempty"` // why it is not whole; "" if it is
	Nanos int64  `cbor:"5,keyasint,omitempty"` // how long it took
}

// A Warning is something that went wrong with one item. Where Item is true, the
// item is missing or not exactly as it was (exit code 3).
type Warning struct {
	Path string `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint"`
	Item bool   `cbor:"3,keyasint,omitempty"`
}
