package capture

import (
	"sync"

	"coffer/snapshot"
)

// notes gathers warnings: the first ones with their text, all of them as a
// number.
type notes struct {
	mu     sync.Mutex
	kept   []snapshot.Warning
	errors uint64
	warned uint64
}

func (n *notes) add(w snapshot.Warning) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.warned++
	if w.Item {
		n.errors++
	}
	if len(n.kept) < snapshot.MaxWarnings {
		n.kept = append(n.kept, w)
	}
}

func (n *notes) copyTo(m *snapshot.Manifest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m.Warnings = append([]snapshot.Warning(nil), n.kept...)
	m.Errors, m.Warned = n.errors, n.warned
}
