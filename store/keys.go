package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"coffer/bucket"
	"coffer/seal"
)

// maxSlot bounds what is read of a key slot: a real one has about 250 bytes.
const maxSlot = 64 << 10

// A Key describes a key slot.
type Key struct {
	ID      string
	Kind    seal.SlotKind
	Label   string
	Created time.Time
	Err     error // set where the slot cannot be read; it opens nothing
}

// ErrLastKey refuses to remove the only slot that can be read.
var ErrLastKey = errors.New("this is the last key; removing it would lose the repository: add another one first")

// AddKey stores a new slot and returns its ID.
func (s *Store) AddKey(ctx context.Context, secret seal.Secret, label string) (string, error) {
	raw := make([]byte, 8)
	if _, err := io.ReadFull(s.env.Rand, raw); err != nil {
		return "", fmt.Errorf("draw slot id: %w", err)
	}
	id := hex.EncodeToString(raw)
	slot, err := seal.Wrap(s.env.Rand, id, s.master, secret, label, s.env.Now().Unix())
	if err != nil {
		return "", err
	}
	data, err := slot.Encode()
	if err != nil {
		return "", fmt.Errorf("encode key slot: %w", err)
	}
	if err := s.put(ctx, keyPrefix+id, data); err != nil {
		return "", fmt.Errorf("add key: %w", err)
	}
	return id, nil
}

// Keys lists the slots.
func (s *Store) Keys(ctx context.Context) ([]Key, error) {
	slots, err := readSlots(ctx, s.bucket)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(slots))
	for _, n := range slots {
		k := Key{ID: n.id, Err: n.err}
		if n.err == nil {
			k.Kind, k.Label, k.Created = n.slot.Kind, n.slot.Label, time.Unix(n.slot.Created, 0).UTC()
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// RemoveKey deletes the slot whose ID begins with prefix. The last one that can
// be read stays.
func (s *Store) RemoveKey(ctx context.Context, prefix string) (id string, err error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return "", err
	}
	var match []string
	left := 0
	for _, k := range keys {
		if strings.HasPrefix(k.ID, prefix) {
			match = append(match, k.ID)
		} else if k.Err == nil {
			left++
		}
	}
	switch {
	case len(match) == 0:
		return "", fmt.Errorf("no key %q: 'coffer key list' shows them", prefix)
	case len(match) > 1:
		return "", fmt.Errorf("%q fits %d keys; give more digits: %s", prefix, len(match), strings.Join(match, ", "))
	case left == 0:
		return "", ErrLastKey
	}
	return match[0], s.bucket.Delete(ctx, keyPrefix+match[0])
}

// A namedSlot is a slot as it was read, or why it was not.
type namedSlot struct {
	id   string
	slot *seal.Slot
	err  error
}

// readSlots reads all slots. One that is damaged does not hide the others.
func readSlots(ctx context.Context, b bucket.Bucket) ([]namedSlot, error) {
	var slots []namedSlot
	for info, err := range b.List(ctx, keyPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		n := namedSlot{id: strings.TrimPrefix(info.Name, keyPrefix)}
		data, err := readAll(ctx, b, info.Name, maxSlot)
		if err == nil {
			n.slot, err = seal.DecodeSlot(data)
		}
		n.err = err
		slots = append(slots, n)
	}
	return slots, nil
}

// unlock tries every secret on every slot of its kind.
func unlock(ctx context.Context, b bucket.Bucket, secrets []seal.Secret) (seal.Master, error) {
	slots, err := readSlots(ctx, b)
	if err != nil {
		return seal.Master{}, err
	}
	var trouble []error
	for _, n := range slots {
		if n.err != nil {
			trouble = append(trouble, fmt.Errorf("key slot %s: %w", n.id, n.err))
			continue
		}
		for _, secret := range secrets {
			m, err := n.slot.Unwrap(n.id, secret)
			if err == nil {
				return m, nil
			}
			if !errors.Is(err, seal.ErrWrongSecret) {
				trouble = append(trouble, err)
			}
		}
	}
	if len(trouble) > 0 {
		return seal.Master{}, fmt.Errorf("no key slot opens: %w", errors.Join(trouble...))
	}
	return seal.Master{}, seal.ErrWrongSecret
}
