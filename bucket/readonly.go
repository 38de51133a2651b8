package bucket

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
)

// ReadOnly returns b without the ability to change anything: Put, PutHeld and
// Delete fail with fs.ErrPermission. It is no Wrapper on purpose: As would find
// abilities behind it that write.
func ReadOnly(b Bucket) Bucket {
	w := readOnly{b}
	if h, ok := As[Holder](b); ok {
		return readOnlyHolder{w, h}
	}
	return w
}

type readOnly struct{ inner Bucket }

func (b readOnly) Put(_ context.Context, name string, _ io.ReadSeeker, _ int64) error {
	return refuse("put", name)
}

func (b readOnly) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	return b.inner.Get(ctx, name, off, n)
}

func (b readOnly) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return b.inner.List(ctx, prefix, after)
}

func (b readOnly) Delete(_ context.Context, names ...string) error {
	return refuse("delete", fmt.Sprint(len(names), " objects"))
}

// Settle is let through: it changes nothing that anybody can see.
func (b readOnly) Settle(ctx context.Context, names ...string) error {
	return Settle(ctx, b.inner, names...)
}

type readOnlyHolder struct {
	readOnly
	holder Holder
}

func (b readOnlyHolder) PutHeld(_ context.Context, name string, _ []byte) (func() error, error) {
	return nil, refuse("put", name)
}

func (b readOnlyHolder) Held(ctx context.Context, name string) (bool, error) {
	return b.holder.Held(ctx, name)
}

func refuse(verb, what string) error {
	return fmt.Errorf("%s %s: the bucket is open for reading only: %w", verb, what, fs.ErrPermission)
}
