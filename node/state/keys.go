package state

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"forebay/router/auth"
	"forebay/shipper"
)

// The set of keys is kept in 256 parts, by the first byte of the digest, so that a change of one key
// among a hundred thousand writes some ten kilobytes and not all of it.
const (
	keysAt       = "key/at"
	keysAbout    = "key/about"
	keysSet      = "key/set/"
	keysVersion  = 1
	keyPartCount = 256
)

// keyPart is the value of one part.
type keyPart struct {
	Version int        `json:"version"`
	Keys    []savedKey `json:"keys"`
}

type savedKey struct {
	Digest            string    `json:"key_sha256"`
	Project           string    `json:"project"`
	RequestsPerSecond float64   `json:"requests_per_second,omitempty"`
	Burst             int       `json:"burst,omitempty"`
	Strict            bool      `json:"strict,omitempty"`
	Origins           []string  `json:"origins,omitempty"`
	ExpiresAt         time.Time `json:"expires_at,omitzero"`
	RevokedAt         time.Time `json:"revoked_at,omitzero"`
}

// keySums are the checksums of the parts as they are on disk, so that what has not changed is not written.
type keySums struct {
	mu    sync.Mutex
	known bool
	parts [keyPartCount][sha256.Size]byte
}

// savedAbout is what is kept beside the set and its time.
type savedAbout struct {
	Source string      `json:"source"`
	Doubt  *auth.Doubt `json:"doubt,omitempty"`
}

// LoadKeys implements auth.Cache: the keys saved last, ascending by digest. A part or a key that cannot be
// read leaves the others, and is named.
func (s *Store) LoadKeys() (saved auth.Saved, err error) {
	found, err := s.LoadJSON(keysAt, &saved.At)
	if err != nil || !found {
		return auth.Saved{}, err
	}
	about := savedAbout{Source: "postgres"} // no other keys were kept before there was a word about it
	var unreadable []error
	if _, err := s.LoadJSON(keysAbout, &about); err != nil {
		unreadable = append(unreadable, err)
	}
	saved.Source, saved.Doubt = about.Source, about.Doubt
	err = s.Scan(keysSet, func(name string, value []byte) error {
		part, bad := decodeKeys(name, value)
		saved.Keys = append(saved.Keys, part...)
		unreadable = append(unreadable, bad...)
		return nil
	})
	if err != nil {
		return auth.Saved{}, err
	}
	if len(unreadable) > 0 {
		saved.Unreadable = fmt.Errorf("%d parts of the cached keys are left out, the others serve: %w", len(unreadable), unreadable[0])
	}
	return saved, nil
}

func decodeKeys(name string, value []byte) (keys []auth.Key, bad []error) {
	var part struct {
		Version int               `json:"version"`
		Keys    []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(value, &part); err != nil {
		return nil, []error{fmt.Errorf("state: cached keys in %q cannot be read: %w", name, err)}
	}
	if part.Version != keysVersion {
		return nil, []error{fmt.Errorf("state: cached keys in %q are of version %d, this program knows %d: run the newer forebay", name, part.Version, keysVersion)}
	}
	keys = make([]auth.Key, 0, len(part.Keys))
	for _, raw := range part.Keys {
		var k savedKey
		err := json.Unmarshal(raw, &k)
		digest, digestErr := auth.ParseDigest(k.Digest)
		if err = errors.Join(err, digestErr); err != nil {
			bad = append(bad, fmt.Errorf("state: a cached key in %q cannot be read: %w", name, err))
			continue
		}
		keys = append(keys, auth.Key{ID: digest.ID(), Digest: digest, Project: k.Project, RequestsPerSecond: k.RequestsPerSecond,
			Burst: k.Burst, Strict: k.Strict, Origins: k.Origins, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt})
	}
	return keys, bad
}

// SaveKeys implements auth.Cache. The set replaces the one before it as a whole. At most auth.MaxKeys fit.
func (s *Store) SaveKeys(saved auth.Saved) error {
	keys := saved.Keys
	if len(keys) > auth.MaxKeys {
		return fmt.Errorf("state: %d keys to cache, at most %d fit", len(keys), auth.MaxKeys)
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if err := s.keys.read(s); err != nil {
		return err
	}
	at, err := json.Marshal(saved.At)
	if err != nil {
		return fmt.Errorf("state: cache keys: %w", err)
	}
	about, err := json.Marshal(savedAbout{saved.Source, saved.Doubt})
	if err != nil {
		return fmt.Errorf("state: cache keys: %w", err)
	}
	writes := []shipper.Write{{Key: keysAt, Value: at}, {Key: keysAbout, Value: about}}
	sums := s.keys.parts
	for part, list := range split(keys) {
		value, err := encodeKeys(list)
		if err != nil {
			return err
		}
		sum := sumOf(value)
		if sum != sums[part] {
			writes = append(writes, shipper.Write{Key: partName(part), Value: value})
			sums[part] = sum
		}
	}
	if err := s.Commit(writes...); err != nil {
		return err
	}
	s.keys.parts = sums
	return nil
}

func partName(part int) string { return fmt.Sprintf("%s%02x", keysSet, part) }

// sumOf is the checksum of a part's value, zero when there is none.
func sumOf(value []byte) [sha256.Size]byte {
	if value == nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(value)
}

// read fills in the checksums once.
func (k *keySums) read(s *Store) error {
	if k.known {
		return nil
	}
	for part := range keyPartCount {
		value, err := s.Get(partName(part))
		if err != nil {
			return err
		}
		k.parts[part] = sumOf(value)
	}
	k.known = true
	return nil
}

// split sorts the keys into their parts.
func split(keys []auth.Key) [keyPartCount][]auth.Key {
	var parts [keyPartCount][]auth.Key
	for _, k := range keys {
		parts[k.Digest[0]] = append(parts[k.Digest[0]], k)
	}
	for _, list := range parts {
		slices.SortFunc(list, func(a, b auth.Key) int { return a.Digest.Compare(b.Digest) })
	}
	return parts
}

// encodeKeys is the value of a part, nil when it is empty.
func encodeKeys(keys []auth.Key) ([]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	part := keyPart{Version: keysVersion, Keys: make([]savedKey, len(keys))}
	for i, k := range keys {
		if k.Digest == (auth.Digest{}) {
			return nil, errors.New("BUG: state: a key without a digest is to be cached")
		}
		part.Keys[i] = savedKey{Digest: k.Digest.String(), Project: k.Project, RequestsPerSecond: k.RequestsPerSecond,
			Burst: k.Burst, Strict: k.Strict, Origins: k.Origins, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt}
	}
	value, err := json.Marshal(part)
	if err != nil {
		return nil, fmt.Errorf("state: cache keys: %w", err)
	}
	return value, nil
}
