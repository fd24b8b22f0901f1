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

// open takes the brace of an object that begins here, and says whether a field follows.
func (s *scanner) open() (more bool, err error) {
	if s.peek() != '{' {
		return false, s.fail("an object")
	}
	s.at++
	if s.peek() == '}' {
		s.at++
		return false, nil
	}
	return true, nil
}

// name takes a field's name and the colon after it.
func (s *scanner) name() (token, error) {
	if s.peek() != '"' {
		return token{}, s.fail("a field's name")
	}
	name, err := s.value()
	if err != nil {
		return token{}, err
	}
	if s.peek() != ':' {
		return token{}, s.fail("a colon")
	}
	s.at++
	return name, nil
}

// next takes what stands after a field's value, and says whether another field follows.
func (s *scanner) next() (more bool, err error) {
	switch s.peek() {
	case ',':
		s.at++
		return true, nil
	case '}':
		s.at++
		return false, nil
	}
	return false, s.fail("a comma or a closing brace")
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
	start, end, escaped := s.at, s.at, false
	switch first {
	case '"':
		if end, escaped = afterText(s.text, start+1); end == 0 {
			s.at = len(s.text)
			return token{}, s.fail("a closing quote")
		}
	case '{', '[':
		if end = afterNested(s.text, start); end == 0 {
			s.at = len(s.text)
			return token{}, s.fail("a closing bracket")
		}
	default:
		for end < len(s.text) && !ends[s.text[end]] {
			end++
		}
		if end == start {
			return token{}, s.fail("a value")
		}
	}
	s.at = end
	return token{s.text[start:end], escaped}, nil
}

// afterText is where the text ends whose first byte after the quote is at, behind its closing quote; 0 if
// it has none. It looks at eight bytes at a time.
func afterText(text string, at int) (end int, escaped bool) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
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
			return at + 1, escaped
		case '\\': // and what it escapes
			escaped = true
			at++
		}
		at++
	}
	return 0, escaped
}

// nests are the bytes that matter in an object or a list, as far as where it ends.
var nests = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// afterNested is where the object or list ends that begins at at; 0 if it does not.
func afterNested(text string, at int) int {
	depth := 0
	for at < len(text) {
		c := text[at]
		at++
		if !nests[c] {
			continue
		}
		switch c {
		case '"':
			if at, _ = afterText(text, at); at == 0 {
				return 0
			}
		case '{', '[':
			depth++
		default:
			if depth--; depth == 0 {
				return at
			}
		}
	}
	return 0
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
