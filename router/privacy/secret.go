package privacy

import "bytes"

// minTokenBytes is the length from which what follows "Bearer" counts as a
// token, and what may be the first part of a JSON web token as one.
const minTokenBytes = 16

// hasJWT looks for a JSON web token: two parts of base64 that each start like a
// JSON object, and then a signature.
func (f *finder) hasJWT(text []byte) bool {
	f.steps += len(text)
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte("eyJ"))
		if i < 0 {
			return false
		}
		at += i
		if (at == 0 || !isBase64(text[at-1])) && f.isJWT(text[at:]) {
			return true
		}
		at++
	}
}

// hasBearer looks for "Bearer" and a token with digits.
func (f *finder) hasBearer(text []byte) bool {
	f.steps += len(text)
	for i := 0; i+minTokenBytes <= len(text); {
		// How far the word can be moved on follows from the byte under its end.
		switch text[i+5] | 0x20 {
		case 'r':
			if (i == 0 || !isAlnum(text[i-1])) && f.isBearer(text[i:]) {
				return true
			}
			i += 2
		case 'e':
			i++
		case 'a':
			i += 3
		case 'b':
			i += 5
		default:
			i += 6
		}
	}
	return false
}

// isBase64 reports whether c is of the alphabet for URLs.
func isBase64(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

// isJWT reports whether text starts with a JSON web token. "eyJ" is how the
// base64 of {" starts.
func (f *finder) isJWT(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("eyJ")) {
		return false
	}
	header := base64Run(text)
	f.steps += header
	if header < minTokenBytes || header == len(text) || text[header] != '.' {
		return false
	}
	text = text[header+1:]
	claims := base64Run(text)
	f.steps += claims
	return bytes.HasPrefix(text, []byte("eyJ")) && claims < len(text) && text[claims] == '.'
}

func base64Run(text []byte) int {
	n := 0
	for n < len(text) && isBase64(text[n]) {
		n++
	}
	return n
}

// isBearer reports whether text starts with "bearer", in any case, and a token.
func (f *finder) isBearer(text []byte) bool {
	const word = "bearer"
	if !startsWith(text, word) {
		return false
	}
	at := len(word)
	for at < len(text) && (text[at] == ' ' || text[at] == ':' || text[at] == '\t') {
		at++
	}
	if at == len(word) {
		return false
	}
	n, digits := 0, 0
	for ; at+n < len(text); n++ {
		c := text[at+n]
		if !isBase64(c) && c != '.' && c != '~' && c != '+' && c != '/' && c != '=' {
			break
		}
		if isDigit(c) {
			digits++
		}
	}
	f.steps += at + n
	return n >= minTokenBytes && digits > 0
}

// hasPrivateKey looks for the first line of a private key in PEM, in any case.
func (f *finder) hasPrivateKey(text []byte) bool {
	const (
		dashes      = "-----"
		begin, end  = "begin ", "private key"
		longestKind = 32 // such as "ENCRYPTED" or "OPENSSH"
	)
	f.steps += len(text)
	for {
		i := bytes.Index(text, []byte(dashes))
		if i < 0 {
			return false
		}
		for i < len(text) && text[i] == '-' {
			i++
		}
		text = text[i:]
		if !startsWith(text, begin) {
			continue
		}
		kind := text[len(begin):]
		f.steps += longestKind
		for k := 0; k <= longestKind && k < len(kind); k++ {
			if startsWith(kind[k:], end) {
				return true
			}
		}
	}
}

// startsWith reports whether text starts with word, which is in lower case, in
// any case.
func startsWith(text []byte, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i := range len(word) {
		if c := text[i]; c != word[i] && (c|0x20 != word[i] || !isLetter(c)) {
			return false
		}
	}
	return true
}
