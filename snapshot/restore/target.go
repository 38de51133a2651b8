package restore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"coffer/snapshot"
)

const (
	// markerName is a file in the target while a restore is unfinished.
	markerName = ".coffer-restore"
	// partialPrefix begins the names of items that are unfinished; the
	// restore's id follows.
	partialPrefix = ".coffer-partial-"
	markerMagic   = "coffer restore 1\n"
)

// A target is the directory that is restored to, and the state of a restore
// that it holds: a marker file with what is restored and the id in the names of
// partials. The marker is locked while a run works.
type target struct {
	path    string
	fd      int // -1 if there is none, in a dry run
	marker  int // descriptor, -1 if there is none
	made    bool
	empty   bool
	resumed bool
	id      string        // in the names of all partials of this restore
	prefix  string        // of the partials of this run
	mtime   snapshot.Time // before the marker was made
	umask   uint32
	gid     uint32          // that a new file in the target gets
	late    *snapshot.Entry // has the marker's name
}

// openTarget opens or makes the target. It changes nothing before it knows that
// the target is acceptable.
func openTarget(g goal, opt Options) (*target, error) {
	t := &target{path: g.target, fd: -1, marker: -1}
	err := t.openDir(opt)
	if err == nil && t.fd >= 0 {
		err = t.accept(g, opt)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// openDir follows symlinks: where the target is, is the user's decision.
func (t *target) openDir(opt Options) error {
	fd, err := openPath(t.path)
	if errors.Is(err, unix.ENOENT) {
		if t.made = true; opt.DryRun {
			return nil
		}
		if err := os.MkdirAll(t.path, 0o777); err != nil {
			return fmt.Errorf("make the target: %w", err)
		}
		fd, err = openPath(t.path)
	}
	if err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	t.fd = fd
	return nil
}

func openPath(path string) (int, error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// accept decides whether the target may be written to, and marks it.
func (t *target) accept(g goal, opt Options) error {
	names, err := readNames(t.fd, 2)
	if err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	t.empty = len(names) == 0
	old, err := t.readMarker(len(names) == 1)
	if err != nil {
		return err
	}
	t.resumed = old.matches(g)
	if !t.empty && !t.resumed && !opt.InPlace {
		return refusal(old)
	}
	if opt.DryRun {
		return nil
	}
	st, err := inode{fd: t.fd}.stat()
	if err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	t.mtime = timeOf(&st)
	return t.mark(g, old)
}

func refusal(old *state) error {
	if old != nil && old.id != "" {
		return fmt.Errorf("%w: it holds an unfinished restore of %q from another snapshot", ErrNotEmpty, old.at)
	}
	return ErrNotEmpty
}

// A state is what a marker says.
type state struct{ root, at, id string }

// matches reports whether a restore of g can go on from s. The empty state is of
// a run that ended while it wrote the marker, which is the first it does.
func (s *state) matches(g goal) bool {
	return s != nil && (*s == state{} || s.root == g.root.String() && s.at == g.at)
}

func (s *state) String() string {
	return fmt.Sprintf("%sroot %s\nat %q\nid %s\n", markerMagic, s.root, s.at, s.id)
}

func parseState(text string) *state {
	s := &state{}
	rest, ok := strings.CutPrefix(text, markerMagic)
	if !ok {
		return nil
	}
	if n, err := fmt.Sscanf(rest, "root %s\nat %q\nid %s\n", &s.root, &s.at, &s.id); n != 3 || err != nil {
		return nil
	}
	if strings.Contains(s.id, "/") {
		return nil
	}
	return s
}

// readMarker returns nil if there is no marker, or a user's file of its name. An
// empty one counts if it is alone.
func (t *target) readMarker(alone bool) (*state, error) {
	fd, err := openat(t.fd, markerName, unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil // whatever it is, it is no marker of ours
	}
	text := make([]byte, 16<<10)
	n, err := pread(fd, text, 0)
	st, statErr := inode{fd: fd}.stat()
	if err != nil || statErr != nil || snapshot.TypeOf(st.Mode) != snapshot.File || st.Nlink != 1 {
		_ = unix.Close(fd)
		return nil, nil
	}
	s := parseState(string(text[:n]))
	if n == 0 && alone {
		s = &state{}
	}
	if s == nil {
		_ = unix.Close(fd)
		return nil, nil
	}
	t.marker = fd
	return s, t.lock()
}

func (t *target) lock() error {
	err := unix.Flock(t.marker, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrBusy
	}
	return nil // a file system without locks is no reason to refuse
}

// mark writes the marker, over the one of a run that is continued.
func (t *target) mark(g goal, old *state) error {
	s := state{root: g.root.String(), at: g.at, id: rand.Text()[:8]}
	if old != nil && old.id != "" {
		s.id = old.id
	}
	t.id = partialPrefix + s.id + "-"
	t.prefix = t.id + rand.Text()[:6] + "-"
	err := t.openMarker()
	if errors.Is(err, unix.EPERM) && !g.whole() && clearFlags(inode{fd: t.fd}) == nil {
		err = t.openMarker() // the flags are among what is restored
	}
	if err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	if t.marker < 0 {
		return nil
	}
	text := s.String()
	if err := pwrite(t.marker, []byte(text), 0); err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	if err := unix.Ftruncate(t.marker, int64(len(text))); err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	return nil
}

// openMarker makes the marker if there is none. What the system gives a new
// file, it will give those of the restore.
func (t *target) openMarker() error {
	umask, err := t.probe()
	if err != nil || t.marker >= 0 {
		t.umask = umask
		return err
	}
	t.umask = umask
	t.marker, err = openat(t.fd, markerName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// A user's file has the name, in place: go on without a marker.
		t.marker = -1
		return nil
	}
	if err != nil {
		return err
	}
	return t.lock()
}

// probe finds the umask and the group of new files by making one that has no
// name.
func (t *target) probe() (umask uint32, err error) {
	fd, err := openat(t.fd, ".", unix.O_TMPFILE|unix.O_RDWR, 0o777)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
	} else if fd, err = t.namedProbe(); err == nil {
		defer func() { _ = unix.Close(fd) }()
	} else {
		return 0, err
	}
	st, err := inode{fd: fd}.stat()
	t.gid = st.Gid
	return 0o777 &^ st.Mode & 0o777, err
}

func (t *target) namedProbe() (int, error) {
	name := t.prefix + "0"
	fd, err := openat(t.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o777)
	if err == nil {
		err = unix.Unlinkat(t.fd, name, 0)
	}
	return fd, err
}

// unmark removes the marker when all is done.
func (t *target) unmark() error {
	if t.marker < 0 {
		return nil
	}
	if err := unix.Unlinkat(t.fd, markerName, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the marker of the unfinished restore: %w", err)
	}
	return nil
}

func (t *target) close() {
	for _, fd := range []int{t.marker, t.fd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
