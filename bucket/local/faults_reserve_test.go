package local_test

import (
	"errors"
	"syscall"
	"testing"

	"coffer/bucket/local"
	"coffer/bucket/local/crashfs"
)

// Fault 23: there is no room for a larger reserve: the old one stays.
func TestFaultsReserveStays(t *testing.T) {
	fsys := crashfs.New()
	b, err := local.CreateFS(fsys, "/repo")
	if err == nil {
		err = b.Reserve(1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	full := true
	fsys.Hook(func(c crashfs.Call) error {
		if c.Op == crashfs.Allocate && full {
			full = false
			return syscall.ENOSPC
		}
		return nil
	})
	if err := b.Reserve(2000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	fsys.Hook(nil)
	if info, err := fsys.Cut(crashfs.Everything).Stat("/repo/reserve"); err != nil || info.Size != 1000 {
		t.Errorf("the reserve has %d bytes, %v", info.Size, err)
	}
}
