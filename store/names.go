package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// Names of objects. A number in a name has a fixed width, so that listings come
// in its order.
const (
	configName       = "config"
	keyPrefix        = "keys/"
	generationPrefix = "generations/"
	doneSuffix       = ".done"
)

func generationName(g uint64) string { return fmt.Sprintf("%s%010d", generationPrefix, g) }
func closingName(g uint64) string    { return generationName(g) + doneSuffix }

// Objects of one generation stand together, so that one listing shows them.
func fatePrefix(g uint64) string             { return fmt.Sprintf("fates/%010d/", g) }
func fateName(g uint64, id string) string    { return fatePrefix(g) + id }
func sessionPrefix(g uint64) string          { return fmt.Sprintf("sessions/%010d/", g) }
func sessionName(g uint64, id string) string { return sessionPrefix(g) + id }
func beatPrefix(g uint64, id string) string  { return fmt.Sprintf("beats/%010d/%s-", g, id) }
func beatName(g uint64, id string, n int) string {
	return fmt.Sprintf("%s%06d", beatPrefix(g, id), n)
}

// Prefixes of what bears the number of a generation next in its name.
func numbered() []string {
	return []string{"packs/", "index/", "catalogue/", "sessions/", "fates/", "beats/"}
}

// generationOf returns the number that a name bears behind one of the prefixes
// above.
func generationOf(name string) (uint64, error) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || len(parts[1]) != 10 {
		return 0, fmt.Errorf("%q is no name of an object", name)
	}
	g, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no name of an object", name)
	}
	return g, nil
}

func pieceName(g uint64, sid pack.SID, k int) string {
	return fmt.Sprintf("catalogue/%010d/%s-%06d", g, hex.EncodeToString(sid[:]), k)
}

// copySuffix ends the name of the second copy of a piece of the catalogue.
const copySuffix = ".b"

func packName(p index.Pack) string {
	return fmt.Sprintf("packs/%010d/%s-%06d", p.Generation, hex.EncodeToString(p.SID[:]), p.Seq)
}

func segmentName(g uint64, sid pack.SID, k int) string {
	return fmt.Sprintf("index/%010d/%s-%06d", g, hex.EncodeToString(sid[:]), k)
}

// trailerName is what the sealed trailer of a pack is bound to: the pack's own
// numbers, not its place, because prune may write the same pack elsewhere.
func trailerName(h pack.Header) string {
	return fmt.Sprintf("trailer/%s-%06d-%d", hex.EncodeToString(h.SID[:]), h.Seq, h.Kind)
}

// parsePackName reads what packName wrote.
func parsePackName(name string) (index.Pack, error) {
	var p index.Pack
	var sid string
	if n, err := fmt.Sscanf(strings.Replace(name, "-", " ", 1), "packs/%d/%s %d", &p.Generation, &sid, &p.Seq); n != 3 || err != nil {
		return p, fmt.Errorf("%q is no pack's name", name)
	}
	b, err := hex.DecodeString(sid)
	if err != nil || copy(p.SID[:], b) != len(p.SID) || len(b) != len(p.SID) || packName(p) != name {
		return p, fmt.Errorf("%q is no pack's name", name)
	}
	return p, nil
}

// A DamageError says that stored bytes are gone or not what was stored.
type DamageError struct {
	Pack  string   // name of the object, mostly a pack; "" where none is known
	Chunk chunk.ID // zero where the whole object is meant
	Whole bool     // nothing in the pack can be had
	Err   error
}

func (e *DamageError) Error() string {
	what := e.Pack
	if e.Chunk != (chunk.ID{}) {
		what = "chunk " + e.Chunk.Short()
		if e.Pack != "" {
			what += " in " + e.Pack
		}
	}
	return fmt.Sprintf("%s is damaged: %v", what, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }
