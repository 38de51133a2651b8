package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"coffer/bucket"
	"coffer/bucket/buckettest"
	"coffer/bucket/local"
	"coffer/bucket/mem"
	"coffer/seal"
	"coffer/store"
)

func TestOpenErrors(t *testing.T) {
	_, b := newRepo(t)
	config := objects(t, b)["config"]
	for name, c := range map[string]struct {
		b      bucket.Bucket
		secret seal.Secret
		want   error
	}{
		"wrong key file":       {b, seal.Secret{Kind: seal.KeyFile, Value: []byte("another")}, seal.ErrWrongSecret},
		"another kind":         {b, seal.Secret{Kind: seal.Recovery, Value: secret.Value}, seal.ErrWrongSecret},
		"no password":          {b, seal.Secret{Kind: seal.Open}, seal.ErrWrongSecret},
		"nothing there":        {mem.New(), secret, store.ErrNoRepository},
		"no config":            {altered{b, map[string][]byte{"config": nil}}, secret, store.ErrNoRepository},
		"config of others":     {altered{b, map[string][]byte{"config": []byte("[core]\nbare = true\n")}}, secret, store.ErrNoRepository},
		"config cut":           {altered{b, map[string][]byte{"config": config[:len(config)-1]}}, secret, seal.ErrDamaged},
		"config changed":       {altered{b, map[string][]byte{"config": flipped(config, len(config)-1)}}, secret, seal.ErrDamaged},
		"config without limit": {altered{b, map[string][]byte{"config": append(bytes.Clone(config), make([]byte, 70<<10)...)}}, secret, seal.ErrDamaged},
	} {
		if _, err := store.Open(t.Context(), c.b, store.Env{}, c.secret); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := store.Open(t.Context(), b, store.Env{}, seal.Secret{Kind: seal.KeyFile}, secret); err != nil {
		t.Errorf("the second of two secrets: %v", err)
	}
}

// TestKeysCut: without readable slots the trouble is told, and is no wrong
// password.
func TestKeysCut(t *testing.T) {
	_, b := newRepo(t)
	bad := map[string][]byte{}
	for name, data := range objects(t, b) {
		if strings.HasPrefix(name, "keys/") {
			bad[name] = data[:20]
		}
	}
	_, err := store.Open(t.Context(), altered{b, bad}, store.Env{}, secret)
	if !errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongSecret) {
		t.Errorf("%v", err)
	}
	delete(bad, slices.Sorted(maps.Keys(bad))[0])
	_, one := store.Open(t.Context(), altered{b, bad}, store.Env{}, secret)
	bad2 := map[string][]byte{}
	for name, data := range objects(t, b) {
		if _, ok := bad[name]; !ok && strings.HasPrefix(name, "keys/") {
			bad2[name] = data[:20]
		}
	}
	_, two := store.Open(t.Context(), altered{b, bad2}, store.Env{}, secret)
	if (one == nil) == (two == nil) {
		t.Errorf("one of two slots is ours: %v, %v", one, two)
	}
}

func TestKeys(t *testing.T) {
	s, b := newRepo(t)
	second := seal.Secret{Kind: seal.KeyFile, Value: []byte("second")}
	id, err := s.AddKey(t.Context(), second, "of the second")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.Keys(t.Context())
	if err != nil || len(keys) != 3 {
		t.Fatalf("%+v, %v", keys, err)
	}
	i := slices.IndexFunc(keys, func(k store.Key) bool { return k.ID == id })
	if k := keys[i]; k.Label != "of the second" || k.Kind != seal.KeyFile || k.Err != nil || k.Created.IsZero() {
		t.Errorf("%+v", k)
	}
	if _, err := store.Open(t.Context(), b, store.Env{}, second); err != nil {
		t.Error(err)
	}
	for _, prefix := range []string{"", "x"} {
		if _, err := s.RemoveKey(t.Context(), prefix); err == nil {
			t.Errorf("%q: no error", prefix)
		}
	}
	for _, k := range keys[:2] {
		if got, err := s.RemoveKey(t.Context(), k.ID[:6]); err != nil || got != k.ID {
			t.Errorf("%s, %v", got, err)
		}
	}
	if _, err := s.RemoveKey(t.Context(), keys[2].ID); !errors.Is(err, store.ErrLastKey) {
		t.Errorf("the last: %v", err)
	}
	if left, _ := buckettest.Names(t.Context(), b, "keys/", ""); len(left) != 1 {
		t.Errorf("%q", left)
	}
}

