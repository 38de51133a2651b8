package source

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// keepOpen is how many levels a walk has open above it. Every keepOpen-th level
// is never parked, so coming back up never opens more than keepOpen
// directories: 5,000 levels cost 64 + 78 descriptors.
const keepOpen = 64

// acquire returns the descriptor, which stays good until release.
func (h *DirHandle) acquire() (int, error) {
	for {
		h.mu.RLock()
		if h.fd >= 0 {
			return h.fd, nil
		}
		h.mu.RUnlock()
		if err := h.unpark(); err != nil {
			return -1, err
		}
	}
}

func (h *DirHandle) release() { h.mu.RUnlock() }

func (h *DirHandle) unpark() (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	if h.fd < 0 {
		h.fd, err = h.reopen()
	}
	return err
}

// reopen opens the directory anew through its parent and makes sure that it is
// the same one.
func (h *DirHandle) reopen() (int, error) {
	if h.parent == nil {
		return -1, os.ErrClosed
	}
	pfd, done, err := h.parent.lend()
	if err != nil {
		return -1, err
	}
	defer done()
	var st unix.Stat_t
	fd, err := openDirAt(pfd, h.name, &st)
	if err != nil {
		return -1, err
	}
	if uint64(st.Dev) != h.dev || st.Ino != h.ino {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: another directory", ErrReplaced)
	}
	return fd, nil
}

// lend is acquire for a child that reopens itself. The caller may have closed
// this handle meanwhile: then the descriptor lives only until done.
func (h *DirHandle) lend() (fd int, done func(), err error) {
	fd, err = h.acquire()
	if err == nil {
		return fd, h.release, nil
	}
	if err != os.ErrClosed {
		return -1, nil, err
	}
	fd, err = h.reopen()
	return fd, func() { unix.Close(fd) }, err
}

// parkAncestor closes the descriptor of the directory keepOpen levels up.
func (h *DirHandle) parkAncestor() {
	if h.depth <= keepOpen || (h.depth-keepOpen)%keepOpen == 0 {
		return
	}
	up := h
	for range keepOpen {
		up = up.parent
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	up.closeFd()
}

// closeFd is called with the lock held.
func (h *DirHandle) closeFd() error {
	if h.fd < 0 {
		return nil
	}
	fd := h.fd
	h.fd = -1
	return unix.Close(fd)
}
