package privacy

const (
	minPhoneDigits = 8
	maxPhoneDigits = 15
)

// hasPhone looks for a phone number in international form: a plus sign, a
// country code and the rest, with single separators.
func (f *finder) hasPhone(text []byte) bool {
	f.steps += len(text)
	for i := 0; i+minPhoneDigits < len(text); i++ {
		if text[i] == '+' && (i == 0 || startsNumber(text[i-1])) && f.isPhone(text[i+1:]) {
			return true
		}
	}
	return false
}

// isPhone reports whether text starts with the digits of a phone number.
func (f *finder) isPhone(text []byte) bool {
	var digits [maxPhoneDigits]byte
	n, group, last := 0, 0, 0 // digits, those since the last separator, and where they end
	points, hyphens := 0, 0   // between digits: the last point may end a sentence
	for i, c := range text {
		switch {
		case isDigit(c):
			if n == maxPhoneDigits {
				return false
			}
			if group++; i > last {
				group = 1
				switch text[i-1] {
				case '.':
					points++
				case '-':
					hyphens++
				}
			}
			digits[n] = c - '0'
			n++
			last = i + 1
			continue
		case c != ' ' && c != '-' && c != '(' && c != ')' && c != '/' && c != '.':
			goto end
		}
		if i-last >= 2 { // more than ") " between two digits
			goto end
		}
	}
end:
	f.steps += last
	if points > 0 && (points == 1 || hyphens > 0) {
		return false // a decimal number, or two: coordinates
	}
	if rest := text[last:]; group == 3 && len(rest) > 2 && rest[0] == ',' && digitsExactly(rest[1:], 2) {
		return false // an amount: +1 234 567,89
	}
	return n >= minPhoneDigits && endsNumber(text[last:]) && isCalling(digits[:n])
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
