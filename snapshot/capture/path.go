package capture

import (
	"maps"
	"path/filepath"
	"slices"
)

// absolute makes a path absolute and clean. Where the working directory is
// gone, the path stays as it is.
func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return filepath.Clean(p)
}

// followed returns what a symbolic link points to, all links resolved.
func followed(p string) (string, error) { return filepath.EvalSymlinks(p) }

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
