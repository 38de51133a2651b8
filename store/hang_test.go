package store_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"coffer/bucket"
)

// A hangingBucket lets nobody put a pack until it is opened, and counts how many
// try at the same time.
type hangingBucket struct {
	bucket.Bucket
	entered   chan struct{}
	open      chan struct{}
	now, most atomic.Int64
}

func (b *hangingBucket) Put(ctx context.Context, name string, body io.ReadSeeker, size int64) error {
	if strings.HasPrefix(name, "packs/") {
		n := b.now.Add(1)
		defer b.now.Add(-1)
		for most := b.most.Load(); n > most && !b.most.CompareAndSwap(most, n); most = b.most.Load() {
		}
		select {
		case b.entered <- struct{}{}:
		default:
		}
		<-b.open
	}
	return b.Bucket.Put(ctx, name, body, size)
}
