package privacy

import "bytes"

// hasEmail looks for an address: a local part, "@", and a domain of two or more
// labels that ends in a word. What has the form but is something else is let
// through: file names (icon@2x.png), versions (react@18.2.0-next.beta) and
// words after a bare "@" (@media, @angular/core). Spaces may stand around "@"
// if they stand around every full stop of the domain, too.
func (f *finder) hasEmail(text []byte) bool {
	f.steps += len(text)
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], '@')
		if i < 0 {
			return false
		}
		at := from + i
		from = at + 1
		switch {
		case at == 0:
		case isLocal(text[at-1]):
			if text[at-1] != '.' && f.isMailDomain(text[at+1:]) {
				return true
			}
		case at > 1 && text[at-1] == ' ' && isLocal(text[at-2]):
			if f.isApartDomain(text[at+1:]) {
				return true
			}
		}
	}
}

// isApartDomain reports whether text starts with " example . com".
func (f *finder) isApartDomain(text []byte) bool {
	const point = " . "
	if len(text) == 0 || text[0] != ' ' {
		return false
	}
	text = text[:min(len(text), maxDomain)]
	var memory [maxDomain]byte
	domain := memory[:0]
	for text = text[1:]; ; text = text[len(point):] {
		n := 0
		for n < len(text) && (isAlnum(text[n]) || text[n] == '-' || text[n] >= 0x80) {
			n++
		}
		domain = append(domain, text[:n]...)
		if text = text[n:]; n == 0 || !bytes.HasPrefix(text, []byte(point)) {
			break
		}
		domain = append(domain, '.')
	}
	f.steps += len(domain)
	return f.isMailDomain(domain)
}

// isLocal reports whether c may stand in front of "@".
func isLocal(c byte) bool {
	return isAlnum(c) || c >= 0x80 || bytes.IndexByte([]byte("!#$%&'*+-./=?^_`{|}~\""), c) >= 0
}

// maxDomain bounds how far a domain is read, as DNS does.
const maxDomain = 253

// isMailDomain reports whether text starts with the domain of an address.
func (f *finder) isMailDomain(text []byte) bool {
	text = text[:min(len(text), maxDomain)]
	labels, start, end := 0, 0, 0
	var last, first []byte
	for i := 0; ; i++ {
		if i < len(text) && (isAlnum(text[i]) || text[i] == '-' || text[i] >= 0x80) {
			continue
		}
		if i == start {
			break // an empty label, such as after a full stop
		}
		labels++
		last, end = text[start:i], i
		if labels == 1 {
			first = last
		}
		if i == len(text) || text[i] != '.' {
			break
		}
		start = i + 1
	}
	f.steps += end
	return labels >= 2 && end > 0 && isTopLevel(last) && !isVersion(text[:end], first)
}

// isTopLevel reports whether a label can end a domain: two or more letters, or
// an international one, and not the ending of a file on the web.
func isTopLevel(label []byte) bool {
	if len(label) < 2 || len(label) > 63 {
		return false
	}
	if bytes.HasPrefix(bytes.ToLower(label[:min(len(label), 4)]), []byte("xn--")) {
		return true
	}
	for _, c := range label {
		if !isLetter(c) && c < 0x80 {
			return false
		}
	}
	var lower [8]byte
	if len(label) > len(lower) {
		return true
	}
	for i, c := range label {
		lower[i] = c | 0x20
	}
	switch string(lower[:len(label)]) {
	case "js", "mjs", "cjs", "ts", "tsx", "jsx", "css", "scss", "less", "json", "map", "html", "htm", "vue", "php", "xml",
		"png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "bmp", "ico", "woff", "ttf", "otf", "eot", "pdf", "wasm", "tgz",
		"webm", "txt", "csv", "yml", "yaml":
		return false
	}
	return true
}

// isVersion reports whether a domain is a version or an address of numbers:
// its first two labels start with digits and the first is nothing but digits.
func isVersion(domain, first []byte) bool {
	for _, c := range first {
		if !isDigit(c) {
			return false
		}
	}
	return len(domain) > len(first)+1 && isDigit(domain[len(first)+1])
}
