package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memoryLimit makes the collector work harder before the heap doubles: the
// buffers of a backup take about 80 MiB and the promise is 150 MiB in all.
const memoryLimit = 120 << 20

// tuneMemory sets the limit, unless the user has set one.
func tuneMemory(getenv func(string) string) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
		debug.SetGCPercent(400) // below the limit, memory that was given back is only faulted in again
	}
}

// heapAhead is how much of the heap gets huge pages: what a backup uses.
const heapAhead = 112 << 20

// useHugePages asks for huge pages where the heap will be: it allocates that
// much, marks it, and gives it back to the collector untouched. The key
// derivation alone touches 64 MiB, each page of 4 KiB twice, at 4 to 5 µs a
// fault on a virtual machine: a third of a backup that finds nothing changed.
// Where the kernel has no huge pages this does nothing.
func useHugePages() {
	const huge = 2 << 20
	b := make([]byte, heapAhead)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (huge - 1)
	_ = unix.Madvise(b[skip:len(b)-(len(b)-skip)%huge], unix.MADV_HUGEPAGE) // an offer, no need
	b = nil
	runtime.GC()
}

// profiles are what --cpuprofile and --memprofile ask for, for measuring.
type profiles struct {
	cpu *os.File
	mem string
}

func startProfiles(cpu, mem string) (*profiles, error) {
	p := &profiles{mem: mem}
	if cpu == "" {
		return p, nil
	}
	var err error
	if p.cpu, err = os.Create(cpu); err != nil {
		return nil, fmt.Errorf("write a profile: %w", err)
	}
	return p, pprof.StartCPUProfile(p.cpu)
}

// stop writes the profiles.
func (p *profiles) stop() error {
	if p == nil {
		return nil
	}
	var err error
	if p.cpu != nil {
		pprof.StopCPUProfile()
		err = p.cpu.Close()
	}
	if p.mem != "" {
		err = errors.Join(err, writeHeap(p.mem))
	}
	return err
}

func writeHeap(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	runtime.GC()
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
