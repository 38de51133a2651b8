package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
)

// memoryLimit makes the collector work harder before the heap doubles: the
// buffers of a backup take about 80 MiB and the promise is 150 MiB in all.
const memoryLimit = 110 << 20

// tuneMemory sets the limit, unless the user has set one.
func tuneMemory(getenv func(string) string) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
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
