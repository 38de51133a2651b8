package main

import (
	"context"
	"strings"

	"coffer/seal"
	"coffer/store"
)

// passwordSlot finds the password to replace: the one that prefix names, or
// the only one.
func passwordSlot(ctx context.Context, st *store.Store, prefix string) (store.Key, error) {
	keys, err := st.Keys(ctx)
	if err != nil {
		return store.Key{}, err
	}
	var found []store.Key
	for _, k := range keys {
		if k.Err == nil && k.Kind == seal.Password && strings.HasPrefix(k.ID, prefix) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return store.Key{}, usageError("there are %d passwords: say which one with its id, 'coffer key list' shows them", len(found))
	case prefix != "":
		return store.Key{}, usageError("no password has an id that begins with %q: 'coffer key list' shows them", prefix)
	}
	return store.Key{}, usageError("this repository has no password to change: add one with 'coffer key add'")
}
