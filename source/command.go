package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is a shell command whose output is kept as a file.
type Command struct {
	Line   string    // for sh -c
	Dir    string    // "" for the current one
	Env    []string  // nil for that of this process
	Stderr io.Writer // gets what the command writes there; may be nil
}

// A Process is a running Command. What it writes comes from Read, which ends
// with io.EOF only if the command succeeded: otherwise with a [CommandError]
// after the last byte, so that half a dump never looks like a whole one. The
// caller closes it.
type Process struct {
	line string
	ctx  context.Context
	cmd  *exec.Cmd
	out  io.ReadCloser
	tail *tail
	stop func() bool // unhooks from ctx

	wait sync.Once
	err  error

	mu     sync.Mutex
	reaped bool // the process group may be another's by now
}

// A CommandError says how a command failed.
type CommandError struct {
	Line     string
	ExitCode int    // -1 if a signal ended it
	Signal   string // which
	Stderr   string // the end of it, at most 4 KiB
}

func (e *CommandError) Error() string {
	how := fmt.Sprintf("exit status %d", e.ExitCode)
	if e.Signal != "" {
		how = "ended by signal " + e.Signal
	}
	if text := strings.TrimSpace(e.Stderr); text != "" {
		how += ": " + text
	}
	return fmt.Sprintf("run %q: %s", e.Line, how)
}

// stderrGrace is how long we wait for a daemon that the command left behind
// and that holds on to its stderr.
const stderrGrace = 2 * time.Second

// Start runs the command in a process group of its own. When ctx ends, the
// whole group is killed.
func (c Command) Start(ctx context.Context) (*Process, error) {
	p := &Process{line: c.Line, ctx: ctx, tail: &tail{next: c.Stderr}, cmd: exec.Command("sh", "-c", c.Line)}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = c.Dir, c.Env, p.tail
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = stderrGrace
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("run %q: %w", c.Line, err)
	}
	p.out = out
	p.stop = context.AfterFunc(ctx, p.kill)
	return p, nil
}

// kill ends the group, and our reading too: a process that left the group may
// hold the pipe open for ever.
func (p *Process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) // it may have ended just now
	}
	_ = p.out.Close() // it is read no more
}

func (p *Process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err == nil || n > 0 {
		return n, nil
	}
	if failed := p.finish(); failed != nil {
		return 0, failed
	}
	if ended := p.ctx.Err(); ended != nil {
		err = ended
	}
	if err != io.EOF {
		return 0, fmt.Errorf("run %q: %w", p.line, err)
	}
	return 0, io.EOF
}

// Wait reads and drops what is left of the output and returns how the command
// ended: nil, a *CommandError, or the error of the context.
func (p *Process) Wait() error {
	_, _ = io.Copy(io.Discard, p.out) // finish says how it ended
	return p.finish()
}

// Close kills the command if it still runs, and waits for its end.
func (p *Process) Close() error {
	p.kill()
	_ = p.finish() // we ended it ourselves
	return nil
}

func (p *Process) finish() error {
	p.wait.Do(func() {
		p.awaitExit()
		p.mu.Lock()
		p.reaped = true
		p.mu.Unlock()
		err := p.cmd.Wait()
		p.stop()
		p.err = p.explain(err)
	})
	return p.err
}

// awaitExit waits without reaping: as long as the process is a zombie, its
// number and its group's are nobody else's, and kill is safe.
func (p *Process) awaitExit() {
	_ = retry(func() error { // where it fails, Wait will say so
		return unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	})
}

func (p *Process) explain(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case p.ctx.Err() != nil:
		return fmt.Errorf("run %q: %w", p.line, context.Cause(p.ctx))
	case !errors.As(err, &exit):
		return fmt.Errorf("run %q: %w", p.line, err)
	}
	failed := &CommandError{Line: p.line, ExitCode: exit.ExitCode(), Stderr: p.tail.String()}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		failed.Signal = unix.SignalName(status.Signal())
	}
	return failed
}

// tailSize is how much of stderr is kept for a message.
const tailSize = 4 << 10

// A tail passes on what is written and keeps the end of it.
type tail struct {
	next io.Writer
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[max(0, len(b)-tailSize):]...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	if t.next == nil {
		return len(b), nil
	}
	return t.next.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
