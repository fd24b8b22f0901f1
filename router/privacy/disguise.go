package privacy

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// maxDecoding is how many times over a text may be encoded.
const maxDecoding = 3

// decode returns text without percent-encoding, \u escapes, Unicode forms of
// ASCII and the colours of a terminal, and whether anything of the kind was there. It shrinks: no form is
// shorter than what it stands for.
func (f *finder) decode(text []byte) (plain []byte, changed bool) {
	plain = make([]byte, 0, len(text))
	again := true
	for n := 0; n < maxDecoding && again; n++ {
		f.steps += len(text)
		var some bool
		plain, some, again = decodeOnce(plain[:0], text)
		changed = changed || some
		text = plain // from now on in place: what is written never overtakes what is read
	}
	return plain, changed
}

// decodeOnce appends text to dst, decoded once. again says that an escape was
// decoded, which may have hidden another.
func decodeOnce(dst, text []byte) (out []byte, changed, again bool) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '%':
			if b, ok := hexPair(text[i+1:]); ok {
				dst, changed, again = append(dst, b), true, true
				i += 3
				continue
			}
		case c == '\\':
			if r, size := unicodeEscape(text[i:]); size > 0 {
				dst, changed, again = utf8.AppendRune(dst, r), true, true
				i += size
				continue
			}
		case c == escape:
			changed = true
			i += colour(text[i:])
			continue
		case c == '+' && len(dst) > 0 && (isAlnum(dst[len(dst)-1]) || dst[len(dst)-1] == ')'):
			c, changed = ' ', true // a space of a form; a number's plus stands behind something else
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(text[i:])
			if b, ok := foldRune(r); ok {
				changed = true
				if b != 0 {
					dst = append(dst, b)
				}
			} else {
				dst = append(dst, text[i:i+size]...)
			}
			i += size
			continue
		}
		dst = append(dst, c)
		i++
	}
	return dst, changed, again
}

// escape starts what a terminal does not show but obeys, such as colours.
const escape = '\x1b'

// colour returns the length of the control sequence with which text starts
// (ECMA-48: parameters, then one letter), or 1 if it is only its first byte.
func colour(text []byte) int {
	if len(text) < 2 || text[1] != '[' {
		return 1
	}
	i := 2
	for i < len(text) && text[i] >= ' ' && text[i] < '@' {
		i++
	}
	if i == len(text) || text[i] > '~' {
		return 1
	}
	return i + 1
}

// hexPair reads the two digits of a percent-encoded byte.
func hexPair(text []byte) (byte, bool) {
	if len(text) < 2 {
		return 0, false
	}
	high, low := hexDigit(text[0]), hexDigit(text[1])
	return byte(high<<4 | low), high >= 0 && low >= 0
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// unicodeEscape reads the \uXXXX with which text starts. Halves of pairs are
// left: nothing that a detector wants is beyond them.
func unicodeEscape(text []byte) (r rune, size int) {
	if len(text) < 6 || text[1] != 'u' {
		return 0, 0
	}
	for _, c := range text[2:6] {
		digit := hexDigit(c)
		if digit < 0 {
			return 0, 0
		}
		r = r<<4 | rune(digit)
	}
	if r >= 0xd800 && r < 0xe000 {
		return 0, 0
	}
	return r, 6
}

// foldRune returns the ASCII character that r is a form of: full-width, a digit
// of another script, one of the spaces, hyphens or full stops of Unicode. ok with 0 is for
// those that show nothing and only keep others apart.
func foldRune(r rune) (c byte, ok bool) {
	switch {
	case r < 0xa0:
		return 0, false
	case r >= 0xff01 && r <= 0xff5e: // full-width
		return byte(r - 0xff01 + '!'), true
	case r == 0xa0, r >= 0x2000 && r <= 0x200a, r == 0x202f, r == 0x205f, r == 0x3000:
		return ' ', true
	case r >= 0x2010 && r <= 0x2015, r == 0x2212, r == 0xfe58, r == 0xfe63:
		return '-', true
	case r == 0x2024, r == 0x3002, r == 0xfe52, r == 0xff61:
		return '.', true
	case r == 0xfe6b:
		return '@', true
	case r == 0xfe62:
		return '+', true
	case r == 0xad, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff, r >= 0xfe00 && r <= 0xfe0f:
		return 0, true
	case unicode.IsDigit(r):
		return digitOf(r), true
	}
	return 0, false
}

// digitOf returns the ASCII form of a decimal digit. Unicode has them in
// ascending tens.
func digitOf(r rune) byte {
	for _, table := range unicode.Nd.R16 {
		if r >= rune(table.Lo) && r <= rune(table.Hi) {
			return '0' + byte((r-rune(table.Lo))%10)
		}
	}
	for _, table := range unicode.Nd.R32 {
		if r >= rune(table.Lo) && r <= rune(table.Hi) {
			return '0' + byte((r-rune(table.Lo))%10)
		}
	}
	return 0 // no digit
}

// minApart is how many characters in a row have to stand apart to be put
// together.
const minApart = 6

// join puts characters together that stand apart, as in "4 1 1 1": one space
// between two of them goes, more become one. It returns nil if there are none.
func (f *finder) join(text []byte) (joined []byte) {
	f.steps += len(text)
	if !hasLoneCharacter(text) {
		return nil
	}
	f.steps += len(text)
	done := 0 // text up to here is in joined
	for i := 0; i < len(text); {
		if text[i] == ' ' {
			i++
			continue
		}
		end, count := apart(text[i:])
		f.steps += end
		if count >= minApart {
			if joined == nil {
				joined = make([]byte, 0, len(text))
			}
			joined = append(joined, text[done:i]...)
			joined = appendJoined(joined, text[i:i+end])
			done = i + end
		}
		i += end
		for i < len(text) && text[i] != ' ' { // the word at which the run ended
			i++
		}
	}
	if joined == nil {
		return nil
	}
	return append(joined, text[done:]...)
}

// hasLoneCharacter reports whether a character stands between two spaces.
func hasLoneCharacter(text []byte) bool {
	for i := 0; i+2 < len(text); i++ {
		n := bytes.IndexByte(text[i:], ' ')
		if n < 0 {
			return false
		}
		if i += n; i+2 < len(text) && text[i+1] != ' ' && text[i+2] == ' ' {
			return true
		}
	}
	return false
}

// apart returns where the characters that stand apart at the start of text end,
// and how many they are.
func apart(text []byte) (end, count int) {
	for i := 0; i < len(text) && text[i] != ' ' && (i+1 == len(text) || text[i+1] == ' '); {
		end = i + 1
		count++
		for i++; i < len(text) && text[i] == ' '; i++ {
		}
	}
	return end, count
}

// appendJoined appends single characters without what is between them.
func appendJoined(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != ' ' {
			dst = append(dst, text[i])
		} else if text[i+1] == ' ' { // text ends with a character
			dst = append(dst, ' ')
			for text[i+1] == ' ' {
				i++
			}
		}
	}
	return dst
}
