package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"forebay/router/auth"
)

// MaxFileBytes is the largest key file that is read.
const MaxFileBytes = 64 << 20

// entry is a key as it stands in the file. Numbers and times are read in forms
// that hold anything, since the YAML library rounds and zeroes what does not fit.
type entry struct {
	Project           string   `yaml:"project" json:"project"`
	KeySHA256         string   `yaml:"key_sha256" json:"key_sha256"`
	RequestsPerSecond float64  `yaml:"requests_per_second,omitempty" json:"requests_per_second,omitempty"`
	Burst             float64  `yaml:"burst,omitempty" json:"burst,omitempty"`
	Strict            bool     `yaml:"strict,omitempty" json:"strict,omitempty"`
	Origins           []string `yaml:"origins,omitempty" json:"origins,omitempty"`
	ExpiresAt         string   `yaml:"expires_at,omitempty" json:"expires_at,omitempty"`
	RevokedAt         string   `yaml:"revoked_at,omitempty" json:"revoked_at,omitempty"`
}

// Parse reads the text of a key file. The error names the line or the entry, and
// what to write instead. An empty text has no keys.
func Parse(text []byte) ([]auth.Key, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("%d bytes are more than the %d that a key file may have", len(text), MaxFileBytes)
	}
	entries, err := decode(text)
	if err != nil {
		return nil, err
	}
	if len(entries) > auth.MaxKeys {
		return nil, fmt.Errorf("%d keys are more than the %d that a node takes", len(entries), auth.MaxKeys)
	}
	keys := make([]auth.Key, 0, len(entries))
	seen := make(map[auth.Digest]int, len(entries))
	for i, e := range entries {
		key, err := e.key()
		if err != nil {
			return nil, fmt.Errorf("entry %d (project %q): %w", i+1, e.Project, err)
		}
		if first, twice := seen[key.Digest]; twice {
			return nil, fmt.Errorf("entry %d has the key_sha256 of entry %d", i+1, first+1)
		}
		seen[key.Digest] = i
		keys = append(keys, key)
	}
	return keys, nil
}

func decode(text []byte) ([]entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField())
	var entries []entry
	if err := decoder.Decode(&entries); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, describe(err)
	}
	var more any
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document: put all keys into one list")
	}
	return entries, nil
}

// describe makes one line of the library's errors, which quote the file.
func describe(err error) error {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return fmt.Errorf("read the list of keys: %w", err)
	}
	line := 0
	if token := syntax.GetToken(); token != nil && token.Position != nil {
		line = token.Position.Line
	}
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) && unknown.Token != nil {
		return fmt.Errorf("line %d: unknown field %q; did you mean %q?", line, unknown.Token.Value, nearestField(unknown.Token.Value))
	}
	var kind *yaml.UnexpectedNodeTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("line %d: %s; a key file is a list of {project, key_sha256, …}", line, syntax.GetMessage())
	}
	return fmt.Errorf("line %d: %s", line, syntax.GetMessage())
}

func (e entry) key() (auth.Key, error) {
	if e.KeySHA256 == "" {
		return auth.Key{}, errors.New("key_sha256 is missing")
	}
	digest, err := auth.ParseDigest(e.KeySHA256)
	if err != nil {
		return auth.Key{}, fmt.Errorf("key_sha256: %w", err)
	}
	if e.Burst != math.Trunc(e.Burst) || math.Abs(e.Burst) > auth.MaxBurst {
		return auth.Key{}, fmt.Errorf("burst is %v, must be a whole number from 0 (the default) to %d", e.Burst, auth.MaxBurst)
	}
	key := auth.Key{
		ID: digest.ID(), Digest: digest, Project: e.Project,
		RequestsPerSecond: e.RequestsPerSecond, Burst: int(e.Burst),
		Strict: e.Strict, Origins: e.Origins,
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
		RequestsPerSecond: key.RequestsPerSecond, Burst: float64(key.Burst),
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

// isJSON tells a file that has to stay JSON from one that has to stay YAML.
func isJSON(text []byte) bool { return json.Valid(text) }

// fields are the names that an entry may have.
func fields() []string {
	var names []string
	for field := range reflect.TypeFor[entry]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	return names
}

// nearestField is the known name that takes the fewest edits to reach.
func nearestField(name string) string {
	return slices.MinFunc(fields(), func(a, b string) int {
		return editDistance(name, a) - editDistance(name, b)
	})
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
