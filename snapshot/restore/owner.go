package restore

import (
	"os"
	"os/user"
	"strconv"
	"sync"

	"coffer/snapshot"
)

// owners decides who gets what is restored.
type owners struct {
	root   bool // we are
	uid    uint32
	none   bool
	byName bool
	mu     sync.Mutex
	users  map[string]uint32
	groups map[string]uint32
}

func newOwners(opt Options) *owners {
	return &owners{
		root: os.Geteuid() == 0, uid: uint32(os.Geteuid()),
		none: opt.NoOwner, byName: opt.OwnerByName,
		users: make(map[string]uint32), groups: make(map[string]uint32),
	}
}

// want returns the owner and group that e should have, where it has these.
func (o *owners) want(e *snapshot.Entry, uid, gid uint32) (uint32, uint32) {
	if o.none {
		return uid, gid
	}
	if !o.byName {
		return e.UID, e.GID
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return find(o.users, e.User, e.UID, userID), find(o.groups, e.Group, e.GID, groupID)
}

// find returns the number of a name, or the number as recorded if this machine
// does not know the name.
func find(known map[string]uint32, name string, number uint32, look func(string) (string, error)) uint32 {
	if name == "" {
		return number
	}
	if id, ok := known[name]; ok {
		return id
	}
	text, err := look(name)
	id, numErr := strconv.ParseUint(text, 10, 32)
	if err != nil || numErr != nil {
		return number // not remembered: another entry may have another number
	}
	known[name] = uint32(id)
	return uint32(id)
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}
