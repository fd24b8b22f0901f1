// Package privacy finds personal data and secrets in the keys and strings of an
// event, so that they never reach the disk. An event with a finding is dropped
// whole: nothing is masked or rewritten.
//
// Each detector is a pure function of one text and demands evidence beyond a
// look-alike: a card number has an issuer's prefix and length and the right
// check digit, an IBAN its country's length and remainder. A text is looked at
// as it is and, if it holds anything that could hide something, once more
// without its disguise: percent-encoding and \u escapes decoded, up to three
// times over, full-width and other Unicode forms of ASCII folded, and
// characters that stand apart ("j o h n @ ...") put together.
//
// There are no regular expressions: every detector passes over the text once,
// and looks ahead from a place by a bounded number of bytes or over bytes that
// no other place looks at again. So the time is linear in the text, and the
// memory at most three copies of it. Numbers of JSON are not looked at, and neither is what
// is split over several strings.
package privacy

import (
	"fmt"
	"iter"
	"strings"
)

// Detector names what was found.
type Detector uint8

// The detectors.
const (
	DeniedKey  Detector = iota // a name, such as "email" or "credit_card", of a member or a query's parameter
	Email                      // an e-mail address
	Card                       // a payment card number
	SSN                        // a US social security number, in its three groups
	IBAN                       // an international bank account number
	Token                      // a JSON web token, or a bearer token
	PrivateKey                 // a private key in PEM
	Phone                      // a phone number in international form

	// DetectorCount is the number of detectors.
	DetectorCount
)

var detectorNames = [DetectorCount]string{"denied_key", "email", "card", "ssn", "iban", "token", "private_key", "phone"}

var detectorSubjects = [DetectorCount]string{
	"a name on the list of denied keys", "an e-mail address", "a payment card number", "a US social security number",
	"a bank account number", "an access token", "a private key", "a phone number",
}

// Subject says for people what the detector finds.
func (d Detector) Subject() string { return detectorSubjects[d] }

// String returns the name used as a rule on the wire, in metrics and in the
// configuration.
func (d Detector) String() string {
	if d < DetectorCount {
		return detectorNames[d]
	}
	return "unknown"
}

// Set is a set of detectors.
type Set uint16

// Has reports whether d is in the set.
func (s Set) Has(d Detector) bool { return s&(1<<d) != 0 }

// All yields the detectors of the set, in their order.
func (s Set) All() iter.Seq[Detector] {
	return func(yield func(Detector) bool) {
		for d := range DetectorCount {
			if s.Has(d) && !yield(d) {
				return
			}
		}
	}
}

// With returns the set with d in it.
func (s Set) With(d Detector) Set { return s | 1<<d }

// Action is what happens to an event with a finding.
type Action uint8

// The actions.
const (
	Drop   Action = iota // the event is dropped
	Report               // it is only counted
)

// Rules give detectors their action. A detector that is not named keeps the one
// that it has.
type Rules map[Detector]Action

// Options set a Checker up. The zero Options drop on every finding.
type Options struct {
	Action     Action           // of detectors that the rules do not name
	Rules      Rules            // of single detectors
	Projects   map[string]Rules // of single detectors in single projects; these go first
	DeniedKeys []string         // in addition to the built-in ones
}

// Checker applies the detectors. It is safe for concurrent use.
type Checker struct {
	denied   deniedKeys
	dropped  Set            // detectors whose action is Drop
	projects map[string]Set // the same for projects with rules of their own
}

// New makes a checker. The error names the denied key that is none.
func New(opts Options) (*Checker, error) {
	denied, err := newDeniedKeys(opts.DeniedKeys)
	if err != nil {
		return nil, err
	}
	c := &Checker{denied: denied, projects: make(map[string]Set, len(opts.Projects))}
	if opts.Action == Drop {
		c.dropped = 1<<DetectorCount - 1
	}
	c.dropped = opts.Rules.apply(c.dropped)
	for project, rules := range opts.Projects {
		c.projects[project] = rules.apply(c.dropped)
	}
	return c, nil
}

func (r Rules) apply(dropped Set) Set {
	for d, action := range r {
		dropped &^= 1 << d
		if action == Drop {
			dropped |= 1 << d
		}
	}
	return dropped
}

// Drops returns the detectors whose findings drop an event of the project; the
// others are only counted.
func (c *Checker) Drops(project string) Set {
	if s, ok := c.projects[project]; ok {
		return s
	}
	return c.dropped
}

// ParseDetector returns the detector of this name.
func ParseDetector(name string) (Detector, error) {
	for d, n := range detectorNames {
		if n == name {
			return Detector(d), nil
		}
	}
	return 0, fmt.Errorf("privacy: no detector %q, want one of %s", name, strings.Join(detectorNames[:], ", "))
}
