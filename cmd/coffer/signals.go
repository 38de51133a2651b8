package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// An interrupted is why the context ended: somebody wants the command to stop.
type interrupted struct{ sig syscall.Signal }

func (i interrupted) Error() string {
	if i.sig == syscall.SIGTERM {
		return "ended by SIGTERM"
	}
	return "interrupted"
}

// code is what a shell reports for a program that a signal ended.
func (i interrupted) code() int { return 128 + int(i.sig) }

// onSignals returns a context that ends with the first SIGINT, SIGTERM or
// SIGHUP. With the second the program exits at once.
func onSignals(parent context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(c, syscall.SIGHUP)
	}
	go func() {
		for s := range c {
			why := interrupted{s.(syscall.Signal)}
			if ctx.Err() != nil {
				exit(why.code())
			}
			cancel(why)
		}
	}()
	return ctx, func() { signal.Stop(c); cancel(nil) }
}

// interruption returns the signal that ended ctx, if one did.
func interruption(ctx context.Context) (interrupted, bool) {
	var i interrupted
	ok := errors.As(context.Cause(ctx), &i)
	return i, ok
}
