package chunk

import (
	"fmt"
	"io"

	"github.com/restic/chunker"
)

// What Validate lets through. A repository's parameters come from its config
// or, on a host that joined, from the server: they are not to be trusted with
// the machine's memory.
const (
	// minLimit: below it the index would cost more than deduplication saves,
	// and small files share blocks anyway.
	minLimit = 64 << 10
	// maxLimit bounds a buffer, hence the memory of a Cutter (see maxBuffers).
	maxLimit = 16 << 20
	// degree is the only one for which the digest, shifted by a byte, fills 61
	// bits of a word and for which restic/chunker makes polynomials.
	degree = 53
)

// The defaults, measured in docs/decisions/0001-chunk-sizes.md: 1 MiB on
// average and 1.2 MiB of new bytes per edit. Smaller chunks halve both, which
// doubles the index; recipes make edits cheap without that.
const (
	defaultMin  = 512 << 10
	defaultBits = 19
	defaultMax  = 4 << 20
)

// Params say where streams are cut. They are part of a repository's config:
// two streams share chunks only if they were cut with the same Params.
type Params struct {
	Polynomial uint64 // irreducible over GF(2), of degree 53; bit i is the coefficient of x^i
	Min, Max   uint32 // no chunk is longer than Max; only the last of a stream is shorter than Min
	Bits       int    // beyond Min, one byte in 2^Bits ends a chunk
}

// DefaultParams returns the default sizes with a polynomial drawn from rand,
// so that the lengths of chunks do not betray known files.
func DefaultParams(rand io.Reader) (Params, error) {
	pol, err := chunker.DerivePolynomial(rand)
	if err != nil {
		return Params{}, fmt.Errorf("draw chunker polynomial: %w", err)
	}
	return Params{Polynomial: uint64(pol), Min: defaultMin, Max: defaultMax, Bits: defaultBits}, nil
}

// Validate says what is wrong with p, if anything.
func (p Params) Validate() error {
	if p.Min < minLimit || p.Max > maxLimit || p.Min >= p.Max {
		return fmt.Errorf("chunk sizes %d to %d are not an interval within %d to %d", p.Min, p.Max, minLimit, maxLimit)
	}
	if p.Bits < 16 || p.Bits > 24 || 1<<p.Bits > p.Max {
		return fmt.Errorf("chunk size bits %d are not within 16 and the binary logarithm of %d", p.Bits, p.Max)
	}
	if pol := chunker.Pol(p.Polynomial); pol.Deg() != degree || !pol.Irreducible() {
		return fmt.Errorf("chunker polynomial %#x is not irreducible of degree %d", p.Polynomial, degree)
	}
	return nil
}
