// Command coffer keeps dated snapshots of directory trees and streams in an
// encrypted, deduplicating repository.
//
// This package is the only place that reads flags, the environment, the
// terminal and the clock. Each verb has a file of its own, which turns flags
// into the options of a package that does the work, and the report of that
// package into text or JSON. docs/exit-codes.md and docs/json.md say what
// scripts can count on.
package main

import (
	"context"
	"os"
)

func main() {
	tuneMemory(os.Getenv)
	useHugePages()
	ctx, stop := onSignals(context.Background(), os.Exit)
	code := newApp().run(ctx, os.Args)
	stop()
	os.Exit(code)
}
