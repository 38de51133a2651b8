package bucket

import "strings"

// ValidName reports whether name keeps to the rule for the names of objects:
// slash-separated parts of [a-z0-9._-], none of them empty, "." or "..".
func ValidName(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if !validPart(part) {
			return false
		}
	}
	return true
}

func validPart(part string) bool {
	if part == "" || part == "." || part == ".." {
		return false
	}
	for _, c := range []byte(part) {
		if !validByte(c) {
			return false
		}
	}
	return true
}

func validByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
