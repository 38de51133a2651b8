package buckettest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"

	"coffer/bucket"
)

type faulty struct {
	inner bucket.Bucket
	f     *Faults
}

func (b faulty) Unwrap() bucket.Bucket { return b.inner }

func (b faulty) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	v := b.f.judge(Put, name)
	if err := v.before(); err != nil {
		return err
	}
	if v.is(Absent) {
		return nil
	}
	if v.is(Short) || v.is(Flip) {
		data, err := spoil(v, body)
		if err != nil {
			return err
		}
		body, size = bytes.NewReader(data), int64(len(data))
	}
	return v.after(b.inner.Put(ctx, name, body, size))
}

// spoil reads a body and gives it back damaged.
func spoil(v verdict, body io.ReadSeeker) ([]byte, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return v.damage(data), err
}

func (v verdict) damage(data []byte) []byte {
	switch {
	case v.is(Short):
		return data[:len(data)/2]
	case v.is(Flip) && len(data) > 0:
		data = slices.Clone(data)
		data[len(data)/2] ^= 1
	}
	return data
}

func (b faulty) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	v := b.f.judge(Get, name)
	if v.is(Absent) {
		return nil, fmt.Errorf("get %s: %w", name, fs.ErrNotExist)
	}
	if err := v.before(); err != nil {
		return nil, err
	}
	r, err := b.inner.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	if !v.wrong {
		return faultyReader{r, b.f}, nil
	}
	data, err := io.ReadAll(r)
	if closed := r.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(v.reader(data)), nil
}

func (v verdict) reader(data []byte) io.Reader {
	if err := v.after(nil); err != nil {
		return io.MultiReader(bytes.NewReader(data[:len(data)/2]), brokenReader{err})
	}
	return bytes.NewReader(v.damage(data))
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// faultyReader stops reading when the process has died.
type faultyReader struct {
	io.ReadCloser
	f *Faults
}

func (r faultyReader) Read(p []byte) (int, error) {
	if err := r.f.alive(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

func (b faulty) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		v := b.f.judge(List, prefix)
		if err := v.before(); err != nil {
			yield(bucket.Info{}, err)
			return
		}
		if v.is(Absent) {
			return
		}
		list := b.inner.List(ctx, prefix, after)
		if v.is(Short) {
			list = withoutPage(list)
		}
		if !b.pass(list, yield) {
			return
		}
		if err := v.after(nil); err != nil {
			yield(bucket.Info{}, err)
		}
	}
}

// pass hands a listing on until the process dies, and reports whether it got
// to the end.
func (b faulty) pass(list iter.Seq2[bucket.Info, error], yield func(bucket.Info, error) bool) bool {
	for info, err := range list {
		if !yield(info, err) || err != nil {
			return false
		}
		if err := b.f.alive(); err != nil {
			yield(bucket.Info{}, err)
			return false
		}
	}
	return true
}

// withoutPage leaves out the middle third, one name at the least.
func withoutPage(list iter.Seq2[bucket.Info, error]) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		var all []bucket.Info
		for info, err := range list {
			if err != nil {
				yield(info, err)
				return
			}
			all = append(all, info)
		}
		from := len(all) / 3
		to := min(len(all), from+max(1, len(all)/3))
		for _, info := range slices.Delete(all, from, to) {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (b faulty) Delete(ctx context.Context, names ...string) error {
	v := b.f.judge(Delete, names...)
	if err := v.before(); err != nil {
		return err
	}
	switch {
	case v.is(Absent):
		return nil
	case v.is(Short):
		names = names[:len(names)/2]
	}
	return v.after(b.inner.Delete(ctx, names...))
}

// Settle cannot lie: what it should have done shows only after a power cut,
// which package crashfs is for.
func (b faulty) Settle(ctx context.Context, names ...string) error {
	v := b.f.judge(Settle, names...)
	if err := v.before(); err != nil {
		return err
	}
	return v.after(bucket.Settle(ctx, b.inner, names...))
}

// faultyHolder keeps As from finding the Holder behind the faults.
type faultyHolder struct {
	faulty
	holder bucket.Holder
}

func (b faultyHolder) PutHeld(ctx context.Context, name string, data []byte) (func() error, error) {
	v := b.f.judge(Put, name)
	if err := v.before(); err != nil {
		return nil, err
	}
	if v.is(Absent) {
		return func() error { return nil }, nil
	}
	release, err := b.holder.PutHeld(ctx, name, v.damage(data))
	if err != nil {
		return nil, v.after(err)
	}
	if err := v.after(nil); err != nil {
		return nil, joinRelease(err, release) // without a reply the caller has no hold
	}
	if err := b.f.keepHold(release); err != nil {
		return nil, err
	}
	return release, nil
}

func joinRelease(err error, release func() error) error {
	if failed := release(); failed != nil {
		return fmt.Errorf("%w (and then: %w)", err, failed)
	}
	return err
}

func (b faultyHolder) Held(ctx context.Context, name string) (bool, error) {
	v := b.f.judge(Held, name)
	if err := v.before(); err != nil {
		return false, err
	}
	held, err := b.holder.Held(ctx, name)
	if err != nil {
		return false, err
	}
	if v.is(Flip) {
		held = !held
	}
	return held && !v.is(Absent), v.after(nil)
}
