package capture

import (
	"errors"
	"os"
	"path"

	"coffer/snapshot"
)

// A streamRun is one stream under way.
type streamRun struct {
	Stream
	entry snapshot.Entry
	ready bool
	err   error
	took  int64
}

// stream reads one stream to its end. What goes wrong with the stream itself
// is remembered; what goes wrong with saving ends the capture.
func (e *engine) stream(st Stream) *streamRun {
	run := &streamRun{Stream: st}
	begun := e.opt.Now()
	run.entry = snapshot.Entry{Name: path.Base(st.At), Type: snapshot.File, Mode: 0o600, Links: 1,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), MTime: snapshot.TimeOf(begun)}
	run.err = e.readStream(run)
	run.took = e.opt.Now().Sub(begun).Nanoseconds()
	if run.err == nil {
		run.ready = true
		e.event(e.count(false, true), 0, nil, func() string { return st.At })
	}
	return run
}

func (e *engine) readStream(run *streamRun) error {
	r, wait, err := run.Open(e.ctx)
	if err != nil {
		return err
	}
	var refs pieces
	err = e.cutter.CutFrom(e.ctx, r, func(off int64, data []byte) error {
		id, err := e.save(data)
		if err != nil {
			e.fail(err)
			return err
		}
		refs.add(off, snapshot.Ref{ID: id, Length: uint32(len(data))})
		e.event(Progress, int64(len(data)), nil, func() string { return run.At })
		return nil
	})
	if wait != nil {
		err = errors.Join(err, wait())
	}
	run.entry.Content = refs.inOrder()
	for _, ref := range run.entry.Content {
		run.entry.Size += int64(ref.Length)
	}
	return err
}
