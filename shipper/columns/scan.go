package columns

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner steps through the fields of a JSON object without looking into their values. It is for text
// that was found valid before: of any other it may accept some, but never reads past the end.
// encoding/json would check and copy everything a second time, at several times the cost.
type scanner struct {
	text string
	at   int
}

// token is one JSON value, or a field's name, as it stands in the text, a string with its quotes. Raw is not empty.
type token struct {
	raw     string
	escaped bool // a string that holds a backslash
}

// kind is the first byte: '"' for a text, '{', '[', 'n' for null, otherwise a number or a boolean.
func (t token) kind() byte { return t.raw[0] }

func (s *scanner) fail(expected string) error {
	return fmt.Errorf("is not valid JSON: expected %s at byte %d", expected, s.at)
}

// peek skips white space and is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.text) {
		c := s.text[s.at]
		if c > ' ' || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
		s.at++
	}
	return 0
}

// object calls field with the name of each field of the object that begins here. Field takes the value.
func (s *scanner) object(field func(name token) error) error {
	if s.peek() != '{' {
		return s.fail("an object")
	}
	s.at++
	if s.peek() == '}' {
		s.at++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail("a field's name")
		}
		name, err := s.value()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.fail("a colon")
		}
		s.at++
		if err := field(name); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return s.fail("a comma or a closing brace")
		}
	}
}

// end is an error unless nothing but white space is left.
func (s *scanner) end() error {
	if s.peek() != 0 || s.at < len(s.text) {
		return s.fail("the end")
	}
	return nil
}

// ends are the bytes that end a number or a word.
var ends = [256]bool{',': true, ':': true, ']': true, '}': true, '[': true, '{': true, '"': true, ' ': true, '\t': true, '\r': true, '\n': true}

// value takes the next value whole.
func (s *scanner) value() (token, error) {
	first := s.peek()
	start, escaped := s.at, false
	switch first {
	case '"':
		var closed bool
		if escaped, closed = s.string(); !closed {
			return token{}, s.fail("a closing quote")
		}
	case '{', '[':
		if !s.nested() {
			return token{}, s.fail("a closing bracket")
		}
	default:
		for s.at < len(s.text) && !ends[s.text[s.at]] {
			s.at++
		}
		if s.at == start {
			return token{}, s.fail("a value")
		}
	}
	return token{s.text[start:s.at], escaped}, nil
}

// string moves past the text that begins here with a quote. It looks at eight bytes at a time.
func (s *scanner) string() (escaped, closed bool) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	text, at := s.text, s.at+1
	for at < len(text) {
		if at+8 <= len(text) {
			t := text[at : at+8]
			eight := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
				uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
			// A byte that is zero here turns its top bit on; what that carries into
			// the bytes above it does not matter, as only the lowest one counts.
			quote, slash := eight^('"'*ones), eight^('\\'*ones)
			found := ((quote-ones)&^quote | (slash-ones)&^slash) & tops
			if found == 0 {
				at += 8
				continue
			}
			at += bits.TrailingZeros64(found) / 8
		}
		switch text[at] {
		case '"':
			s.at = at + 1
			return escaped, true
		case '\\': // and what it escapes
			escaped = true
			at++
		}
		at++
	}
	s.at = len(text)
	return escaped, false
}

// nested moves past the object or list that begins here.
func (s *scanner) nested() bool {
	depth := 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			if _, closed := s.string(); !closed {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return true
		}
	}
	return false
}

// unescaped is the text of a token that has quotes. Half a surrogate pair is U+FFFD, as in
// encoding/json; an escape that JSON does not know is kept as it is.
func (t token) unescaped() string {
	text := t.raw[1 : len(t.raw)-1]
	if !t.escaped {
		return text
	}
	next := strings.IndexByte(text, '\\')
	out := make([]byte, 0, len(text))
	for next >= 0 {
		out = append(out, text[:next]...)
		var size int
		out, size = unescape(out, text[next:])
		text = text[next+size:]
		next = strings.IndexByte(text, '\\')
	}
	return string(append(out, text...))
}

// unescape appends what the escape at the start of text stands for, and is its length.
func unescape(out []byte, text string) ([]byte, int) {
	if len(text) < 2 {
		return append(out, text...), len(text)
	}
	switch text[1] {
	case '"', '\\', '/':
		return append(out, text[1]), 2
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	case 'u':
		first, ok := hexRune(text)
		if !ok {
			break
		}
		if utf16.IsSurrogate(first) {
			if second, ok := hexRune(text[6:]); ok {
				if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
					return utf8.AppendRune(out, pair), 12
				}
			}
			first = utf8.RuneError
		}
		return utf8.AppendRune(out, first), 6
	}
	return append(out, text[:2]...), 2
}

// hexRune reads \uXXXX at the start of text.
func hexRune(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(n), err == nil
}
