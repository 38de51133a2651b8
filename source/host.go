package source

import (
	"hash/fnv"
	"os/user"
	"strconv"
	"sync"
)

// A Host is what all roots of one snapshot share: the numbers of file systems,
// so that hard links between two roots are found and equal inode numbers of
// two disks are not mistaken for links, and the names of users and groups.
//
// File systems are numbered so that neither parallel reading nor a reboot
// changes a number. The file systems of the roots get 0, 1, 2, ... in the order
// in which they are opened. Any other is found by crossing into it below a
// root, and its number is a hash of the path where that happens, with the high
// bit set. An ordinal in order of discovery would depend on which goroutine is
// faster, and one by sorted mount points would change for all that come after
// a new mount. The price: one file system mounted at two places below a root
// counts as two.
type Host struct {
	mu      sync.RWMutex
	roots   map[uint64]uint32 // st_dev of the roots
	crossed map[string]uint32
	owner   map[uint32]string // the key that holds a number
	users   map[uint32]string
	groups  map[uint32]string
}

// NewHost returns a Host that knows nothing yet.
func NewHost() *Host {
	return &Host{
		roots: map[uint64]uint32{}, crossed: map[string]uint32{}, owner: map[uint32]string{},
		users: map[uint32]string{}, groups: map[uint32]string{},
	}
}

// addRoot numbers the file system of a root.
func (h *Host) addRoot(dev uint64) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, known := h.roots[dev]
	if !known {
		n = uint32(len(h.roots))
		h.roots[dev] = n
	}
	return n
}

// rootNumber is the number of dev if a root is on it.
func (h *Host) rootNumber(dev uint64) (uint32, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n, ok := h.roots[dev]
	return n, ok
}

// numberAbove is the number of a directory above a root.
func (h *Host) numberAbove(dev uint64, path string) uint32 {
	if n, ok := h.rootNumber(dev); ok {
		return n
	}
	return h.number(path + "/")
}

const crossing = 1 << 31 // set in the numbers of file systems without a root

// number returns the number that belongs to key. Two keys never share one:
// where hashes collide, which one moves on depends on who came first, but a
// wrong hard link would be worse than a number that changes.
func (h *Host) number(key string) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n, known := h.crossed[key]; known {
		return n
	}
	n := hash32(key) | crossing
	for h.owner[n] != "" {
		n = (n + 1) | crossing
	}
	h.owner[n], h.crossed[key] = key, n
	return n
}

func hash32(key string) uint32 {
	sum := fnv.New32a()
	sum.Write([]byte(key))
	return sum.Sum32()
}

// userName returns "" where the system knows no name.
func (h *Host) userName(id uint32) string {
	return h.name(h.users, id, func(id string) string {
		if u, err := user.LookupId(id); err == nil {
			return u.Username
		}
		return ""
	})
}

func (h *Host) groupName(id uint32) string {
	return h.name(h.groups, id, func(id string) string {
		if g, err := user.LookupGroupId(id); err == nil {
			return g.Name
		}
		return ""
	})
}

// name looks outside the lock: a directory server may take its time.
func (h *Host) name(known map[uint32]string, id uint32, look func(string) string) string {
	h.mu.RLock()
	name, ok := known[id]
	h.mu.RUnlock()
	if ok {
		return name
	}
	name = look(strconv.FormatUint(uint64(id), 10))
	h.mu.Lock()
	defer h.mu.Unlock()
	known[id] = name
	return name
}