// TestLastReadableKey: a slot that is damaged does not count.
func TestLastReadableKey(t *testing.T) {
	s, b := newRepo(t)
	keys, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	damaged := openWithAny(t, altered{b, map[string][]byte{"keys/" + keys[0].ID: []byte("rubbish")}}, s, b)
	listed, err := damaged.Keys(t.Context())
	if err != nil || listed[0].Err == nil || listed[1].Err != nil {
		t.Errorf("%+v, %v", listed, err)
	}
	if _, err := damaged.RemoveKey(t.Context(), keys[1].ID); !errors.Is(err, store.ErrLastKey) {
		t.Errorf("%v", err)
	}
}

// openWithAny opens a bucket in which one slot, perhaps ours, is damaged.
func openWithAny(t *testing.T, bad bucket.Bucket, s *store.Store, b bucket.Bucket) *store.Store {
	t.Helper()
	opened, err := store.Open(t.Context(), bad, store.Env{}, secret)
	if err == nil {
		return opened
	}
	master := store.SwapBucket(s, bad)
	return master
}

// TestWeakKeySlot: somebody made the key derivation cheaper, to guess faster.
func TestWeakKeySlot(t *testing.T) {
	b := mem.New()
	password := seal.Secret{Kind: seal.Password, Value: []byte("correct horse")}
	if _, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: password}); err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{}
	for name, data := range objects(t, b) {
		slot, err := seal.DecodeSlot(data)
		if !strings.HasPrefix(name, "keys/") || err != nil || slot.Kind != seal.Password {
			continue
		}
		slot.Memory /= 2
		if bad[name], err = cbor.Marshal(slot); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Open(t.Context(), altered{b, bad}, store.Env{}, password); !errors.Is(err, seal.ErrWeak) {
		t.Errorf("%v", err)
	}
	if _, err := store.Open(t.Context(), b, store.Env{}, password); err != nil {
		t.Error(err)
	}
}

// TestLike: a repository for replicas has the keys and chunks of another, and an
// id of its own.
func TestLike(t *testing.T) {
	s, _ := newRepo(t)
	b := mem.New()
	if _, err := store.Init(t.Context(), b, store.Env{}, store.InitOptions{Secret: secret, Like: s}); err != nil {
		t.Fatal(err)
	}
	other := openRepo(t, b)
	if other.Config().ID == s.Config().ID || other.Config().Chunking() != s.Config().Chunking() {
		t.Errorf("%+v, %+v", s.Config(), other.Config())
	}
}

// TestReadOnly: what cannot be written to can be read, with a warning.
func TestReadOnly(t *testing.T) {
	s, b := newRepo(t)
	list := pieces(50, 10)
	c := mustBackup(t, s, "", list)
	for name, fault := range map[string]bucket.Bucket{
		"read-only": bucket.ReadOnly(b),
		"full":      buckettest.NewFaults(buckettest.Rule{Kind: buckettest.Put, Times: -1, Err: fs.ErrPermission}).Wrap(b),
	} {
		var log logbook
		ro := openWith(t, fault, log.env())
		ran := false
		err := ro.Read(t.Context(), []string{c.ID}, func(context.Context) error {
			ran = true
			checkLoads(t, ro, list)
			return nil
		})
		if err != nil || !ran || !strings.Contains(log.String(), "without being registered") {
			t.Errorf("%s: %v, ran %v: %s", name, err, ran, &log)
		}
		if _, err := ro.Begin(t.Context()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: a session begins: %v", name, err)
		}
		checkClean(t, ro)
	}
}

// TestReader: a reader is registered while it reads, and gone afterwards.
func TestReader(t *testing.T) {
	s, b := newRepo(t)
	c := mustBackup(t, s, "", pieces(51, 3))
	mine := errors.New("mine")
	before, _ := buckettest.Names(t.Context(), b, "sessions/", "")
	err := s.Read(t.Context(), []string{c.ID}, func(context.Context) error {
		now, _ := buckettest.Names(t.Context(), b, "sessions/", "")
		if len(now) != len(before)+1 {
			t.Errorf("%q", now)
		}
		return mine
	})
	if !errors.Is(err, mine) {
		t.Error(err)
	}
	fates, _ := buckettest.Names(t.Context(), b, "fates/", "")
	if len(fates) != 2 || len(payloads(t, openRepo(t, b))) != 1 {
		t.Errorf("%q", fates)
	}
}

// TestGoneDisk: a directory that is not mounted is no empty repository.
func TestGoneDisk(t *testing.T) {
	if _, err := local.Open(t.TempDir() + "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	b, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), b, store.Env{}, secret); !errors.Is(err, store.ErrNoRepository) {
		t.Error(err)
	}
}
