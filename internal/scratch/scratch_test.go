package scratch

import "testing"

func TestShelf(t *testing.T) {
	s := NewShelf(1, 100)
	a, b := s.Get(10), s.Get(100)
	if cap(a) != 100 || cap(b) != 100 || &a[:1][0] == &b[:1][0] {
		t.Fatal("two users share a buffer, or it is too small")
	}
	s.Put(a[:5])
	s.Put(b) // one too many
	if c := s.Get(1); len(c) != 0 || &c[:1][0] != &a[:1][0] {
		t.Error("the buffer that was given back is not lent again")
	}
	if big := s.Get(101); cap(big) < 101 {
		t.Error("too small")
	} else {
		s.Put(big)
	}
	if c := s.Get(1); cap(c) != 100 {
		t.Errorf("a giant of %d bytes stayed", cap(c))
	}
}
