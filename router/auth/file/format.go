package file

import (
	"errors"
	"fmt"
	"time"

	"forebay/router/auth"
)

// MaxFileBytes is the largest key file that is read: some 300,000 keys in JSON.
// Of YAML it may be 8 MiB, some 40,000 keys.
const MaxFileBytes = 64 << 20

// entry is a key as it stands in the file.
type entry struct {
	Project           string   `json:"project"`
	KeySHA256         string   `json:"key_sha256"`
	RequestsPerSecond float64  `json:"requests_per_second,omitempty"`
	Burst             int      `json:"burst,omitempty"`
	Strict            bool     `json:"strict,omitempty"`
	Origins           []string `json:"origins,omitempty"`
	ExpiresAt         string   `json:"expires_at,omitempty"`
	RevokedAt         string   `json:"revoked_at,omitempty"`
}

// Parse reads the text of a key file, all of it or nothing. The error names the
// line or the entry, and what to write instead. An empty text has no keys.
func Parse(text []byte) ([]auth.Key, error) {
	list, err := read(text)
	if err != nil {
		return nil, err
	}
	if len(list.bad) > 0 {
		return nil, list.bad[0]
	}
	return list.keys, nil
}

// listing is what a key file says.
type listing struct {
	keys   []auth.Key
	places []int   // of each key: its entry's, from 0
	bad    []error // why entries are no valid keys, in their order
}

// refused tells of the entries that are left out, nil if none is.
func (l listing) refused() error {
	if len(l.bad) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d entries are not used, the others are; correct the first: %w", len(l.bad), len(l.bad)+len(l.keys), l.bad[0])
}

// read is Parse that leaves out entries which are no valid keys: one of them must
// not keep others from being revoked.
func read(text []byte) (list listing, err error) {
	if len(text) > MaxFileBytes {
		return list, fmt.Errorf("%d bytes are more than the %d that a key file may have", len(text), MaxFileBytes)
	}
	entries, err := decode(text)
	if err != nil {
		return list, err
	}
	list.keys = make([]auth.Key, 0, len(entries))
	seen := make(map[auth.Digest]int, len(entries))
	for i, e := range entries {
		key, err := e.key()
		if err != nil && e.err == nil {
			err = fmt.Errorf("entry %d (project %q): %w", i+1, e.Project, err)
		}
		if first, twice := seen[key.Digest]; twice && err == nil {
			err = fmt.Errorf("entry %d has the key_sha256 of entry %d", i+1, first+1)
		}
		if err != nil {
			list.bad = append(list.bad, err)
			continue
		}
		seen[key.Digest] = i
		list.keys, list.places = append(list.keys, key), append(list.places, i)
	}
	return list, nil
}

func (f found) key() (auth.Key, error) {
	if f.err != nil {
		return auth.Key{}, f.err
	}
	return f.entry.key()
}

func (e entry) key() (auth.Key, error) {
	if e.KeySHA256 == "" {
		return auth.Key{}, errors.New("key_sha256 is missing")
	}
	digest, err := auth.ParseDigest(e.KeySHA256)
	if err != nil {
		return auth.Key{}, fmt.Errorf("key_sha256: %w", err)
	}
	key := auth.Key{
		ID: digest.ID(), Digest: digest, Project: e.Project,
		RequestsPerSecond: e.RequestsPerSecond, Burst: e.Burst,
		Strict: e.Strict, Origins: auth.ParseOrigins(e.Origins),
	}
	if key.ExpiresAt, err = parseTime("expires_at", e.ExpiresAt); err != nil {
		return auth.Key{}, err
	}
	if key.RevokedAt, err = parseTime("revoked_at", e.RevokedAt); err != nil {
		return auth.Key{}, err
	}
	return key, key.Validate()
}

func parseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.IsZero() {
		return time.Time{}, fmt.Errorf("%s is %q, must be a time like 2026-11-23T10:00:00Z", field, text)
	}
	return t, nil
}

func entryOf(key auth.Key) entry {
	return entry{
		Project: key.Project, KeySHA256: key.Digest.String(),
		RequestsPerSecond: key.RequestsPerSecond, Burst: key.Burst,
		Strict: key.Strict, Origins: key.Origins,
		ExpiresAt: formatTime(key.ExpiresAt), RevokedAt: formatTime(key.RevokedAt),
	}
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
