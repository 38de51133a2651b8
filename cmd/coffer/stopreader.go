package main

import (
	"context"
	"io"
)

// stopBuffer is the size of a read of standard input: large enough that
// handing buffers over costs nothing.
const stopBuffer = 256 << 10

// stopReader returns a reader of r that ends with ctx, even while a read of r
// waits for data that may never come. That read is left behind: the program is
// about to end.
func stopReader(ctx context.Context, r io.Reader) io.Reader {
	s := &stoppable{ctx: ctx, full: make(chan piece, 1), free: make(chan []byte, 2)}
	for range cap(s.free) {
		s.free <- make([]byte, stopBuffer)
	}
	go s.pump(r)
	return s
}

type piece struct {
	buf  []byte
	data []byte // part of buf
	err  error
}

type stoppable struct {
	ctx  context.Context
	full chan piece
	free chan []byte
	cur  piece
}

func (s *stoppable) pump(r io.Reader) {
	for buf := range s.free {
		n, err := r.Read(buf)
		s.full <- piece{buf, buf[:n], err}
		if err != nil {
			return
		}
	}
}

func (s *stoppable) Read(p []byte) (int, error) {
	for len(s.cur.data) == 0 {
		if s.cur.err != nil {
			return 0, s.cur.err
		}
		if s.cur.buf != nil {
			s.free <- s.cur.buf
		}
		select {
		case s.cur = <-s.full:
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		}
	}
	n := copy(p, s.cur.data)
	s.cur.data = s.cur.data[n:]
	return n, nil
}
