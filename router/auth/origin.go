package auth

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ParseOrigins is ParseOrigin for a list. What is wrong stays as it is written, for
// Validate to name.
func ParseOrigins(texts []string) []string {
	if texts == nil {
		return nil
	}
	origins := make([]string, len(texts))
	for i, text := range texts {
		origin, err := ParseOrigin(text)
		if err != nil {
			origin = text
		}
		origins[i] = origin
	}
	return origins
}

// ParseOrigin returns an origin as a browser sends it: scheme://host[:port] in lower
// case, without the scheme's default port and without a slash at the end; or "null",
// which a browser sends for local files and sandboxed frames. The error says why no
// browser can send it, and what to write.
func ParseOrigin(text string) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("origin %q %s", text, fmt.Sprintf(format, args...))
	}
	const form = "must be scheme://host or scheme://host:port, without a path"
	if len(text) > MaxOriginBytes {
		return "", fmt.Errorf("an origin has %d bytes, at most %d are allowed", len(text), MaxOriginBytes)
	}
	if strings.EqualFold(text, "null") {
		return "null", nil
	}
	if strings.Contains(text, "*") {
		return refuse("has a wildcard: list each origin, or leave origins empty to allow any")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?#") || u.Path != "" && u.Path != "/" {
		return refuse(form)
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return refuse(form)
		}
		host = "[" + addr.String() + "]"
	} else if i := strings.IndexFunc(host, notInHost); i >= 0 {
		return refuse("has %q in its host: a browser sends ASCII letters, digits, '-', '.' and '_', other names as xn--…", []rune(host[i:])[0])
	}
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) || port == "" && strings.HasSuffix(u.Host, ":") {
		return refuse("has no port from 1 to 65535 behind the colon")
	} else if port != "" && !(u.Scheme == "http" && n == 80) && !(u.Scheme == "https" && n == 443) {
		host += ":" + strconv.Itoa(n)
	}
	return u.Scheme + "://" + host, nil
}

func notInHost(c rune) bool {
	return ('a' > c || c > 'z') && ('0' > c || c > '9') && !strings.ContainsRune("-._", c)
}
