package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has the high bit of a byte set where w, eight bytes of text, has one
// that is not printable ASCII, or a quote or a backslash. Borrows can only set
// bits above a true hit, so the lowest is exact.
func special(w uint64) uint64 {
	quote := w ^ ('"' * ones)
	slash := w ^ ('\\' * ones)
	del := w ^ (0x7f * ones)
	return ((w - 0x20*ones) | (quote - ones) | (slash - ones) | (del - ones) | w) & highs
}

// plain returns the first place from i on where b has a byte that is special,
// or its length.
func plain(b []byte, i int) int {
	for len(b)-i >= 8 {
		if hit := special(binary.LittleEndian.Uint64(b[i:])); hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
		i += 8
	}
	for i < len(b) && b[i] >= 0x20 && b[i] < 0x7f && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// str reads a string whose opening quote is at pos and decodes it.
func (s *scanner) str() (span, flags, bool) {
	start := s.pos + 1
	end := plain(s.src, start)
	if end < len(s.src) && s.src[end] == '"' {
		s.pos = end + 1
		return span{start: uint32(start), end: uint32(end)}, 0, true
	}
	s.pos = end
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
			s.pos = plain(s.src, s.pos)
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
	case r == '\x1b':
		return flagEscape, true
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
