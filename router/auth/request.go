package auth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// QueryParameter is the name of the key in a URL's query, and of the field in a body.
const QueryParameter = "api_key"

// maxBasicBytes bounds the Basic credentials that are decoded: a key as the user
// name, and a password of some length that is ignored.
const maxBasicBytes = 4 * MaxKeyBytes

// FromRequest finds the text of the API key in a request's header or query. The
// first of these places that holds anything decides, even if what it holds is no
// key: X-API-Key, Authorization: Bearer, the user name of Authorization: Basic,
// the query's api_key. Found is false when none does; then the body is the place
// to look. The text may be anything: ParseKey tells.
func FromRequest(r *http.Request) (text string, found bool) {
	// Indexed in the spelling that net/http gives it: Get would allocate to find that out.
	if texts := r.Header["X-Api-Key"]; len(texts) > 0 && texts[0] != "" {
		return texts[0], true
	}
	if text, found := fromAuthorization(r.Header.Get("Authorization")); found {
		return text, true
	}
	return fromQuery(r.URL.RawQuery)
}

func fromAuthorization(header string) (text string, found bool) {
	scheme, credentials, _ := strings.Cut(header, " ")
	credentials = strings.Trim(credentials, " ")
	switch {
	case credentials == "":
		return "", false
	case strings.EqualFold(scheme, "Bearer"):
		return credentials, true
	case strings.EqualFold(scheme, "Basic"):
		return basicUser(credentials), true
	}
	return "", false // another scheme is not for us; a proxy may have put it there
}

// basicUser is the user name of Basic credentials, empty if they are malformed.
func basicUser(credentials string) string {
	if len(credentials) > maxBasicBytes {
		return ""
	}
	decoded, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(string(decoded), ":")
	return user
}

// fromQuery walks the query without building the map of url.ParseQuery: its
// length is bounded by the server's header limit, its number of fields is not.
func fromQuery(query string) (text string, found bool) {
	for query != "" {
		var field string
		field, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(field, "=")
		if name != QueryParameter || value == "" {
			continue
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return "", true
		}
		return text, true
	}
	return "", false
}
