// Package deps keeps the direction of imports as a test: which package may
// import which of ours, and why the missing edges are missing.
package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for each package, the packages of ours that it may import.
//
//	chunk, seal, bucket     leaves: formats and the interface of storage know nothing of each other,
//	                        so that each can be read, tested and replaced alone.
//	index                   knows chunks' names, not how blocks are sealed or objects stored.
//	store                   is the only joiner below snapshots: nobody above it sees a pack, an index or a
//	                        bucket, so prune can change them without anyone noticing.
//	snapshot                reads and writes through its own small interfaces, not through store: trees can
//	                        be walked from any place, and tested without a repository.
//	policy                  is pure functions of time, and knows nothing of ours.
//	capture, restore,       are siblings and never import each other; what two of them share belongs below.
//	verify, rewrite
//	source                  fills entries and knows nothing of where they go.
//	cmd/coffer              translates; the only place that reads flags, environment and clock.
var allowed = map[string][]string{
	"coffer/chunk":             {"coffer/internal/scratch"},
	"coffer/seal":              {"coffer/internal/scratch"},
	"coffer/bucket":            {},
	"coffer/bucket/mem":        {"coffer/bucket"},
	"coffer/bucket/local":      {"coffer/bucket", "coffer/bucket/local/internal/disk"},
	"coffer/bucket/buckettest": {"coffer/bucket"},
	"coffer/index":             {"coffer/chunk"},
	"coffer/store/pack":        {"coffer/chunk"},
	"coffer/store":             {"coffer/bucket", "coffer/chunk", "coffer/index", "coffer/internal/scratch", "coffer/seal", "coffer/store/pack"},
	"coffer/snapshot":          {"coffer/chunk"},
	"coffer/source":            {"coffer/snapshot"},
	"coffer/snapshot/capture":  {"coffer/chunk", "coffer/internal/scratch", "coffer/snapshot", "coffer/source", "coffer/store"},
	"coffer/snapshot/restore":  {"coffer/chunk", "coffer/snapshot"},
	"coffer/snapshot/gc":       {"coffer/chunk", "coffer/snapshot", "coffer/store"},
	"coffer/snapshot/verify":   {"coffer/chunk", "coffer/snapshot", "coffer/store"},
	"coffer/snapshot/rewrite":  {"coffer/chunk", "coffer/snapshot", "coffer/source", "coffer/store"},
	"coffer/policy":            {},
	"coffer/internal/scratch":  {},
	"coffer/cmd/coffer": {"coffer/bucket", "coffer/bucket/local", "coffer/chunk", "coffer/seal", "coffer/snapshot",
		"coffer/snapshot/capture", "coffer/snapshot/gc", "coffer/snapshot/restore", "coffer/snapshot/rewrite", "coffer/snapshot/verify",
		"coffer/policy", "coffer/source", "coffer/store"},
}

// testing names what is only ever linked into tests.
var testing_ = []string{"coffer/snapshot/snapshottest", "coffer/internal/torture", "coffer/internal/golden", "coffer/internal/deps",
	"coffer/bucket/local/crashfs", "coffer/bucket/local/internal/disk", "coffer/internal/e2e", "coffer/internal/simulate", "coffer/internal/explorer", "coffer/internal/faults"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range list(t) {
		if slices.Contains(testing_, p.ImportPath) {
			continue
		}
		may, known := allowed[p.ImportPath]
		if !known {
			t.Errorf("%s is in no room of the house: give it a line in the table, with its reason", p.ImportPath)
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "coffer/") && !slices.Contains(may, i) {
				t.Errorf("%s imports %s, which the table forbids", p.ImportPath, i)
			}
		}
	}
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "coffer/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
