package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/snapshot"
	"coffer/snapshot/capture"
	"coffer/store"
)

func (a *app) backupVerb() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Aliases:   []string{"push"},
		Usage:     "make a snapshot of directories, files and streams",
		UsageText: "coffer backup [flags] PATH...",
		Description: `Makes one snapshot of all sources together. What the repository has already is not stored again, and
files that have not changed since the last snapshot of the same host and name are not read again.

The snapshot counts as good if every source was read. If single items could not be read, they are named,
the rest is saved, and the exit code is 3. If a whole source is missing or a command fails, the rest is
saved as an incomplete snapshot, which 'latest' never means, and the exit code is 1.

Patterns are those of gitignore and rsync: "*.o" at any depth, "/tmp/*" from the top or as an absolute
path, "cache/" only directories, "**" for any directories, "!keep.o" takes in again; the last pattern
that fits decides.

Examples:
  coffer backup /home /etc
  coffer backup /srv --exclude '*.tmp' --exclude-caches --one-file-system --tag nightly
  coffer backup /home/anna --as documents=/mnt/nas/documents --name laptop
  pg_dump shop | coffer backup --stdin shop.sql
  coffer backup /var/www --command 'shop.sql=pg_dump shop' --skip-if-unchanged
  find /data -newer stamp -print0 | coffer backup --files-from0 -`,
		Flags:  backupFlags(),
		Action: a.runBackup,
	}
}

func (a *app) runBackup(c *cli.Context) error {
	opt, err := a.backupOptions(c)
	if err != nil {
		return err
	}
	opt.Avoid = a.repositoryItself()
	return a.withStore(c, func(ctx context.Context, st *store.Store) error {
		p, err := a.backupProgress(ctx, st, &opt)
		if err != nil {
			return err
		}
		rep, err := capture.Run(ctx, st, opt)
		p.stop()
		if err != nil {
			return a.backupError(rep, err)
		}
		err = a.backupDone(rep, opt.DryRun)
		if !opt.DryRun {
			a.forgetIncomplete(ctx, st, rep.Snapshot)
			a.tidy(ctx, c, st)
		}
		return err
	})
}

// forgetIncomplete forgets the incomplete snapshots that a good one has made
// superfluous: what checkpoints and interrupted runs of the same sources left.
// Those that are held or bear tags of their own stay.
func (a *app) forgetIncomplete(ctx context.Context, st *store.Store, good snapshot.Snapshot) {
	if good.ID == "" || good.State == snapshot.Incomplete {
		return
	}
	all, err := a.presentSnapshots(ctx, st)
	var commits []string
	for _, s := range all {
		if s.State == snapshot.Incomplete && s.Host == good.Host && s.Name == good.Name && s.Sequence < good.Sequence &&
			len(s.Holds) == 0 && within(s.Tags, good.Tags) && within(sourcesOf(s), sourcesOf(good)) {
			commits = append(commits, s.Records...)
		}
	}
	if err == nil && len(commits) > 0 {
		a.say("Forgotten: %s of earlier runs, which this one replaces.", count(len(commits), "incomplete snapshot", "incomplete snapshots"))
		err = st.Forget(ctx, commits)
	}
	if err != nil && ctx.Err() == nil {
		a.warn("", "the snapshot is made, but the incomplete ones before it could not be forgotten: "+plainText(err))
	}
}

// within reports whether all of some are among others.
func within(some, others []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(others, s) })
}

// repositoryItself keeps a backup from storing what it is just writing.
func (a *app) repositoryItself() map[string]string {
	dir, err := a.repoPath()
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil // opening it says what is wrong
	}
	avoid := map[string]string{dir: "it is the repository"}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		avoid[real] = avoid[dir]
	}
	return avoid
}

// backupProgress hooks progress and --verbose into the capture. How much there
// is to do is guessed from the last snapshot.
func (a *app) backupProgress(ctx context.Context, st *store.Store, opt *capture.Options) (*progress, error) {
	if (a.quiet || a.json || a.noProgress) && !a.verbose {
		return nil, nil
	}
	all, err := a.presentSnapshots(ctx, st)
	if err != nil {
		return nil, err
	}
	var guess int64
	if last, _, err := snapshot.Select(all, "latest", snapshot.Filter{Host: opt.Host, Name: opt.Name}); err == nil {
		guess = last.Bytes
	}
	p := a.startProgress("files", guess)
	opt.Event = func(e capture.Event) {
		p.addBytes(e.Bytes)
		if e.Action == capture.New || e.Action == capture.Changed || e.Action == capture.Unmodified {
			p.addItem()
		}
		a.tellEvent(e)
	}
	return p, nil
}

