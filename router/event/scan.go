package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner reads JSON text (RFC 8259) from src. Its methods return false at the
// first byte that is not JSON, and pos then stands near it. They accept what
// encoding/json's Valid accepts and nothing else; what is JSON but not allowed
// in an event is reported in flags, so that one bad event can be stepped over.
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
	flagControl                     // a control character other than the blanks below
	flagBlank                       // a tab, newline or carriage return
)

func (s *scanner) text(t span) []byte {
	if t.decoded {
		return s.scratch[t.start:t.end:t.end]
	}
	return s.src[t.start:t.end:t.end]
}

// rule returns the rule that a key or string of these flags breaks anywhere in
// an event, or "".
func (f flags) rule() Rule {
	switch {
	case f&flagUTF8 != 0:
		return RuleUTF8
	case f&flagSurrogate != 0:
		return RuleSurrogate
	case f&flagControl != 0:
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

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns how many bytes from the start of b are printable ASCII without
// quotes and backslashes, eight at a time.
func plain(b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote := w ^ ('"' * ones)
		slash := w ^ ('\\' * ones)
		del := w ^ (0x7f * ones)
		// A byte's high bit is set where it is below 0x20, equal to one of the
		// three, or not ASCII. Borrows can only set bits above a true hit, so
		// the lowest hit is exact.
		hit := (w - 0x20*ones) | (quote - ones) | (slash - ones) | (del - ones) | w
		hit &= highs
		if hit != 0 {
			at := bits.TrailingZeros64(hit) / 8
			return n + at
		}
		n += 8
	}
	for n < len(b) && b[n] >= 0x20 && b[n] < 0x7f && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// str reads a string whose opening quote is at pos and decodes it.
func (s *scanner) str() (span, flags, bool) {
	s.pos++
	start := s.pos
	s.pos += plain(s.src[s.pos:])
	if s.pos < len(s.src) && s.src[s.pos] == '"' {
		t := span{start: uint32(start), end: uint32(s.pos)}
		s.pos++
		return t, 0, true
	}
	return s.strSlow(start)
}

// strSlow goes on where str met a byte that needs a closer look.
func (s *scanner) strSlow(start int) (span, flags, bool) {
	var f flags
	copied := false // everything before pos is in scratch
	begin := len(s.scratch)
	from := start // first byte not yet copied
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		switch {
		case c == '"':
			t := span{start: uint32(start), end: uint32(s.pos)}
			if copied {
				s.scratch = append(s.scratch, s.src[from:s.pos]...)
				t = span{start: uint32(begin), end: uint32(len(s.scratch)), decoded: true}
			}
			s.pos++
			return t, f, true
		case c == '\\':
			s.scratch = append(s.scratch, s.src[from:s.pos]...)
			copied = true
			g, ok := s.escape()
			if !ok {
				return span{}, f, false
			}
			f |= g
			from = s.pos
		case c < ' ':
			return span{}, f, false
		case c == 0x7f:
			f |= flagControl
			s.pos++
		case c < utf8.RuneSelf:
			s.pos += plain(s.src[s.pos:])
		default:
			r, size := utf8.DecodeRune(s.src[s.pos:])
			if r == utf8.RuneError && size == 1 {
				f |= flagUTF8
			} else if r < 0xa0 {
				f |= flagControl
			}
			s.pos += size
		}
	}
	return span{}, f, false
}

// escape reads one escape, whose backslash is at pos, into scratch.
func (s *scanner) escape() (flags, bool) {
	if s.pos+1 >= len(s.src) {
		return 0, false
	}
	c := s.src[s.pos+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		s.pos += 2
		s.scratch = append(s.scratch, '\b')
		return flagControl, true
	case 'f':
		s.pos += 2
		s.scratch = append(s.scratch, '\f')
		return flagControl, true
	case 'n', 'r', 't':
		s.pos += 2
		s.scratch = append(s.scratch, blank(c))
		return flagBlank, true
	case 'u':
		return s.escapeUnicode()
	default:
		return 0, false
	}
	s.pos += 2
	s.scratch = append(s.scratch, c)
	return 0, true
}

// blank returns what an escaped n, r or t stands for.
func blank(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	default:
		return '\t'
	}
}

// escapeUnicode reads \uXXXX, or two of them that make a surrogate pair.
func (s *scanner) escapeUnicode() (flags, bool) {
	r, ok := hex4(s.src[s.pos:])
	if !ok {
		return 0, false
	}
	s.pos += 6
	if r >= 0xd800 && r < 0xe000 {
		low, ok := hex4(s.src[s.pos:])
		if r >= 0xdc00 || !ok || low < 0xdc00 || low >= 0xe000 {
			s.scratch = utf8.AppendRune(s.scratch, utf8.RuneError)
			return flagSurrogate, true
		}
		s.pos += 6
		r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
	}
	s.scratch = utf8.AppendRune(s.scratch, r)
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return flagBlank, true
	case r < ' ' || (r >= 0x7f && r < 0xa0):
		return flagControl, true
	}
	return 0, true
}

// hex4 reads the \uXXXX that b starts with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
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

// skip steps over one value of any depth. It looks at nothing but syntax and
// uses one byte of memory per level.
func (s *scanner) skip() bool {
	s.open = s.open[:0]
	for {
		opened, ok := s.skipStart()
		if !ok {
			return false
		}
		if opened {
			continue
		}
		if more, ok := s.skipEnds(); !ok || !more {
			return ok
		}
	}
}

// skipStart steps over a scalar, an empty array or object, or the opening of
// one (opened) up to where its first value starts.
func (s *scanner) skipStart() (opened, ok bool) {
	switch c := s.space(); c {
	case '{':
		s.pos++
		if s.space() == '}' {
			s.pos++
			return false, true
		}
		s.open = append(s.open, '{')
		return true, s.skipKey()
	case '[':
		s.pos++
		if s.space() == ']' {
			s.pos++
			return false, true
		}
		s.open = append(s.open, '[')
		return true, true
	case '"':
		return false, s.skipString()
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	default:
		_, ok := s.number()
		return false, ok
	}
}

// skipEnds closes what ends after a value. more says that another value
// follows, inside a bracket that is still open.
func (s *scanner) skipEnds() (more, ok bool) {
	for len(s.open) > 0 {
		object := s.open[len(s.open)-1] == '{'
		switch c := s.space(); {
		case c == ',' && object:
			s.pos++
			return true, s.skipKey()
		case c == ',':
			s.pos++
			return true, true
		case c == '}' && object, c == ']' && !object:
			s.pos++
			s.open = s.open[:len(s.open)-1]
		default:
			return false, false
		}
	}
	return false, true
}

// skipKey steps over a member's name and colon.
func (s *scanner) skipKey() bool {
	if s.space() != '"' || !s.skipString() || s.space() != ':' {
		return false
	}
	s.pos++
	return true
}

// skipString steps over a string without decoding it.
func (s *scanner) skipString() bool {
	s.pos++
	for {
		s.pos += plain(s.src[s.pos:])
		if s.pos >= len(s.src) {
			return false
		}
		switch c := s.src[s.pos]; {
		case c == '"':
			s.pos++
			return true
		case c < ' ':
			return false
		case c != '\\':
			s.pos++
		case s.pos+1 >= len(s.src):
			return false
		case s.src[s.pos+1] == 'u':
			if _, ok := hex4(s.src[s.pos:]); !ok {
				return false
			}
			s.pos += 6
		default:
			switch s.src[s.pos+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.pos += 2
			default:
				return false
			}
		}
	}
}
