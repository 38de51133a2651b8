package restore

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/chunk"
	"coffer/snapshot"
	"coffer/snapshot/snapshottest"
)

const asUser = "COFFER_TEST_AS_USER"

// An ordinary user gets what he can make, and a report of the rest.
func TestAsOrdinaryUser(t *testing.T) {
	if target := os.Getenv(asUser); target != "" {
		restoreAsUser(t, target)
		return
	}
	needRoot(t)
	dir, err := os.MkdirTemp("", "coffer-user-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o777))
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAsOrdinaryUser$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asUser+"="+dir+"/target")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54322}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as a user: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestAsOrdinaryUser") {
		t.Fatalf("as a user:\n%s", out)
	}
}

func userTree(t *testing.T, mem *snapshottest.Mem) chunk.ID {
	t.Helper()
	k := taker{t: t, mem: mem}
	id, err := mem.Save(context.Background(), chunk.Data, []byte("data"))
	must(t, err)
	content := []snapshot.Ref{{ID: id, Length: 4}}
	mine := func(name string, typ snapshot.Type, mode uint32) *snapshot.Entry {
		return &snapshot.Entry{Name: name, Type: typ, Mode: mode, UID: 54321, GID: 54322, MTime: snapshot.Time{Sec: 1}}
	}
	file := func(name string, mode uint32) *snapshot.Entry {
		e := mine(name, snapshot.File, mode)
		e.Size, e.Content = 4, content
		return e
	}
	linked := func(name string) *snapshot.Entry {
		e := file(name, 0o400)
		e.LinkGroup, e.Links = "g", 3
		return e
	}
	attr := func(e *snapshot.Entry, name string) *snapshot.Entry {
		e.Xattrs = []snapshot.Xattr{{Name: []byte(name), Value: []byte("v")}}
		return e
	}
	closed, readonly := mine("closed", snapshot.Dir, 0), mine("readonly", snapshot.Dir, 0o555)
	closed.Tree = k.listing([]*snapshot.Entry{linked("first"), file("in", 0)})
	readonly.Tree = k.listing([]*snapshot.Entry{file("in", 0o444), linked("second")})
	device, flagged, roots := mine("device", snapshot.Char, 0o600), file("flagged", 0o600), file("roots", 0o6755)
	device.Major, device.Minor, flagged.Flags = 1, 3, flagImmutable
	roots.UID, roots.GID = 0, 0
	link := mine("symlink", snapshot.Symlink, 0o777)
	link.Target = "closed"
	return k.listing([]*snapshot.Entry{
		closed, device, flagged, mine("pipe", snapshot.Fifo, 0o4600), attr(file("plain", 0o444), "user.x"), readonly,
		roots, linked("second"), file("setuid", 0o4755), mine("socket", snapshot.Socket, 0o700), link,
		attr(file("trusted", 0o600), "trusted.x"),
	})
}

func restoreAsUser(t *testing.T, target string) {
	var mem snapshottest.Mem
	root := userTree(t, &mem)
	for round := range 2 { // the second one finds directories that it can not write to
		rep, err := Run(context.Background(), &mem, root, "/", target, Options{InPlace: round > 0})
		must(t, err)
		found := make(map[string]string)
		for _, p := range rep.Problems {
			found[p.Path] += p.What + ";"
		}
		sameTree(t, found, map[string]string{
			"/device": "restore;", "/flagged": "flags;", "/roots": "owner;", "/trusted": "xattr trusted.x;",
		})
		for name, mode := range map[string]uint32{
			"closed": 0, "readonly": 0o555, "roots": 0o755, "setuid": 0o4755, "pipe": 0o4600, "plain": 0o444,
		} {
			if st := lstatOf(t, target+"/"+name); st.Mode&07777 != mode {
				t.Errorf("%s has mode %o, want %o", name, st.Mode&07777, mode)
			}
		}
		if _, err := unix.Getxattr(target+"/plain", "user.x", nil); err != nil {
			t.Errorf("the attribute of a read-only file: %v", err)
		}
		if st := lstatOf(t, target+"/readonly/second"); st.Nlink != 3 {
			t.Errorf("%d links, want 3", st.Nlink)
		}
	}
	reopenAsUser(t, target+"3")
	rep, err := Run(context.Background(), &mem, root, "/", target+"2", Options{NoOwner: true})
	must(t, err)
	for _, p := range rep.Problems {
		if p.What == "owner" {
			t.Errorf("problem of an owner that nobody wants: %v", p)
		}
	}
	if st := lstatOf(t, target+"2/roots"); st.Mode&07777 != 0o755 {
		t.Errorf("a setuid program of root is now mine: mode %o", st.Mode)
	}
}

func TestOwnerByName(t *testing.T) {
	e := &snapshot.Entry{UID: 777, User: "root", GID: 888, Group: "no-such-group-here"}
	for _, c := range []struct {
		opt      Options
		uid, gid uint32
	}{
		{Options{}, 777, 888},
		{Options{OwnerByName: true}, 0, 888},
		{Options{NoOwner: true}, 5, 6},
	} {
		if uid, gid := newOwners(c.opt).want(e, 5, 6); uid != c.uid || gid != c.gid {
			t.Errorf("%+v: %d:%d, want %d:%d", c.opt, uid, gid, c.uid, c.gid)
		}
	}
}

// reopenAsUser restores a file that its owner may not open, in two parts.
func reopenAsUser(t *testing.T, target string) {
	t.Helper()
	tree := &fakeTree{data: []byte("data"), listings: map[chunk.ID][]*snapshot.Entry{{1}: {{
		Name: "f", Type: snapshot.File, Size: 8, UID: 54321, GID: 54322,
		Content: []snapshot.Ref{{ID: chunk.ID{1}, Length: 4}, {ID: chunk.ID{2}, Length: 4}},
	}}}}
	g := goal{at: "/", e: &snapshot.Entry{Name: "/", Type: snapshot.Dir, Tree: chunk.ID{1}}, target: target}
	r := newRun(tree, g, Options{})
	r.fds.max = 0
	must(t, r.all(context.Background()))
	if rep := r.rep.result(); len(rep.Problems) > 0 {
		t.Errorf("problems: %v", rep.Problems)
	}
}
