// Package scratch lends byte buffers.
//
// A Shelf keeps a fixed number of buffers, whatever the garbage collector
// does: a sync.Pool is emptied at every collection, and with few but large
// buffers a busy program then spends its time in new ones.
package scratch

// A Shelf holds buffers that are lent to one user at a time. It is safe for
// concurrent use.
type Shelf struct{ free chan []byte }

// step is what capacities are rounded up to, so that a buffer fits the next
// user too.
const step = 256 << 10

// NewShelf returns a Shelf that keeps up to n buffers.
func NewShelf(n int) *Shelf { return &Shelf{free: make(chan []byte, n)} }

// Get returns an empty buffer with room for size bytes.
func (s *Shelf) Get(size int) []byte {
	select {
	case b := <-s.free:
		if cap(b) >= size {
			return b[:0]
		}
	default:
	}
	return make([]byte, 0, (size+step-1)/step*step)
}

// Put gives a buffer back. It must not be used afterwards.
func (s *Shelf) Put(b []byte) {
	select {
	case s.free <- b:
	default:
	}
}
