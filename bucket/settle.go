package bucket

import "context"

// A Settler is a Bucket in which an object can be seen before it is durable:
// on a local disk between the moment another process gives an object its name
// and the moment that process has flushed the directory.
//
// Settle makes durable what Get and List have shown under these names. Who
// builds on another process's record settles it first; otherwise a power cut
// may keep the building and lose the ground. A name that does not exist is no
// error.
type Settler interface {
	Settle(ctx context.Context, names ...string) error
}

// Settle settles names in b, where b is of a kind that needs it.
func Settle(ctx context.Context, b Bucket, names ...string) error {
	if s, ok := As[Settler](b); ok {
		return s.Settle(ctx, names...)
	}
	return nil
}
