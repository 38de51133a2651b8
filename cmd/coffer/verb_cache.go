package main

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func (a *app) cacheVerb() *cli.Command {
	plain := func(name, usage, text string, run cli.ActionFunc) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, UsageText: text, Action: run,
			Description: "Examples:\n  " + text}
	}
	return &cli.Command{
		Name:      "cache",
		Usage:     "look at the local caches, limit or delete them",
		UsageText: "coffer cache size | limit [SIZE|none] | clean | path",
		Description: `Caches make large repositories fast. Nothing is lost with them: a cache that is missing is made again.

Examples:
  coffer cache size
  coffer cache limit 2G
  coffer cache clean`,
		Subcommands: []*cli.Command{
			plain("size", "show how large the caches are", "coffer cache size", a.runCacheSize),
			{Name: "limit", Usage: "show or set how large the caches may be", UsageText: "coffer cache limit [SIZE|none]",
				Description: `Sets how large all caches together may be. Where they are larger after a command, those that were not
used for the longest time are deleted; the one that was just used stays.

Examples:
  coffer cache limit
  coffer cache limit 2G
  coffer cache limit none`, Action: a.runCacheLimit},
			plain("clean", "delete all caches that are not in use", "coffer cache clean", a.runCacheClean),
			plain("path", "show where the caches are", "coffer cache path", a.runCachePath),
		},
	}
}

func (a *app) runCacheSize(c *cli.Context) error {
	dir, err := a.needCacheDir(c)
	if err == nil {
		err = wantArgs(c, 0, 0, "no arguments")
	}
	if err != nil {
		return err
	}
	list, err := caches(dir)
	if err != nil {
		return err
	}
	limit, err := readLimit(dir)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Path   string      `json:"path"`
			Bytes  int64       `json:"bytes"`
			Limit  int64       `json:"limit"`
			Caches []repoCache `json:"caches"`
		}{dir, total(list), limit, append([]repoCache{}, list...)})
	}
	t := a.table("REPOSITORY", "SIZE", "LAST USED (UTC)")
	for _, rc := range list {
		t.row(shortID(rc.ID), size(rc.Bytes), rc.Used.Format(time.DateTime))
	}
	t.row("all", size(total(list)), limitText(limit))
	return t.flush()
}

func limitText(limit int64) string {
	if limit == 0 {
		return "(no limit)"
	}
	return "(limit " + size(limit) + ")"
}

func (a *app) runCacheLimit(c *cli.Context) error {
	dir, err := a.needCacheDir(c)
	if err == nil {
		err = wantArgs(c, 0, 1, "one size at most")
	}
	if err == nil && c.NArg() == 1 {
		err = setLimit(dir, c.Args().First())
	}
	if err != nil {
		return err
	}
	limit, err := readLimit(dir)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Limit int64 `json:"limit"`
		}{limit})
	}
	a.say("%s", strings.Trim(limitText(limit), "()"))
	return a.keepCacheLimit(c)
}

func (a *app) runCacheClean(c *cli.Context) error {
	dir, err := a.needCacheDir(c)
	if err == nil {
		err = wantArgs(c, 0, 0, "no arguments")
	}
	if err != nil {
		return err
	}
	list, err := caches(dir)
	if err != nil {
		return err
	}
	var freed int64
	for _, rc := range list {
		removed, err := rc.remove()
		if err != nil {
			return err
		}
		if !removed {
			a.warn("", "the cache of repository "+shortID(rc.ID)+" is in use and stays")
			continue
		}
		freed += rc.Bytes
	}
	if a.json {
		return a.printJSON(struct {
			Freed int64 `json:"bytes_freed"`
		}{freed})
	}
	a.say("Freed %s.", size(freed))
	return nil
}

func (a *app) runCachePath(c *cli.Context) error {
	dir, err := a.needCacheDir(c)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Path string `json:"path"`
		}{dir})
	}
	a.say("%s", dir)
	return nil
}
