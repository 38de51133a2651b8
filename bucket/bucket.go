// Package bucket is the interface that every place of storage keeps: named
// objects that are written once, never changed, and deleted at most once.
package bucket

import (
	"context"
	"io"
	"iter"
)

// A Bucket holds named objects that are written once and never changed.
//
// Names are slash-separated paths of the characters [a-z0-9._-]; no part is
// empty, "." or "..". They sort by their bytes.
//
// Put creates the object whole or not at all, durably (object and name survive
// a power cut), and fails with an error that is fs.ErrExist if the name is
// taken. When Put returns any other error the object may or may not exist; it
// is never there in part. Once Put has returned nil, Get and List see the
// object from any process.
//
// Get reads n bytes from off, to the end where n < 0. It reads exactly what it
// says or fails: an object that ends before off+n gives io.ErrUnexpectedEOF from
// the reader or from Get itself. A missing object is fs.ErrNotExist. The
// caller closes the reader.
//
// List yields the objects whose names begin with prefix and sort after after
// ("" for all), in ascending order of names. Everything created before the
// listing began and not deleted before it ended is in it. A prefix that
// matches nothing yields nothing and no error, but a repository whose root is
// missing (an unmounted disk) is an error. Iteration ends at the first error,
// which is yielded.
//
// Delete removes objects; names that do not exist are no error. It may take
// effect late, so names are never used again.
type Bucket interface {
	Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
	Delete(ctx context.Context, names ...string) error
}

// Info is what a listing says of an object.
type Info struct {
	Name string
	Size int64
}

// A Holder is a Bucket in which a writer can show that it is alive: on a local
// disk by a lock on the object's file, which the kernel drops when the process
// ends, however it ends.
type Holder interface {
	// PutHeld is Put of a small object that from its first appearance on is
	// held by the caller, until release or the end of the process.
	PutHeld(ctx context.Context, name string, data []byte) (release func() error, err error)
	// Held reports whether somebody alive holds the object. A missing object
	// is fs.ErrNotExist.
	Held(ctx context.Context, name string) (bool, error)
}

// A Wrapper is a Bucket that stands in front of another one. Abilities that
// only some backends have are found through wrappers with As.
type Wrapper interface {
	Unwrap() Bucket
}

// As finds the outermost bucket in b's chain of wrappers that is a T, as
// errors.As does for errors.
func As[T any](b Bucket) (T, bool) {
	for {
		if t, ok := b.(T); ok {
			return t, true
		}
		w, ok := b.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		b = w.Unwrap()
	}
}
