package privacy

import "bytes"

const ssnDigits = 9

// hasSSN looks for a US social security number in its written form,
// 123-45-6789, with the same hyphens or spaces between its groups. Groups with
// spaces alone count only if no other number stands beside them. Numbers that
// are never given out do not count.
func (f *finder) hasSSN(text []byte) bool {
	f.steps += len(text)
	for i := 0; i+ssnDigits+2 <= len(text); {
		if !isDigit(text[i+2]) {
			i += 3 // none of these is the first of three digits
			continue
		}
		if isDigit(text[i]) && (i == 0 || startsNumber(text[i-1])) && f.ssnAt(text, i) {
			return true
		}
		i++
	}
	return false
}

// ssnAt reports whether a number starts at i, which is a digit.
func (f *finder) ssnAt(text []byte, i int) bool {
	const area, group, serial = 3, 2, 4
	rest := text[i:]
	if !digitsExactly(rest, area) {
		return false
	}
	between := gap(rest[area:])
	second := area + len(between)
	third := second + group + len(between)
	f.steps += third + serial
	if len(between) == 0 || !digitsExactly(rest[second:], group) ||
		!bytes.HasPrefix(rest[second+group:], between) || !digitsExactly(rest[third:], serial) {
		return false
	}
	end := third + serial
	if !endsNumber(rest[end:]) || !isGiven(rest[:area], rest[second:second+group], rest[third:end]) {
		return false
	}
	return bytes.IndexByte(between, '-') >= 0 || standsAlone(text[:i], rest[end:])
}

// digitsExactly reports whether text starts with n digits and no more.
func digitsExactly(text []byte, n int) bool {
	if len(text) < n || len(text) > n && isDigit(text[n]) {
		return false
	}
	for _, c := range text[:n] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// isGiven reports whether a number of these groups may have been given to
// somebody.
func isGiven(area, group, serial []byte) bool {
	return string(area) != "000" && string(area) != "666" && area[0] != '9' && string(group) != "00" && string(serial) != "0000"
}

// standsAlone reports whether no other number is next to what is between.
func standsAlone(before, after []byte) bool {
	const far = 2 // a comma and a space, say
	for n := 1; n <= far && n <= len(before); n++ {
		if isDigit(before[len(before)-n]) {
			return false
		}
	}
	for n := 0; n < far && n < len(after); n++ {
		if isDigit(after[n]) {
			return false
		}
	}
	return true
}
