package privacy

// Find returns the detectors that find something in text. A key is also held
// against the denied keys.
func (c *Checker) Find(text []byte, isKey bool) Set {
	f := finder{denied: &c.denied, isKey: isKey}
	return f.find(text)
}

// finder looks at one text.
type finder struct {
	denied *deniedKeys
	isKey  bool
	// steps counts the bytes looked at, in all passes and looks ahead. A test
	// holds it to a multiple of the text's length.
	steps int
}

// shortest is the length of the shortest text in which a detector finds
// something, other than in a key: a@b.de.
const shortest = 6

// find looks at text as it is and, if it may be in disguise, without it.
func (f *finder) find(text []byte) Set {
	if len(text) < shortest && !f.isKey || isUUID(text) {
		return 0
	}
	s := f.look(text)
	found := f.detect(text, s)
	if s.has(signDisguise | signSpace) {
		found |= f.unmask(text, s)
	}
	return found
}

// unmask takes a text's disguise off and looks at what appears.
func (f *finder) unmask(text []byte, s signs) (found Set) {
	if s.has(signDisguise) {
		plain, changed := f.decode(text)
		if changed {
			text, s = plain, f.look(plain)
			found = f.detect(text, s)
		}
	}
	if s.has(signSpace) {
		if joined := f.join(text); joined != nil {
			found |= f.detect(joined, f.look(joined))
		}
	}
	return found
}

// detect runs the detectors that the signs do not rule out.
func (f *finder) detect(text []byte, s signs) (found Set) {
	if f.isKey {
		f.steps += len(text)
	}
	if f.isKey && f.denied.has(text) || s.has(signQuery) && s.has(signValue) && f.hasDeniedParameter(text) {
		found = found.With(DeniedKey)
	}
	if s.has(signAt) && f.hasEmail(text) {
		found = found.With(Email)
	}
	if s.digits >= minCardDigits && f.hasCard(text) {
		found = found.With(Card)
	}
	if s.digits >= ssnDigits && s.has(signHyphen|signSpace) && f.hasSSN(text) {
		found = found.With(SSN)
	}
	if s.digits >= minPhoneDigits && s.has(signPlus) && f.hasPhone(text) {
		found = found.With(Phone)
	}
	if s.letters >= 2 && s.digits >= 2 && s.letters+s.digits >= minIBAN && f.hasIBAN(text) {
		found = found.With(IBAN)
	}
	if s.letters >= minTokenBytes/2 && (s.has(signPoint) && f.hasJWT(text) || s.has(signGap) && f.hasBearer(text)) {
		found = found.With(Token)
	}
	if s.has(signHyphen) && f.hasPrivateKey(text) {
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
	total := 0
	for _, c := range text {
		total += int(inUUID[c])
	}
	return total == hyphensOfUUID
}

const hyphensOfUUID = 4

// inUUID counts hyphens. A byte that stands in no UUID counts for more than all
// of them, so that the loop over a text needs no branches: in random digits the
// processor cannot foresee them.
var inUUID = func() (c [256]uint8) {
	for b := range 256 {
		switch {
		case b == '-':
			c[b] = 1
		case hexDigit(byte(b)) < 0:
			c[b] = hyphensOfUUID + 1
		}
	}
	return c
}()

// signs are properties of a text that detectors need: without them they need
// not look.
type signs struct {
	digits, letters int
	bits            uint64
}

// has reports whether the text has any of the signs.
func (s signs) has(sign uint64) bool { return s.bits&sign != 0 }

// A byte's class counts digits in its low half and letters above, and holds
// signs at the top.
const (
	classDigit   = 1
	classLetter  = 1 << 27
	classCount   = 1<<27 - 1
	signValue    = 1 << 55 // = or ], at which a parameter's name ends
	signDisguise = 1 << 56 // what decode may change
	signQuery    = 1 << 57 // ? or #
	signGap      = 1 << 58 // a space, tab or colon
	signPoint    = 1 << 59
	signAt       = 1 << 60
	signPlus     = 1 << 61
	signHyphen   = 1 << 62
	signSpace    = 1 << 63
)

var classes = func() (c [256]uint64) {
	for b := range 256 {
		switch {
		case isDigit(byte(b)):
			c[b] = classDigit
		case isLetter(byte(b)):
			c[b] = classLetter
		case b >= 0x80:
			c[b] = signDisguise
		}
	}
	c['@'], c['-'], c['.'] = signAt, signHyphen, signPoint
	c[' '], c['\t'], c[':'] = signGap|signSpace, signGap, signGap
	c[escape] = signDisguise
	c['%'], c['\\'], c['+'] = signDisguise, signDisguise, signDisguise|signPlus
	c['?'], c['#'], c['='], c[']'] = signQuery, signQuery, signValue, signValue
	return c
}()

// look classifies a text of less than 128 MiB.
func (f *finder) look(text []byte) signs {
	f.steps += len(text)
	var total, seen uint64
	for _, b := range text {
		class := classes[b]
		total += class // signs run over at the top, and are not read from here
		seen |= class
	}
	return signs{digits: int(total & classCount), letters: int(total >> 27 & classCount), bits: seen}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isDigit(c) || isLetter(c) }

// startsNumber reports whether a number may start after c: in "a-4111" or
// "1.4111" it goes on.
func startsNumber(c byte) bool { return !isAlnum(c) && c != '-' && c != '.' && c != '_' }

// endsNumber reports whether a number ends before the rest.
func endsNumber(rest []byte) bool {
	if len(rest) == 0 {
		return true
	}
	c := rest[0]
	if isAlnum(c) || c == '_' {
		return false
	}
	return (c != '-' && c != '.') || len(rest) == 1 || !isAlnum(rest[1])
}

// maxGap bounds what may stand between two groups of a number.
const maxGap = 3

// gap returns the spaces and hyphens with which text starts, nil if they are
// none or more than a gap may have.
func gap(text []byte) []byte {
	n := 0
	for n < len(text) && (text[n] == ' ' || text[n] == '-') {
		if n++; n > maxGap {
			return nil
		}
	}
	return text[:n]
}
