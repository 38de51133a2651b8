package torture

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func (b *builder) plainFiles() {
	b.mkdir("plain")
	for i := range 20 {
		b.file(fmt.Sprintf("plain/file%02d", i), strings.Repeat(fmt.Sprintf("line %d\n", i), i*50))
	}
	b.file("plain/twin1", strings.Repeat("the same content\n", 1000))
	b.file("plain/twin2", strings.Repeat("the same content\n", 1000))
}

func (b *builder) emptyThings() {
	b.file("empty", "")
	b.mkdir("emptydir")
	b.mkdir("closed")
	b.file("closed/inside", "x")
	b.chmod("closed/inside", 0)
	b.chmod("closed", 0)
}

func (b *builder) names() {
	b.mkdir("names")
	for _, name := range []string{
		strings.Repeat("n", 255), "new\nline", "tab\tand\rreturn", "\xff\xfe not utf-8 \x80", "-rf", "--delete",
		`quote"and'back\slash`, " leading", "trailing ", "*?[a-z]", "$HOME`id`", "~", "#hash", ".hidden", "...",
		"\x01\x02\x1b[31m", "ünïcödé", "u\u0308 decomposed", "%41", "a:b|c<d>e", ".coffer-partial-user-1",
	} {
		b.file("names/"+name, "named "+name)
	}
	b.mkdir("names/dir\xff\n")
	b.file("names/dir\xff\n/file", "below")
}

func (b *builder) symlinks() {
	b.mkdir("symlinks")
	for name, target := range map[string]string{
		"relative": "../plain/file01", "dangling": "no/such/thing", "absolute": "/etc/passwd", "dir": "../plain",
		"loop": "loop", "ping": "pong", "pong": "ping", "up": "../../../../../..", "space": " ", "dot": ".",
		"bytes": "\xff\xfe\n\x80", "long": strings.Repeat("long/", longLink(b.dir)) + "end",
	} {
		b.symlink(target, "symlinks/"+name)
	}
	b.chown("symlinks/dangling", 1234, 5678)
	b.xattr("symlinks/dangling", "trusted.link", []byte("on a symlink"))
}

// longLink is how many times "long/" fits into a symbolic link: to the limit of
// the kernel, or to that of XFS, which is 1,023 bytes.
func longLink(dir string) int {
	if onXFS(dir) {
		return 204
	}
	return 818
}

func onXFS(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.XFS_SUPER_MAGIC
}

// modes makes a file and a directory with each of the twelve bits, and some
// with many of them.
func (b *builder) modes() {
	b.mkdir("modes")
	all := []uint32{0, 0o777, 0o7777, 0o4755, 0o2755, 0o1777, 0o6711, 0o2770, 0o444, 0o111}
	for bit := range 12 {
		all = append(all, 1<<bit)
	}
	for _, mode := range all {
		b.file(fmt.Sprintf("modes/f%04o", mode), "mode")
		b.chmod(fmt.Sprintf("modes/f%04o", mode), mode)
		b.mkdir(fmt.Sprintf("modes/d%04o", mode))
		b.file(fmt.Sprintf("modes/d%04o/in", mode), "in")
		b.chmod(fmt.Sprintf("modes/d%04o", mode), mode)
	}
}

func (b *builder) owners() {
	b.mkdir("owners")
	for i, o := range [][2]int{{0, 0}, {1, 2}, {1000, 1000}, {0, 1000}, {65534, 65534}, {3999999999, 4000000001}} {
		name := fmt.Sprintf("owners/f%d", i)
		b.file(name, "owned")
		b.chown(name, o[0], o[1])
		b.chmod(name, 0o6755) // chown has cleared nothing yet
		b.mkdir(name + ".d")
		b.file(name+".d/child", "child")
		b.chown(name+".d", o[0], o[1])
		b.chmod(name+".d", 0o2750)
		b.symlink("nowhere", name+".l")
		b.chown(name+".l", o[0], o[1])
	}
}

