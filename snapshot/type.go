package snapshot

import "golang.org/x/sys/unix"

// TypeOf translates a file's st_mode. It is 0 for what no Type stands for.
func TypeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFBLK:
		return Block
	case unix.S_IFCHR:
		return Char
	case unix.S_IFIFO:
		return Fifo
	case unix.S_IFSOCK:
		return Socket
	}
	return 0
}
