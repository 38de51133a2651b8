package restore

import (
	"sync"

	"golang.org/x/sys/unix"
)

// maxFDs is how many descriptors of directories and unfinished files are kept
// open. More gains nothing: files are small and finished at once, and a
// directory is needed again within a few hundred files or not at all.
const maxFDs = 512

// An opener opens what a handle stands for, again whenever it has been closed
// to make room.
type opener interface {
	open() (int, error)
	evicted(fd int) // called before fd is closed to make room
}

// A handle is a descriptor that is opened when needed and may be closed
// whenever nobody uses it. The zero handle is closed.
type handle struct {
	opening    sync.Mutex
	fd         int // valid if isOpen
	isOpen     bool
	users      int
	prev, next *handle // in the ring of idle handles
	what       opener
}

// An fdCache opens handles and closes those that were idle longest.
type fdCache struct {
	mu   sync.Mutex
	open int
	max  int
	idle handle // sentinel of the ring: next is the newest
}

func newFDCache() *fdCache {
	c := &fdCache{max: fdLimit()}
	c.idle.next, c.idle.prev = &c.idle, &c.idle
	return c
}

// fdLimit leaves at least half of what the process may open to others.
func fdLimit() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur/2 >= maxFDs {
		return maxFDs
	}
	return max(int(lim.Cur/2), 8)
}

// acquire returns the open descriptor of h, which stays open until release.
func (c *fdCache) acquire(h *handle) (int, error) {
	if fd, ok := c.use(h); ok {
		return fd, nil
	}
	h.opening.Lock()
	defer h.opening.Unlock()
	if fd, ok := c.use(h); ok {
		return fd, nil
	}
	fd, err := h.what.open()
	if err != nil {
		return -1, err
	}
	c.opened(h, fd)
	return fd, nil
}

func (c *fdCache) use(h *handle) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !h.isOpen {
		return -1, false
	}
	h.unlink()
	h.users++
	return h.fd, true
}

func (c *fdCache) opened(h *handle, fd int) {
	c.mu.Lock()
	h.fd, h.isOpen, h.users = fd, true, 1
	c.open++
	old := c.surplus()
	c.mu.Unlock()
	closeFD(old)
}

// surplus takes the handle that was idle longest out of the cache if there are
// too many, and returns its descriptor for closing, or -1.
func (c *fdCache) surplus() int {
	if c.open <= c.max || c.idle.prev == &c.idle {
		return -1
	}
	return c.forget(c.idle.prev)
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // nothing is written at close that syncfs does not report
	}
}

// forget takes the idle handle h out of the cache; the caller closes its
// descriptor.
func (c *fdCache) forget(h *handle) int {
	h.unlink()
	h.what.evicted(h.fd)
	h.isOpen = false
	c.open--
	return h.fd
}

func (c *fdCache) release(h *handle) {
	c.mu.Lock()
	old := -1
	if h.users--; h.users == 0 {
		h.prev, h.next = &c.idle, c.idle.next
		h.prev.next, h.next.prev = h, h
		old = c.surplus()
	}
	c.mu.Unlock()
	closeFD(old)
}

// drop closes h, which nobody must be using.
func (c *fdCache) drop(h *handle) {
	c.mu.Lock()
	isOpen, fd := h.isOpen, h.fd
	if isOpen {
		h.unlink()
		h.isOpen = false
		c.open--
	}
	c.mu.Unlock()
	if isOpen {
		_ = unix.Close(fd)
	}
}

// closeAll closes what is idle, at the end of a run.
func (c *fdCache) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.idle.prev != &c.idle {
		_ = unix.Close(c.forget(c.idle.prev))
	}
}

func (h *handle) unlink() {
	if h.next != nil {
		h.prev.next, h.next.prev = h.next, h.prev
		h.prev, h.next = nil, nil
	}
}
