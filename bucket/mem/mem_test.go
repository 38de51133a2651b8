package mem_test

import (
	"testing"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/mem"
)

func TestConformance(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket { return mem.New() })
}
