package privacy

import "bytes"

const (
	minCardDigits = 13
	maxCardDigits = 19
)

// cardGroups are the sizes in which cards print their number; the last group of
// the first kind may be shorter or, for 19 digits, followed by one more.
var cardGroups = [][]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {4, 6, 5}, {4, 6, 4}, {4, 4, 4, 1}}

// hasCard looks for a card number: 13 to 19 digits in one piece, or in the
// groups that cards show, with the same spaces or hyphens between all of them,
// at most three. It must not be part of a longer number or word, its prefix and
// length must be an issuer's, and its last digit must be the right check digit.
func (f *finder) hasCard(text []byte) bool {
	f.steps += len(text)
	for i := 0; i+minCardDigits <= len(text); {
		if !isDigit(text[i+3]) {
			i += 4 // none of these is the first of four digits
			continue
		}
		start, end := i+3, i+4
		for start > i && isDigit(text[start-1]) {
			start--
		}
		for end < len(text) && isDigit(text[end]) {
			end++
		}
		if (start == 0 || startsNumber(text[start-1])) && f.cardAt(text[start:]) {
			return true
		}
		i = end + 1
	}
	return false
}

// cardAt reports whether text, which starts with a digit, starts with a card
// number.
func (f *finder) cardAt(text []byte) bool {
	var digits [maxCardDigits]byte
	n := 0
	for n < len(digits) && n < len(text) && isDigit(text[n]) {
		digits[n] = text[n] - '0'
		n++
	}
	f.steps += n
	if n >= minCardDigits {
		return endsNumber(text[n:]) && isCard(digits[:n])
	}
	if n != cardGroups[0][0] {
		return false
	}
	between := gap(text[n:])
	if len(between) == 0 {
		return false
	}
	for _, groups := range cardGroups {
		end := f.grouped(text, groups, between, &digits)
		if end > 0 && endsNumber(text[end:]) && isCard(digits[:sum(groups)]) {
			return true
		}
	}
	return false
}

func sum(groups []int) (n int) {
	for _, g := range groups {
		n += g
	}
	return n
}

// grouped reads groups of digits with the same gap between all. It returns where
// they end, or 0.
func (f *finder) grouped(text []byte, groups []int, between []byte, digits *[maxCardDigits]byte) int {
	at, n := 0, 0
	defer func() { f.steps += at }()
	for k, size := range groups {
		if k > 0 {
			if !bytes.HasPrefix(text[at:], between) {
				return 0
			}
			at += len(between)
		}
		for range size {
			if at >= len(text) || !isDigit(text[at]) {
				return 0
			}
			digits[n] = text[at] - '0'
			at++
			n++
		}
	}
	return at
}

// isCard reports whether digits have an issuer's prefix and length and the
// check digit of Luhn.
func isCard(digits []byte) bool { return isIssuer(digits) && luhn(digits) }

// luhn reports whether the last digit is the check digit of the others.
func luhn(digits []byte) bool {
	total := 0
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		total += v
	}
	return total%10 == 0
}

// isIssuer reports whether a card of this length can start like this.
func isIssuer(digits []byte) bool {
	prefix := 0
	for _, d := range digits[:6] {
		prefix = prefix*10 + int(d)
	}
	n := len(digits)
	in := func(low, high, shift int) bool { return prefix/shift >= low && prefix/shift <= high }
	switch {
	case in(4, 4, 100000): // Visa
		return n == 13 || n == 16 || n == 19
	case in(51, 55, 10000), in(2221, 2720, 100): // Mastercard
		return n == 16
	case in(34, 34, 10000), in(37, 37, 10000): // American Express
		return n == 15
	case in(300, 305, 1000), in(3095, 3095, 100), in(36, 36, 10000), in(38, 39, 10000): // Diners Club
		return n == 14 || n == 16 || n == 19
	case in(3528, 3589, 100), in(6011, 6011, 100), in(644, 659, 1000), in(62, 62, 10000), in(2200, 2204, 100):
		return n >= 16 // JCB, Discover, UnionPay, Mir
	case in(5018, 5018, 100), in(5020, 5020, 100), in(5038, 5038, 100), in(5893, 5893, 100), in(6304, 6304, 100),
		in(6759, 6759, 100), in(6761, 6763, 100): // Maestro
		return true
	}
	return false
}
