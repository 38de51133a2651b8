package seal

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/zeebo/blake3"
)

// A recovery key is 32 random bytes and 3 bytes of their hash, in base32
// without padding, in groups of seven for people to copy.
const (
	recoverySize  = 32
	recoveryCheck = 3
	recoveryGroup = 7
)

// NewRecovery draws a recovery key.
func NewRecovery(rand io.Reader) (Secret, error) {
	v := make([]byte, recoverySize)
	if _, err := io.ReadFull(rand, v); err != nil {
		return Secret{}, fmt.Errorf("draw recovery key: %w", err)
	}
	return Secret{Kind: Recovery, Value: v}, nil
}

// FormatRecovery writes a recovery key as a person keeps it.
func FormatRecovery(s Secret) string {
	text := base32.StdEncoding.EncodeToString(append(append([]byte(nil), s.Value...), recoverySum(s.Value)...))
	var groups []string
	for len(text) > 0 {
		n := min(recoveryGroup, len(text))
		groups, text = append(groups, text[:n]), text[n:]
	}
	return strings.Join(groups, "-")
}

// ParseRecovery reads a recovery key as typed: case, blanks and dashes do not
// matter.
func ParseRecovery(text string) (Secret, error) {
	clean := strings.ToUpper(strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r == '-' || r == ' ' || r == '\n' || r == '\t' || r == '\r'
	}), ""))
	b, err := base32.StdEncoding.DecodeString(clean)
	if err != nil || len(b) != recoverySize+recoveryCheck {
		return Secret{}, errors.New("this is not a recovery key: it has 8 groups of 7 letters and digits (A-Z, 2-7)")
	}
	if string(recoverySum(b[:recoverySize])) != string(b[recoverySize:]) {
		return Secret{}, errors.New("the recovery key has a typing error: its check digits do not match")
	}
	return Secret{Kind: Recovery, Value: b[:recoverySize]}, nil
}

func recoverySum(b []byte) []byte {
	sum := blake3.Sum256(b)
	return sum[:recoveryCheck]
}
