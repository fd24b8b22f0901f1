package privacy

import "bytes"

// minTokenBytes is the length from which what follows "Bearer" counts as a
// token, and each part of a JSON web token.
const minTokenBytes = 16

// hasJWT looks for a JSON web token: two parts of base64 that each start like a
// JSON object, and then a signature.
func hasJWT(text []byte) bool {
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte("eyJ"))
		if i < 0 {
			return false
		}
		at += i
		if (at == 0 || !isBase64(text[at-1])) && isJWT(text[at:]) {
			return true
		}
		at++
	}
}

// hasBearer looks for "Bearer" and a token with digits.
func hasBearer(text []byte) bool {
	for i := 0; i+minTokenBytes <= len(text); i++ {
		if text[i]|0x20 == 'b' && (i == 0 || !isAlnum(text[i-1])) && isBearer(text[i:]) {
			return true
		}
	}
	return false
}

// isBase64 reports whether c is of the alphabet for URLs.
func isBase64(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

// isJWT reports whether text starts with a JSON web token. "eyJ" is how the
// base64 of {" starts.
func isJWT(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("eyJ")) {
		return false
	}
	header := base64Run(text)
	if header < minTokenBytes || header == len(text) || text[header] != '.' {
		return false
	}
	text = text[header+1:]
	claims := base64Run(text)
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
func isBearer(text []byte) bool {
	const word = "bearer"
	for i := range len(word) {
		if text[i]|0x20 != word[i] {
			return false
		}
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
	return n >= minTokenBytes && digits > 0
}

// hasPrivateKey looks for the first line of a private key in PEM.
func hasPrivateKey(text []byte) bool {
	const longestKind = 32 // such as "ENCRYPTED" or "OPENSSH"
	begin, end := []byte("-----BEGIN "), []byte("PRIVATE KEY")
	for {
		i := bytes.Index(text, begin)
		if i < 0 {
			return false
		}
		text = text[i+len(begin):]
		if bytes.Contains(text[:min(len(text), longestKind+len(end))], end) {
			return true
		}
	}
}
