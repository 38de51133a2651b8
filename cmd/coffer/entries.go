package main

import (
	"fmt"
	"path"

	"coffer/snapshot"
)

// entryJSON is an item of a snapshot for programs.
type entryJSON struct {
	Snapshot string `json:"snapshot,omitempty"`
	jsonPath
	Type         string `json:"type"`
	Mode         string `json:"mode"`
	UID          uint32 `json:"uid"`
	GID          uint32 `json:"gid"`
	User         string `json:"user,omitempty"`
	Group        string `json:"group,omitempty"`
	Size         int64  `json:"size"`
	MTime        string `json:"mtime"`
	CTime        string `json:"ctime,omitempty"`
	Inode        uint64 `json:"inode,omitempty"`
	Links        uint32 `json:"links,omitempty"`
	Target       string `json:"target,omitempty"`
	TargetBase64 string `json:"target_base64,omitempty"`
	Device       string `json:"device,omitempty"`
	Items        uint64 `json:"items,omitempty"`
}

func newEntryJSON(p string, e *snapshot.Entry) *entryJSON {
	j := &entryJSON{jsonPath: newPath(p), Type: typeName(e.Type), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID,
		User: e.User, Group: e.Group, Size: e.Size, MTime: jsonTime(e.MTime), CTime: jsonTime(e.CTime), Inode: e.Inode,
		Links: e.Links, Items: e.Items}
	j.Target, j.TargetBase64 = textAndBytes(e.Target)
	if isDevice(e) {
		j.Device = device(e)
	}
	return j
}

func isDevice(e *snapshot.Entry) bool { return e.Type == snapshot.Block || e.Type == snapshot.Char }

func device(e *snapshot.Entry) string { return fmt.Sprintf("%d:%d", e.Major, e.Minor) }

func typeName(t snapshot.Type) string {
	names := [...]string{"", "file", "dir", "symlink", "block", "char", "fifo", "socket"}
	if int(t) >= len(names) {
		return "unknown"
	}
	return names[t]
}

// longLine is what ls -l prints of an item.
func (a *app) longLine(p string, e *snapshot.Entry) string {
	what := size(e.Size)
	if isDevice(e) {
		what = device(e)
	}
	line := fmt.Sprintf("%s %-8s %-8s %10s %s %s", e.FileMode(), owner(e.User, e.UID), owner(e.Group, e.GID), what,
		minute(e.MTime), a.name(p))
	if e.Type == snapshot.Symlink {
		line += " -> " + a.name(e.Target)
	}
	return line
}

func owner(name string, id uint32) string {
	if name == "" {
		return fmt.Sprint(id)
	}
	return printable(name)
}

// join is path.Join for names of any bytes; dir is clean.
func join(dir, name string) string { return path.Join(dir, name) }