// tellEvent names an item for --verbose.
func (a *app) tellEvent(e capture.Event) {
	if e.Action == capture.Again {
		a.warn("", e.Err.Error())
	}
	if !a.verbose {
		return
	}
	switch e.Action {
	case capture.New:
		a.note("new        %s", printable(e.Path))
	case capture.Changed:
		a.note("changed    %s", printable(e.Path))
	}
}

// backupError words the errors that a backup can end with.
func (a *app) backupError(rep capture.Report, err error) error {
	a.interrupt = "; no snapshot was made, and running the backup again starts afresh"
	if rep.Snapshot.ID != "" {
		a.interrupt = "; what was read is kept as incomplete snapshot " + shortID(rep.Snapshot.ID) +
			", and the next backup goes on from there"
	}
	switch {
	case errors.Is(err, capture.ErrOptions):
		return usageError("%s", err.Error())
	case errors.Is(err, capture.ErrNothing):
		why := strings.TrimPrefix(err.Error(), capture.ErrNothing.Error()+": ")
		return failure("nothing was saved: %s%w", strings.ReplaceAll(why, "\n", "; "), silent{err})
	}
	return err
}

// backupDone prints the result and says with its error what was not saved.
func (a *app) backupDone(rep capture.Report, dry bool) error {
	if !rep.Unchanged {
		a.showWarnings(rep.Snapshot)
	}
	if err := a.showBackup(rep, dry); err != nil {
		return err
	}
	if rep.Unchanged {
		return nil
	}
	return backupVerdict(rep.Snapshot)
}

// showWarnings prints what the manifest keeps of warnings.
func (a *app) showWarnings(s snapshot.Snapshot) {
	for _, w := range s.Warnings {
		text := w.Text
		if w.Item {
			text = "not saved, or not as it is: " + text
		}
		a.warn(w.Path, text)
	}
	if more := int64(s.Warned) - int64(len(s.Warnings)); more > 0 {
		a.warn("", count(more, "more warning is", "more warnings are")+" not shown")
	}
}

// backupVerdict is nil for a snapshot that is good without reserve.
func backupVerdict(s snapshot.Snapshot) error {
	var failed []string
	for _, src := range s.Sources {
		if src.Error != "" {
			failed = append(failed, printable(src.Spec)+": "+strings.TrimSpace(src.Error))
		}
	}
	if len(failed) > 0 {
		return failure("%d of %s could not be saved (%s); the rest is kept as an incomplete snapshot: mend this and run the backup again",
			len(failed), count(len(s.Sources), "source", "sources"), strings.Join(failed, "; "))
	}
	if s.Errors > 0 {
		return itemProblems("%s not saved, or not as it is; everything else is in the snapshot: see the warnings",
			count(s.Errors, "item was", "items were"))
	}
	return nil
}

// backupReport is what --json prints.
type backupReport struct {
	Snapshot   *snapshotJSON `json:"snapshot"` // null for a dry run
	DryRun     bool          `json:"dry_run"`
	Unchanged  bool          `json:"unchanged"`
	New        int64         `json:"files_new"`
	Changed    int64         `json:"files_changed"`
	Unmodified int64         `json:"files_unmodified"`
	Dirs       int64         `json:"directories"`
	Files      uint64        `json:"files"`
	Bytes      int64         `json:"bytes"`
	NewBytes   int64         `json:"bytes_new"`
	Stored     int64         `json:"bytes_stored"`
	Errors     uint64        `json:"errors"`
	Warnings   uint64        `json:"warnings"`
	Seconds    float64       `json:"seconds"`
}

func (a *app) showBackup(rep capture.Report, dry bool) error {
	s := rep.Snapshot
	if a.json {
		doc := backupReport{DryRun: dry, Unchanged: rep.Unchanged, New: rep.New, Changed: rep.Changed,
			Unmodified: rep.Unmodified, Dirs: rep.Dirs, Files: s.Files, Bytes: s.Bytes, NewBytes: s.NewBytes,
			Stored: s.Stored, Errors: s.Errors, Warnings: s.Warned, Seconds: rep.Elapsed.Seconds()}
		if s.ID != "" {
			doc.Snapshot = a.snapshotJSON(s)
		}
		return a.printJSON(doc)
	}
	a.say("Files:    %d new, %d changed, %d unmodified in %s", rep.New, rep.Changed, rep.Unmodified,
		count(rep.Dirs, "directory", "directories"))
	if rep.Unchanged {
		a.say("Nothing has changed since snapshot %s: no new one was made.", shortID(s.ID))
		return nil
	}
	a.say("Size:     %s; new to the repository: %s", size(s.Bytes), size(s.NewBytes))
	if dry {
		a.say("This was a dry run, which took %s: nothing was saved.", elapsed(rep.Elapsed))
		return nil
	}
	a.say("Stored:   %s more in the repository, in %s", size(s.Stored), elapsed(rep.Elapsed))
	a.say("Snapshot: %s%s", shortID(s.ID), stateNote(s.State))
	return nil
}