func (b *builder) hardLinks() {
	b.mkdir("links")
	b.mkdir("links/one")
	b.mkdir("links/two")
	b.mkdir("zlinks") // after everything else
	b.file("links/one/file", strings.Repeat("linked", 5000))
	b.symlink("target of a linked symlink", "links/one/symlink")
	b.mknod("links/one/fifo", unix.S_IFIFO|0o640, 0, 0)
	b.mknod("links/one/socket", unix.S_IFSOCK|0o600, 0, 0)
	b.mknod("links/one/char", unix.S_IFCHR|0o666, 1, 3)
	b.mknod("links/one/block", unix.S_IFBLK|0o660, 7, 77)
	b.file("links/one/empty", "")
	for _, name := range []string{"file", "symlink", "fifo", "socket", "char", "block", "empty"} {
		b.link("links/one/"+name, "links/one/same-"+name)
		b.link("links/one/"+name, "links/two/"+name)
		b.link("links/one/"+name, "zlinks/"+name)
	}
	b.file("links/alike1", "equal in all but the inode")
	b.file("links/alike2", "equal in all but the inode")
}

func (b *builder) nodes() {
	b.mkdir("nodes")
	b.mknod("nodes/null", unix.S_IFCHR|0o666, 1, 3)
	b.mknod("nodes/loop", unix.S_IFBLK|0o660, 7, 0)
	if onXFS(b.dir) { // keeps 9 bits of the major number and 18 of the minor
		b.mknod("nodes/large", unix.S_IFBLK|0o600, 511, 1<<18-1)
	} else {
		b.mknod("nodes/large", unix.S_IFBLK|0o600, 4095, 1<<20-1)
	}
	b.mknod("nodes/fifo", unix.S_IFIFO|0o644, 0, 0)
	b.mknod("nodes/socket", unix.S_IFSOCK|0o755, 0, 0)
	b.chown("nodes/fifo", 1000, 33)
	b.chown("nodes/loop", 0, 6)
	b.xattr("nodes/null", "trusted.device", []byte("on a device"))
	b.chmod("nodes/fifo", 0o7622)
}

func (b *builder) xattrs() {
	b.mkdir("xattrs")
	b.file("xattrs/user", "user")
	b.xattr("xattrs/user", "user.short", []byte("value"))
	b.xattr("xattrs/user", "user.empty", nil)
	b.xattr("xattrs/user", "user.\xffbytes", []byte{0, 1, 255, 0})
	b.file("xattrs/long", "long")
	b.xattr("xattrs/long", "user.long", []byte(strings.Repeat("v", 3000)))
	b.file("xattrs/trusted", "trusted")
	b.xattr("xattrs/trusted", "trusted.secret", []byte("root only"))
	b.xattr("xattrs", "user.dir", []byte("on a directory"))
	b.file("xattrs/capable", "#!/bin/true\n")
	b.chown("xattrs/capable", 1000, 1000) // a capability must survive the change of owner
	b.chmod("xattrs/capable", 0o755)
	b.xattr("xattrs/capable", "security.capability", capability())
	b.file("xattrs/readonly", "mode 0444")
	b.xattr("xattrs/readonly", "user.x", []byte("y"))
	b.chmod("xattrs/readonly", 0o444)
}

// capability is cap_net_raw+ep, version 2.
func capability() []byte {
	v := make([]byte, 20)
	binary.LittleEndian.PutUint32(v, 0x02000001)
	binary.LittleEndian.PutUint32(v[4:], 1<<13)
	return v
}

func (b *builder) acls() {
	b.mkdir("acls")
	const owner, user, group, mask, other, anyone = 0x01, 0x02, 0x04, 0x10, 0x20, 0xffffffff
	access := acl([3]uint32{owner, 6, anyone}, [3]uint32{user, 4, 1000}, [3]uint32{user, 7, 4242424},
		[3]uint32{group, 4, anyone}, [3]uint32{mask, 5, anyone}, [3]uint32{other, 0, anyone})
	b.file("acls/file", "acl")
	b.xattr("acls/file", "system.posix_acl_access", access)
	b.mkdir("acls/dir")
	b.file("acls/dir/before", "made before there was a default ACL")
	b.xattr("acls/dir", "system.posix_acl_access", access)
	b.xattr("acls/dir", "system.posix_acl_default", access)
	b.file("acls/dir/after", "made with a default ACL")
	b.mkdir("acls/dir/sub")
}

// acl encodes entries of tag, permission and id as the kernel does.
func acl(entries ...[3]uint32) []byte {
	v := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		v = binary.LittleEndian.AppendUint16(v, uint16(e[0]))
		v = binary.LittleEndian.AppendUint16(v, uint16(e[1]))
		v = binary.LittleEndian.AppendUint32(v, e[2])
	}
	return v
}
