// Package scratch lends byte buffers.
//
// A Shelf keeps a fixed number of buffers of one size, whatever the garbage
// collector does: a sync.Pool is emptied at every collection, and with few but
// large buffers a busy program then spends its time in new ones.
package scratch

// A Shelf holds buffers that are lent to one user at a time. It is safe for
// concurrent use.
type Shelf struct {
	free chan []byte
	size int
}

// NewShelf returns a Shelf that keeps up to n buffers of size bytes.
func NewShelf(n, size int) *Shelf { return &Shelf{free: make(chan []byte, n), size: size} }

// Get returns an empty buffer with room for n bytes. Where n is more than the
// Shelf's size, the buffer is made for this use alone: a rare giant must not
// stay for ever.
func (s *Shelf) Get(n int) []byte {
	if n > s.size {
		return make([]byte, 0, n)
	}
	select {
	case b := <-s.free:
		return b[:0]
	default:
		return make([]byte, 0, s.size)
	}
}

// Put gives a buffer back. It must not be used afterwards.
func (s *Shelf) Put(b []byte) {
	if cap(b) != s.size {
		return
	}
	select {
	case s.free <- b:
	default:
	}
}
