package event

// scanner reads JSON text (RFC 8259) from src. Its methods return false at the
// first byte that is not JSON, and pos then stands near it. They accept what
// encoding/json's Valid accepts, at any nesting, and nothing else. What is JSON
// but not allowed in an event is reported in flags, so that one bad event can be
// stepped over.
type scanner struct {
	src     []byte
	pos     int
	scratch []byte // decoded text of strings that hold escapes
	open    []byte // brackets that skip has open
}

// span is the decoded text of a string: bytes of src, or of scratch if the
// string held escapes.
type span struct {
	start, end uint32
	decoded    bool // in scratch
}

// flags say what is wrong with a string that is JSON.
type flags uint8

const (
	flagUTF8      flags = 1 << iota // not UTF-8
	flagSurrogate                   // an escaped half of a surrogate pair
	flagControl                     // a control character other than those below
	flagBlank                       // a tab, newline or carriage return
	flagEscape                      // the character with which a terminal's colours start
)

func (s *scanner) text(t span) []byte {
	if t.decoded {
		return s.scratch[t.start:t.end:t.end]
	}
	return s.src[t.start:t.end:t.end]
}

// valueRule returns the rule that a string of these flags breaks as a value in
// an event, or "". Texts of errors often carry the colours of a terminal.
func (f flags) valueRule() Rule { return (f &^ flagEscape).rule() }

// rule returns the rule that a string of these flags breaks as a name, or as a
// member of the batch, or "".
func (f flags) rule() Rule {
	switch {
	case f&flagUTF8 != 0:
		return RuleUTF8
	case f&flagSurrogate != 0:
		return RuleSurrogate
	case f&(flagControl|flagEscape) != 0:
		return RuleControl
	}
	return ""
}

// lineRule is rule for a text that may not hold a tab, newline or carriage
// return either.
func (f flags) lineRule() Rule {
	if rule := f.rule(); rule != "" || f&flagBlank == 0 {
		return rule
	}
	return RuleControl
}

// atEnd steps over white space and reports whether nothing follows.
func (s *scanner) atEnd() bool {
	s.space()
	return s.pos == len(s.src)
}

// space steps over white space and returns the byte after it, 0 at the end.
func (s *scanner) space() byte {
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
			return c
		}
		s.pos++
	}
	return 0
}

// number reads a number and reports whether it has an exponent.
func (s *scanner) number() (exponent, ok bool) {
	b := s.src
	if s.pos < len(b) && b[s.pos] == '-' {
		s.pos++
	}
	switch {
	case s.pos >= len(b):
		return false, false
	case b[s.pos] == '0':
		s.pos++
	case !s.digits():
		return false, false
	}
	if s.pos < len(b) && b[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return false, false
		}
	}
	if s.pos < len(b) && (b[s.pos] == 'e' || b[s.pos] == 'E') {
		s.pos++
		if s.pos < len(b) && (b[s.pos] == '+' || b[s.pos] == '-') {
			s.pos++
		}
		return true, s.digits()
	}
	return false, true
}

// digits steps over at least one digit.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.src) && s.src[s.pos] >= '0' && s.src[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// literal steps over word, which is true, false or null.
func (s *scanner) literal(word string) bool {
	if len(s.src)-s.pos < len(word) || string(s.src[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}
