package privacy

const (
	minCardDigits  = 13
	maxCardDigits  = 19
	ssnDigits      = 9
	minPhoneDigits = 8
	maxPhoneDigits = 15
)

// groups are the sizes in which cards print their number; the last group of
// the first kind may be shorter or, for 19 digits, followed by one more.
var cardGroups = [][]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {4, 6, 5}, {4, 6, 4}, {4, 4, 4, 1}}

// hasCard looks for a card number: 13 to 19 digits in one piece, or in the
// groups that cards show, with single spaces or hyphens between. It must not be
// part of a longer number or word, its prefix and length must be an issuer's,
// and its last digit must be the right check digit.
func hasCard(text []byte) bool {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			i++
			continue
		}
		if (i == 0 || startsNumber(text[i-1])) && cardAt(text, i) {
			return true
		}
		for i < len(text) && isDigit(text[i]) {
			i++
		}
	}
	return false
}

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

// cardAt reports whether a card number starts at i, which is a digit.
func cardAt(text []byte, i int) bool {
	var digits [maxCardDigits]byte
	n := 0
	for n < len(digits) && i+n < len(text) && isDigit(text[i+n]) {
		digits[n] = text[i+n] - '0'
		n++
	}
	if n >= minCardDigits {
		return endsNumber(text[i+n:]) && isCard(digits[:n])
	}
	if n != 4 {
		return false
	}
	for _, groups := range cardGroups {
		if end := grouped(text[i:], groups, &digits); end > 0 && endsNumber(text[i+end:]) && isCard(digits[:sum(groups)]) {
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

// grouped reads groups of digits with one kind of separator between. It returns
// where they end, or 0.
func grouped(text []byte, groups []int, digits *[maxCardDigits]byte) int {
	at, n := 0, 0
	for k, size := range groups {
		if k > 0 {
			if at >= len(text) || (text[at] != ' ' && text[at] != '-') || text[at] != text[groups[0]] {
				return 0
			}
			at++
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

// hasSSN looks for a US social security number in its written form,
// 123-45-6789. Numbers that are never given out do not count.
func hasSSN(text []byte) bool {
	const form = "000-00-0000"
	for i := 0; i+len(form) <= len(text); i++ {
		if text[i+3] != '-' || text[i+6] != '-' || (i > 0 && !startsNumber(text[i-1])) {
			continue
		}
		if isSSN(text[i:i+len(form)]) && endsNumber(text[i+len(form):]) {
			return true
		}
	}
	return false
}

// isSSN judges eleven bytes with hyphens in the right places.
func isSSN(text []byte) bool {
	for i, c := range text {
		if !isDigit(c) && i != 3 && i != 6 {
			return false
		}
	}
	area := string(text[:3])
	return area != "000" && area != "666" && area[0] != '9' && string(text[4:6]) != "00" && string(text[7:]) != "0000"
}

// hasPhone looks for a phone number in international form: a plus sign, a
// country code and the rest, with single separators.
func hasPhone(text []byte) bool {
	for i := 0; i+minPhoneDigits < len(text); i++ {
		if text[i] == '+' && (i == 0 || startsNumber(text[i-1])) && isPhone(text[i+1:]) {
			return true
		}
	}
	return false
}

// isPhone reports whether text starts with the digits of a phone number.
func isPhone(text []byte) bool {
	var digits [maxPhoneDigits]byte
	n, points, last := 0, 0, 0
	for i, c := range text {
		switch {
		case isDigit(c):
			if n == maxPhoneDigits {
				return false
			}
			digits[n] = c - '0'
			n++
			last = i + 1
			continue
		case c == '.':
			points++
		case c != ' ' && c != '-' && c != '(' && c != ')' && c != '/':
			goto end
		}
		if i-last >= 2 { // more than ") " between two digits
			goto end
		}
	}
end:
	return n >= minPhoneDigits && points != 1 && endsNumber(text[last:]) && isCalling(digits[:n])
}

// isCalling reports whether digits start with a country calling code and have
// a length in use there.
func isCalling(digits []byte) bool {
	n := len(digits)
	switch digits[0] {
	case 0:
		return false
	case 1: // North America: ten digits, area code and exchange from 2 on
		return n == 11 && digits[1] >= 2 && digits[4] >= 2
	case 7: // Russia and Kazakhstan
		return n == 11 && digits[1] >= 3
	}
	switch digits[0]*10 + digits[1] {
	case 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
		60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98:
		return n >= 9 && n <= 14
	case 21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99:
		return n >= 10
	}
	return false
}
