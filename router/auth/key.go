package auth

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds on what an operator can say about a key.
const (
	MaxProjectBytes      = 128
	MaxRequestsPerSecond = 1_000_000
	MaxBurst             = 10_000_000
	MaxOrigins           = 100
	MaxOriginBytes       = 256
)

// Key is what the operator said about one API key.
type Key struct {
	ID                string // Digest.ID
	Digest            Digest
	Project           string    // whose events these are
	RequestsPerSecond float64   // 0: the node's default
	Burst             int       // requests at once; 0: the node's default
	Strict            bool      // the sender is trusted and gets true answers
	Origins           []string  // web origins that may use it; empty: any, and none at all
	ExpiresAt         time.Time // not valid from then on; zero: never
	RevokedAt         time.Time // revoked, whatever the clock says; zero: not revoked
}

// State tells what a request with a key is worth.
type State int

// The states of a key. All but Active mean that the request is dropped.
const (
	Unknown       State = iota // no such key, or none in the request
	Active                     // may send
	Revoked                    // withdrawn by the operator
	Expired                    // past its ExpiresAt
	OriginRefused              // shown by a page of another origin
)

// String is the state's name as operators see it, in the list of keys.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Revoked:
		return "revoked"
	case Expired:
		return "expired"
	case OriginRefused:
		return "origin refused"
	}
	return "unknown"
}

// Active tells whether the key is neither revoked nor expired at now.
func (k Key) Active(now time.Time) bool { return k.lifetime(now) == Active }

// State judges a request that shows the key at now from origin, the request's
// Origin header. A key with a list of origins is for those pages alone: a
// request without the header is refused too. The zero Key is Unknown.
func (k Key) State(now time.Time, origin string) State {
	if k.Digest == (Digest{}) {
		return Unknown
	}
	if state := k.lifetime(now); state != Active {
		return state
	}
	if !k.allows(origin) {
		return OriginRefused
	}
	return Active
}

func (k Key) lifetime(now time.Time) State {
	switch {
	case !k.RevokedAt.IsZero(): // the operator's clock may be ahead of this one
		return Revoked
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return Expired
	}
	return Active
}

// allows compares without case, since schemes and hosts have none.
func (k Key) allows(origin string) bool {
	if len(k.Origins) == 0 {
		return true
	}
	for _, allowed := range k.Origins {
		if strings.EqualFold(allowed, origin) {
			return true
		}
	}
	return false
}

// Validate checks every field against the bounds of this package. The error
// names the field.
func (k Key) Validate() error {
	if k.Digest == (Digest{}) {
		return errors.New("key_sha256 is missing")
	}
	if k.ID != k.Digest.ID() {
		return fmt.Errorf("id %q is not that of the digest, %s", k.ID, k.Digest.ID())
	}
	if err := validateProject(k.Project); err != nil {
		return err
	}
	if math.IsNaN(k.RequestsPerSecond) || k.RequestsPerSecond < 0 || k.RequestsPerSecond > MaxRequestsPerSecond {
		return fmt.Errorf("requests_per_second is %v, must be from 0 (the default) to %d", k.RequestsPerSecond, MaxRequestsPerSecond)
	}
	if k.Burst < 0 || k.Burst > MaxBurst {
		return fmt.Errorf("burst is %d, must be from 0 (the default) to %d", k.Burst, MaxBurst)
	}
	if len(k.Origins) > MaxOrigins {
		return fmt.Errorf("origins has %d entries, at most %d are allowed", len(k.Origins), MaxOrigins)
	}
	for _, origin := range k.Origins {
		if err := validateOrigin(origin); err != nil {
			return err
		}
	}
	return nil
}

// ParseProject checks the name of a project that is new, without white space around
// it: 1 to MaxProjectBytes of ASCII letters, digits, and . _ -, which can stand in a
// URL, a file name and a query as they are. Keys that were made with other names
// before stay valid.
func ParseProject(text string) (string, error) {
	project := strings.TrimSpace(text)
	if err := validateProject(project); err != nil {
		return "", err
	}
	for _, c := range project {
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && !strings.ContainsRune("._-", c) {
			return "", fmt.Errorf("project %q has %q: use letters, digits, and . _ - of ASCII", text, c)
		}
	}
	return project, nil
}

func validateProject(project string) error {
	if project == "" {
		return errors.New("project is missing")
	}
	if len(project) > MaxProjectBytes {
		return fmt.Errorf("project has %d bytes, at most %d are allowed", len(project), MaxProjectBytes)
	}
	if !utf8.ValidString(project) || strings.ContainsFunc(project, unicode.IsControl) {
		return fmt.Errorf("project %q must be UTF-8 without control characters", project)
	}
	return nil
}

// validateOrigin takes an origin in the form of ParseOrigin, which is compared with
// what browsers send.
func validateOrigin(origin string) error {
	normal, err := ParseOrigin(origin)
	if err != nil {
		return err
	}
	if normal != origin {
		return fmt.Errorf("origin %q is sent by browsers as %q: write that", origin, normal)
	}
	return nil
}
