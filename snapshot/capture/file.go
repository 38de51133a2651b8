package capture

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/source"
)

// tries is how often a file that changes while it is read is read before it is
// kept as it came.
const tries = 3

// A keptError says that a file is in the snapshot, but maybe not as it was at
// any one moment.
type keptError struct {
	moved bool // it changed while it was read
	why   error
}

func (k *keptError) Error() string {
	if k.moved {
		return "changed while it was read: " + k.why.Error()
	}
	return k.why.Error()
}

func (k *keptError) Unwrap() error { return k.why }

// readFile fills an entry with what open gives: stat, attributes, holes and
// content, all of the same moment if the file holds still for long enough.
func (e *engine) readFile(open func() (*source.FileHandle, error), en *snapshot.Entry) error {
	for try := 1; ; try++ {
		err := e.readOnce(open, en)
		var kept *keptError
		moved := errors.As(err, &kept) && kept.moved || errors.Is(err, source.ErrReplaced)
		if !moved || try == tries || e.ctx.Err() != nil {
			return err
		}
		en.Inode = 0 // whatever has the name now
	}
}

// readOnce returns a keptError if there is content all the same.
func (e *engine) readOnce(open func() (*source.FileHandle, error), en *snapshot.Entry) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := f.Fstat(en); err != nil {
		return err
	}
	attrErr := f.Details(en)
	if en.Holes, err = f.Holes(); err != nil {
		return err
	}
	err = e.content(f, en)
	if errors.Is(err, source.ErrShrunk) || errors.Is(err, chunk.ErrShort) {
		trim(en)
		return &keptError{true, source.ErrShrunk}
	}
	if err != nil {
		return err
	}
	if ok, why := f.Unchanged(); !ok {
		return &keptError{true, errors.New(why)}
	}
	if attrErr != nil {
		return &keptError{false, attrErr}
	}
	return nil
}

// content saves the data of a file and fills en.Content.
func (e *engine) content(f *source.FileHandle, en *snapshot.Entry) error {
	en.Content, en.Spill = nil, snapshot.Spill{}
	switch size := f.DataSize(); {
	case size == 0:
		return nil
	case size <= e.small:
		return e.wholeFile(f, size, en)
	default:
		return e.cutFile(f, size, en)
	}
}

// wholeFile saves a small file as one chunk.
func (e *engine) wholeFile(f io.ReaderAt, size int64, en *snapshot.Entry) error {
	data := e.buffers.Get(int(e.small))[:size]
	defer e.buffers.Put(data)
	n, err := f.ReadAt(data, 0)
	if n == 0 && err != nil {
		return err
	}
	id, saveErr := e.save(data[:n])
	if saveErr != nil {
		e.fail(saveErr)
		return saveErr
	}
	en.Content = []snapshot.Ref{{ID: id, Length: uint32(n)}}
	if int64(n) < size {
		return err
	}
	return nil
}

// cutFile saves a large file in chunks, on all processors.
func (e *engine) cutFile(f *source.FileHandle, size int64, en *snapshot.Entry) error {
	var refs pieces
	err := e.cutter.CutAt(e.ctx, f, size, func(off int64, data []byte) error {
		id, err := e.save(data)
		if err != nil {
			e.fail(err)
			return err
		}
		refs.add(off, snapshot.Ref{ID: id, Length: uint32(len(data))})
		e.event(Progress, int64(len(data)), nil, func() string { return en.Name })
		return nil
	})
	en.Content = refs.inOrder()
	return err
}

// pieces gathers the chunks of a file that are saved in any order.
type pieces struct {
	mu   sync.Mutex
	list []piece
}

type piece struct {
	off int64
	ref snapshot.Ref
}

func (p *pieces) add(off int64, r snapshot.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, piece{off, r})
}

// inOrder returns the chunks from the beginning of the file up to the first
// that is missing.
func (p *pieces) inOrder() []snapshot.Ref {
	slices.SortFunc(p.list, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	refs := make([]snapshot.Ref, 0, len(p.list))
	at := int64(0)
	for _, q := range p.list {
		if q.off != at {
			break
		}
		refs = append(refs, q.ref)
		at += int64(q.ref.Length)
	}
	return refs
}

// trim makes an entry end where its content ends, because the file did.
func trim(en *snapshot.Entry) {
	left := int64(0)
	for _, r := range en.Content {
		left += int64(r.Length)
	}
	end := int64(0)
	kept := en.Holes[:0]
	for _, h := range en.Holes {
		if left == 0 || end+left < h.Offset {
			break
		}
		left -= h.Offset - end
		end = h.Offset + h.Length
		kept = append(kept, h)
	}
	en.Holes, en.Size = kept, end+left
}
