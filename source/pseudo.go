package source

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pseudoName names the file systems whose files are made up by the kernel, or
// are views of memory: a copy of them means nothing and reading some of them
// never ends or changes the machine. devtmpfs cannot be told from tmpfs, and
// both hold real files. An autofs directory is here because listing it may
// mount the whole world.
func pseudoName(magic int64) string {
	switch uint32(magic) {
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.DEVPTS_SUPER_MAGIC:
		return "devpts"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup"
	case unix.SECURITYFS_MAGIC:
		return "securityfs"
	case unix.DEBUGFS_MAGIC:
		return "debugfs"
	case unix.TRACEFS_MAGIC:
		return "tracefs"
	case unix.BPF_FS_MAGIC:
		return "bpf"
	}
	return rarePseudoName(uint32(magic))
}

func rarePseudoName(magic uint32) string {
	const (
		configfs = 0x62656570 // the rest is not in <linux/magic.h>
		mqueue   = 0x19800202
		fusectl  = 0x65735543
		rpcPipe  = 0x67596969
		nfsd     = 0x6e667364
	)
	switch magic {
	case configfs:
		return "configfs"
	case mqueue:
		return "mqueue"
	case fusectl:
		return "fusectl"
	case rpcPipe:
		return "rpc_pipefs"
	case nfsd:
		return "nfsd"
	case unix.PSTOREFS_MAGIC:
		return "pstore"
	case unix.EFIVARFS_MAGIC:
		return "efivarfs"
	case unix.SELINUX_MAGIC:
		return "selinuxfs"
	case unix.SMACK_MAGIC:
		return "smackfs"
	case unix.NSFS_MAGIC:
		return "nsfs"
	case unix.BINFMTFS_MAGIC:
		return "binfmt_misc"
	case unix.HUGETLBFS_MAGIC:
		return "hugetlbfs"
	case unix.RDTGROUP_SUPER_MAGIC:
		return "resctrl"
	case unix.AUTOFS_SUPER_MAGIC:
		return "autofs"
	}
	return ""
}

// pseudoOf asks what an open descriptor is on.
func pseudoOf(fd int) string {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return ""
	}
	return pseudoName(int64(st.Type))
}

// skipReason decides about a directory on another file system than its parent.
// The root itself is always read.
func (t *Tree) skipReason(h *DirHandle) string {
	if h.parent == t.anchor {
		return ""
	}
	if t.opt.OneFileSystem && h.dev != t.dev {
		return "other file system"
	}
	if name := pseudoOf(h.fd); name != "" {
		return fmt.Sprintf("pseudo file system %s", name)
	}
	return ""
}
