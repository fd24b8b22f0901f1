package privacy

import "strings"

const (
	minIBAN = 15
	maxIBAN = 34
)

// ibanLengths has the length of an account number by country.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
	"IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
	"LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
	"NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
	"SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// ibanDigits are the countries whose account numbers have no letters.
const ibanDigits = "AE AT BA BE CR CZ DE DK EE EG ES FI FO GL HR HU IL IS LT LY ME MN MR NO PL PT RS SD SE SI SK TL TN VA XK "

// hasIBAN looks for a bank account number: a country, two check digits, and as
// many digits as that country has, and letters if it has any, with the right
// remainder. Single spaces or hyphens may stand between groups of four.
func (f *finder) hasIBAN(text []byte) bool {
	f.steps += len(text)
	for i := 0; i+minIBAN <= len(text); {
		switch c := text[i+3]; { // a digit, if a number starts at i
		case isDigit(c):
			if isDigit(text[i+2]) && isLetter(text[i+1]) && isLetter(text[i]) &&
				(i == 0 || startsNumber(text[i-1])) && f.ibanAt(text[i:]) {
				return true
			}
			i++
		case isLetter(c):
			i += 2 // c may be the second letter
		default:
			i += 4
		}
	}
	return false
}

// ibanAt reports whether text starts with an account number.
func (f *finder) ibanAt(text []byte) bool {
	country := [2]byte{text[0] &^ 0x20, text[1] &^ 0x20}
	length, ok := ibanLengths[string(country[:])]
	if !ok {
		return false
	}
	var account [maxIBAN]byte
	n, at := 0, 0
	for n < length {
		if at < len(text) && (text[at] == ' ' || text[at] == '-') && n%4 == 0 && n > 0 && isAlnum(text[at-1]) {
			at++
		}
		if at >= len(text) || !isAlnum(text[at]) {
			f.steps += at
			return false
		}
		account[n] = text[at]
		at++
		n++
	}
	f.steps += at
	if strings.Contains(ibanDigits, string(country[:])+" ") && !digitsExactly(account[4:n], n-4) {
		return false
	}
	return endsNumber(text[at:]) && isDigit(account[3]) && remainder97(account[4:n], account[:4]) == 1
}

// remainder97 takes the parts as one number, letters as 10 to 35, modulo 97.
func remainder97(parts ...[]byte) int {
	r := 0
	for _, part := range parts {
		for _, c := range part {
			if isDigit(c) {
				r = (r*10 + int(c-'0')) % 97
			} else {
				r = (r*100 + int(c&^0x20-'A') + 10) % 97
			}
		}
	}
	return r
}
