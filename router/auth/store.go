package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of the stores that operators change: package file's and package postgres's.
var (
	ErrKeyNotFound  = errors.New("no such key")
	ErrKeyAmbiguous = errors.New("more than one key begins like this: give more digits of its SHA-256")
	ErrKeyExists    = errors.New("this key is there already")
	ErrKeysLeftOut  = errors.New("some entries are no valid keys")
	ErrKeyInactive  = errors.New("the key is revoked or expired: create a new one instead")
)

// ParseReference checks what an operator writes to name a key: its ID, or more
// digits of its SHA-256, up to all 64. It returns them in lower case.
func ParseReference(text string) (string, error) {
	ref := strings.ToLower(text)
	_, err := hex.DecodeString(ref + strings.Repeat("0", len(ref)%2))
	if err != nil || len(ref) < len(Digest{}.ID()) || len(ref) > len(Digest{}.String()) {
		return "", fmt.Errorf("a key is named by its id, the first %d hex digits of its SHA-256 (see keys list)", len(Digest{}.ID()))
	}
	return ref, nil
}

// Rotated makes the two keys that a rotation leaves: old expires after overlap,
// if it does not sooner, and next takes its place with the same settings under
// another digest. ErrKeyInactive if old is not active at now.
func Rotated(old Key, digest Digest, now time.Time, overlap time.Duration) (expiring, next Key, err error) {
	if !old.Active(now) {
		return Key{}, Key{}, ErrKeyInactive
	}
	if overlap < 0 {
		return Key{}, Key{}, fmt.Errorf("overlap %v is negative", overlap)
	}
	next = old
	next.Digest, next.ID = digest, digest.ID()
	expiring = old
	if end := now.Add(overlap); expiring.ExpiresAt.IsZero() || end.Before(expiring.ExpiresAt) {
		expiring.ExpiresAt = end
	}
	return expiring, next, nil
}
