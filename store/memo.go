package store

import "sync"

// A memo keeps records that were read, by name: objects never change. It
// forgets all when it holds more than its limit, which costs reading again and
// nothing else.
type memo[T any] struct {
	mu    sync.Mutex
	limit int
	known map[string]T
}

func newMemo[T any](limit int) *memo[T] { return &memo[T]{limit: limit, known: map[string]T{}} }

// get returns what is known under name, or reads it.
func (m *memo[T]) get(name string, read func() (T, error)) (T, error) {
	m.mu.Lock()
	v, ok := m.known[name]
	m.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return v, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= m.limit {
		clear(m.known)
	}
	m.known[name] = v
	return v, nil
}
