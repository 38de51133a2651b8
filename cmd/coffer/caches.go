package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"coffer/source"
)

// A cache directory holds one directory for each repository, named by its id,
// and the file limit. All of it may be deleted at any moment.

const limitFile = "limit"

// cacheDir is where caches are kept; "" for nowhere.
func (a *app) cacheDir(c *cli.Context) (string, error) {
	if c.Bool("no-cache") {
		return "", nil
	}
	if dir := c.String("cache-dir"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "coffer"), nil
	}
	if home := a.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "coffer"), nil
	}
	return "", nil
}

func (a *app) needCacheDir(c *cli.Context) (string, error) {
	dir, err := a.cacheDir(c)
	if err == nil && dir == "" {
		err = usageError("there is no directory for caches: give --cache-dir, or set HOME")
	}
	return dir, err
}

// A repoCache is the cache of one repository.
type repoCache struct {
	ID    string    `json:"repository"`
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"used"`
	dir   string
}

// caches lists the caches in dir, those used last first.
func caches(dir string) ([]repoCache, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	isID := regexp.MustCompile("^[0-9a-f]{32}$")
	list := []repoCache{}
	for _, e := range entries {
		if !e.IsDir() || !isID.MatchString(e.Name()) {
			continue
		}
		rc := repoCache{ID: e.Name(), dir: filepath.Join(dir, e.Name())}
		if err := rc.measure(); err != nil {
			return nil, err
		}
		list = append(list, rc)
	}
	slices.SortFunc(list, func(x, y repoCache) int { return cmp.Or(y.Used.Compare(x.Used), cmp.Compare(x.ID, y.ID)) })
	return list, nil
}

// measure adds up the files; some may vanish meanwhile.
func (rc *repoCache) measure() error {
	return filepath.WalkDir(rc.dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if info.ModTime().After(rc.Used) {
			rc.Used = info.ModTime().UTC()
		}
		if info.Mode().IsRegular() {
			rc.Bytes += allocated(info)
		}
		return nil
	})
}

// allocated is what a file takes of the disk: the index reserves large files
// that are mostly holes.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// remove deletes a cache, unless a process has its index open: that process
// holds a lock on the directory.
func (rc repoCache) remove() (removed bool, err error) {
	fd, err := unix.Open(filepath.Join(rc.dir, "index"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer func() { _ = unix.Close(fd) }() // it was only locked
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
			return false, nil
		}
	}
	return true, os.RemoveAll(rc.dir)
}

func total(list []repoCache) (n int64) {
	for _, rc := range list {
		n += rc.Bytes
	}
	return n
}

// readLimit returns the limit that was set, or 0.
func readLimit(dir string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, limitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || n < 0 {
		return 0, usageError("the file %s has no number in it: set it with 'coffer cache limit'", filepath.Join(dir, limitFile))
	}
	return n, nil
}

// keepCacheLimit deletes old caches after a command.
func (a *app) keepCacheLimit(c *cli.Context) error {
	dir, err := a.cacheDir(c)
	if err != nil || dir == "" {
		return err
	}
	limit, err := readLimit(dir)
	if err != nil || limit == 0 {
		return err
	}
	list, err := caches(dir)
	if err != nil {
		return err
	}
	for sum := total(list); sum > limit && len(list) > 1; list = list[:len(list)-1] {
		oldest := list[len(list)-1]
		if removed, err := oldest.remove(); err != nil {
			return err
		} else if removed {
			sum -= oldest.Bytes
		}
	}
	return nil
}

func setLimit(dir, text string) error {
	var n int64
	if text != "none" {
		var err error
		if n, err = source.ParseSize(text); err != nil {
			return usageError("%w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(n, 10)+"\n"), 0o600)
}
