// Package privacy finds personal data and secrets in the keys and strings of an
// event, so that they never reach the disk. An event with a finding is dropped
// whole: nothing is masked or rewritten.
//
// Each detector is a pure function of one text and demands evidence beyond a
// look-alike: a card number has an issuer's prefix and length and the right
// check digit, an IBAN its country's length and remainder. All run in time
// linear in the text and without memory of their own. Numbers of JSON are not
// looked at, and neither are names that are split over several strings.
package privacy

import (
	"fmt"
	"strings"
)

// Detector names what was found.
type Detector uint8

// The detectors.
const (
	DeniedKey  Detector = iota // a member's name, such as "email" or "credit_card"
	Email                      // an e-mail address
	Card                       // a payment card number
	SSN                        // a US social security number, with hyphens
	IBAN                       // an international bank account number
	Token                      // a JSON web token, or a bearer token
	PrivateKey                 // a private key in PEM
	Phone                      // a phone number in international form

	// DetectorCount is the number of detectors.
	DetectorCount
)

var detectorNames = [DetectorCount]string{"denied_key", "email", "card", "ssn", "iban", "token", "private_key", "phone"}

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

// With returns the set with d in it.
func (s Set) With(d Detector) Set { return s | 1<<d }

// Action is what happens to an event with a finding.
type Action uint8

// The actions.
const (
	Drop   Action = iota // the event is dropped
	Report               // it is only counted
)

// Rules give each detector its action. A field that is nil changes nothing.
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

// Find returns the detectors that find something in text. A key is also held
// against the denied keys.
func (c *Checker) Find(text []byte, isKey bool) (found Set) {
	if isKey && c.denied.has(text) {
		found = found.With(DeniedKey)
	}
	return found | Find(text)
}

// shortest is the length of the shortest text in which a detector finds
// something: a@b.de.
const shortest = 6

// Find returns the detectors that find something in text, other than by its
// being a key.
func Find(text []byte) (found Set) {
	if len(text) < shortest || isUUID(text) {
		return 0
	}
	s := look(text)
	if s.has(signAt) && hasEmail(text) {
		found = found.With(Email)
	}
	if s.digits >= minCardDigits && hasCard(text) {
		found = found.With(Card)
	}
	if s.digits >= ssnDigits && s.has(signHyphen) && hasSSN(text) {
		found = found.With(SSN)
	}
	if s.digits >= minPhoneDigits && s.has(signPlus) && hasPhone(text) {
		found = found.With(Phone)
	}
	if s.letters >= 2 && s.digits >= 2 && s.letters+s.digits >= minIBAN && hasIBAN(text) {
		found = found.With(IBAN)
	}
	if s.letters >= minTokenBytes/2 && (s.has(signPoint) && hasJWT(text) || s.has(signGap) && hasBearer(text)) {
		found = found.With(Token)
	}
	if s.has(signHyphen) && hasPrivateKey(text) {
		found = found.With(PrivateKey)
	}
	return found
}

// isUUID reports whether text is a UUID, the form of most IDs. No detector finds
// anything in one: its groups are neither a card's nor a phone's, and it goes on
// where an account number would have to end.
func isUUID(text []byte) bool {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	hyphens := 0
	for _, c := range text {
		if c == '-' {
			hyphens++
		} else if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return hyphens == 4
}

// signs are properties of a text that detectors need: without them they need
// not look.
type signs struct {
	digits, letters int
	bits            uint64
}

func (s signs) has(sign uint64) bool { return s.bits&sign != 0 }

// A byte's class counts digits in its low half and letters above, and holds
// signs at the top.
const (
	classDigit  = 1
	classLetter = 1 << 28
	classCount  = 1<<28 - 1
	signAt      = 1 << 60
	signPlus    = 1 << 61
	signHyphen  = 1 << 62
	signPoint   = 1 << 59
	signGap     = 1 << 58 // a space, tab or colon
)

var classes = func() (c [256]uint64) {
	for b := range 256 {
		switch {
		case isDigit(byte(b)):
			c[b] = classDigit
		case isLetter(byte(b)):
			c[b] = classLetter
		}
	}
	c['@'], c['+'], c['-'], c['.'] = signAt, signPlus, signHyphen, signPoint
	c[' '], c['\t'], c[':'] = signGap, signGap, signGap
	return c
}()

// look classifies a text of less than 256 MiB.
func look(text []byte) signs {
	var total, seen uint64
	for _, b := range text {
		class := classes[b]
		total += class
		seen |= class
	}
	return signs{digits: int(total & classCount), letters: int(total >> 28 & classCount), bits: seen}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isDigit(c) || isLetter(c) }

// ParseDetector returns the detector of this name.
func ParseDetector(name string) (Detector, error) {
	for d, n := range detectorNames {
		if n == name {
			return Detector(d), nil
		}
	}
	return 0, fmt.Errorf("privacy: no detector %q, want one of %s", name, strings.Join(detectorNames[:], ", "))
}
