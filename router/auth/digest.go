package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Bounds on the text of a key, in bytes. They are wide, so that keys which were
// given out before Forebay can be imported.
const (
	MinKeyBytes = 8
	MaxKeyBytes = 256
)

// KeyPrefix starts every key that Generate makes, so that people and secret
// scanners recognise one where it should not be.
const KeyPrefix = "fbk_"

// ErrMalformedKey is returned for a text that cannot be a key.
var ErrMalformedKey = errors.New("malformed API key")

// Digest is the SHA-256 of a key's text: all that is stored of a key. Keys have
// high entropy, so a digest without salt does not give them away.
type Digest [sha256.Size]byte

// ParseKey checks the form of a key's text, MinKeyBytes to MaxKeyBytes of visible
// ASCII, and returns its digest, or ErrMalformedKey.
func ParseKey(text string) (Digest, error) {
	if len(text) < MinKeyBytes || len(text) > MaxKeyBytes {
		return Digest{}, ErrMalformedKey
	}
	var buf [MaxKeyBytes]byte
	n := copy(buf[:], text)
	for _, c := range buf[:n] {
		if c <= ' ' || c > '~' {
			return Digest{}, ErrMalformedKey
		}
	}
	return sha256.Sum256(buf[:n]), nil
}

// Generate makes a new key with 260 random bits. Its text is shown to the
// operator once and kept nowhere.
func Generate() (text string, digest Digest) {
	text = KeyPrefix + rand.Text() + rand.Text() // 130 bits each
	return text, sha256.Sum256([]byte(text))
}

// ParseDigest reads a digest from its 64 hex digits, as they stand in a key file.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	if len(text) != hex.EncodedLen(len(d)) {
		return Digest{}, fmt.Errorf("a SHA-256 has %d hex digits, not %d", hex.EncodedLen(len(d)), len(text))
	}
	if _, err := hex.Decode(d[:], []byte(text)); err != nil {
		return Digest{}, fmt.Errorf("a SHA-256 is written in hex digits: %w", err)
	}
	return d, nil
}

// String is the digest in 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ID is the first 12 hex digits, by which operators name a key.
func (d Digest) ID() string { return hex.EncodeToString(d[:6]) }

// Compare orders digests by their bytes.
func (d Digest) Compare(other Digest) int { return bytes.Compare(d[:], other[:]) }
