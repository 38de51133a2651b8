package snapshot

import (
	"errors"
	"fmt"
	"strings"
)

// ManifestVersion is the version of the manifests that this program writes,
// and the only one that it reads.
const ManifestVersion = 1

// Bounds of a manifest: MaxWarnings with the longest paths fit.
const (
	maxManifest      = 16 << 20
	maxManifestArray = 1 << 16
)

// EncodeManifest returns the canonical bytes of m. A Version of 0 is taken as
// ManifestVersion, and warnings beyond MaxWarnings are left out: a backup that
// has run for hours does not fail over them.
func EncodeManifest(m *Manifest) ([]byte, error) {
	out := *m
	if out.Version == 0 {
		out.Version = ManifestVersion
	}
	out.Warnings = out.Warnings[:min(len(out.Warnings), MaxWarnings)]
	if err := out.check(); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	b, err := marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("encode manifest: %d bytes are more than %d", len(b), maxManifest)
	}
	return b, nil
}

// DecodeManifest reads what EncodeManifest wrote, and accepts nothing else.
func DecodeManifest(data []byte) (Manifest, error) {
	m, err := decodeManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w", err)
	}
	return m, nil
}

func decodeManifest(data []byte) (m Manifest, err error) {
	if len(data) > maxManifest {
		return m, damaged("%d bytes are more than %d", len(data), maxManifest)
	}
	if err := checkVersion(data, ManifestVersion); err != nil {
		return m, err
	}
	if err := decodeWhole(codecs().manifest, data, &m); err != nil {
		return m, err
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

// checkVersion looks at the version alone, so that what comes from the future
// is told from what is damaged.
func checkVersion(data []byte, known int) error {
	var v struct {
		Version int `cbor:"1,keyasint"`
	}
	if err := codecs().version.Unmarshal(data, &v); err != nil {
		return damaged("%v", err)
	}
	if v.Version != known {
		return fmt.Errorf("it has version %d and this program knows version %d: use a newer coffer", v.Version, known)
	}
	return nil
}

func (m *Manifest) check() error {
	if m.Version != ManifestVersion {
		return fmt.Errorf("version %d is not %d", m.Version, ManifestVersion)
	}
	if m.State < Complete || m.State > Incomplete {
		return fmt.Errorf("state %d is not known", m.State)
	}
	for _, t := range []Time{m.Captured, m.Finished, m.Received, m.Effective} {
		if t.Nsec >= 1e9 {
			return errors.New("a time has a second or more of nanoseconds")
		}
	}
	if len(m.Warnings) > MaxWarnings {
		return fmt.Errorf("%d warnings are more than %d", len(m.Warnings), MaxWarnings)
	}
	if m.Bytes < 0 || m.NewBytes < 0 || m.Stored < 0 {
		return errors.New("a number of bytes is negative")
	}
	return m.checkOrigin()
}

// checkOrigin looks at what ties a commit to others.
func (m *Manifest) checkOrigin() error {
	for _, id := range []string{m.Original, m.Rewrote} {
		if id != "" && !isID(id) {
			return fmt.Errorf("%q is no id of a snapshot", id)
		}
	}
	if m.Hold == nil {
		return nil
	}
	if m.Original == "" {
		return errors.New("a hold does not say on which snapshot it is")
	}
	return m.Hold.check()
}

const idDigits = 32

// isID reports whether id is one that the store may have given to a commit.
func isID(id string) bool {
	return len(id) == idDigits && strings.Trim(id, "0123456789abcdef") == ""
}
