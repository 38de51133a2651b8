package buckettest

import (
	"errors"
	"strings"
	"sync"

	"coffer/bucket"
)

// A Kind is a kind of call to a bucket. PutHeld is a Put.
type Kind string

// The kinds of calls.
const (
	Put    Kind = "put"
	Get    Kind = "get"
	List   Kind = "list"
	Delete Kind = "delete"
	Held   Kind = "held"
	Settle Kind = "settle"
)

// A Fault is a way in which a call goes wrong.
type Fault int

// The faults. The errors are those of the Rule.
const (
	FailBefore  Fault = iota // the call fails and has no effect
	FailAfter                // it takes effect and fails: a lost reply; a Get fails half-way, a List at its end
	Absent                   // no effect, and success: a Put stores nothing, a Get finds nothing, a List is empty, Held says no
	Short                    // half an effect, and success: half an object is stored or read, a page in the middle of a List is missing
	Flip                     // one bit is wrong in what is stored or read; Held says the opposite
	CrashBefore              // the process dies before the call: it and all later calls fail, holds end
	CrashAfter               // the process dies right after the call
)

// ErrCrashed is what calls give after a crash.
var ErrCrashed = errors.New("the process has crashed")

// ErrInjected is the error of a Rule that names none.
var ErrInjected = errors.New("injected fault")

// A Rule says which calls go wrong and how. Of the calls of Kind ("" for all)
// to objects whose names, or listings whose prefixes, begin with Prefix, those
// from number Call on go wrong, the first being 0: one of them, or Times, or
// all that follow if Times is negative.
type Rule struct {
	Kind   Kind
	Prefix string
	Call   int
	Times  int
	Fault  Fault
	Err    error
}

func (r Rule) matches(kind Kind, names []string) bool {
	if r.Kind != "" && r.Kind != kind {
		return false
	}
	for _, name := range names {
		if strings.HasPrefix(name, r.Prefix) {
			return true
		}
	}
	return r.Prefix == ""
}

func (r Rule) hits(n int) bool {
	return n >= r.Call && (r.Times < 0 || n < r.Call+max(r.Times, 1))
}

// Faults makes calls go wrong by its rules, the first that applies. One Faults
// stands for one process, whatever buckets it wraps.
type Faults struct {
	mu      sync.Mutex
	rules   []Rule
	seen    []int // matching calls so far, by rule
	calls   int
	fired   int
	crashed bool
	holds   []func() error
}

// NewFaults makes an injector. Without rules it lets everything pass.
func NewFaults(rules ...Rule) *Faults {
	return &Faults{rules: rules, seen: make([]int, len(rules))}
}

// Wrap puts the injector in front of a bucket.
func (f *Faults) Wrap(b bucket.Bucket) bucket.Bucket {
	w := faulty{b, f}
	if h, ok := bucket.As[bucket.Holder](b); ok {
		return faultyHolder{w, h}
	}
	return w
}

// Calls says how many calls were made.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Fired says how many calls went wrong by a rule.
func (f *Faults) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Crash kills the process now.
func (f *Faults) Crash() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crash()
}

func (f *Faults) crash() error {
	f.crashed = true
	var err error
	for _, release := range f.holds { // the kernel drops the locks of the dead
		err = errors.Join(err, release())
	}
	f.holds = nil
	return err
}

// alive is nil until the process crashes.
func (f *Faults) alive() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	return nil
}

// keepHold remembers a hold, or ends it at once if the process has died.
func (f *Faults) keepHold(release func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return errors.Join(ErrCrashed, release())
	}
	f.holds = append(f.holds, release)
	return nil
}

// A verdict is what is to become of a call.
type verdict struct {
	wrong bool
	fault Fault
	err   error
}

func (v verdict) is(f Fault) bool { return v.wrong && v.fault == f }

// before is the error of a call that is to fail without effect.
func (v verdict) before() error {
	if v.is(FailBefore) || v.is(CrashBefore) {
		return v.err
	}
	return nil
}

// after is the error of a call that took effect, err being its own.
func (v verdict) after(err error) error {
	if v.is(FailAfter) || v.is(CrashAfter) {
		return v.err
	}
	return err
}

func (f *Faults) judge(kind Kind, names ...string) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.crashed {
		return verdict{true, CrashBefore, ErrCrashed}
	}
	v := verdict{}
	for i, r := range f.rules {
		if !r.matches(kind, names) {
			continue
		}
		n := f.seen[i]
		f.seen[i]++
		if !v.wrong && r.hits(n) {
			v = f.fire(r)
		}
	}
	return v
}

func (f *Faults) fire(r Rule) verdict {
	f.fired++
	err := r.Err
	if err == nil {
		err = ErrInjected
	}
	if r.Fault == CrashBefore || r.Fault == CrashAfter {
		err = errors.Join(ErrCrashed, f.crash())
	}
	return verdict{true, r.Fault, err}
}
