package auth_test

import (
	"strings"
	"testing"

	"forebay/router/auth"
)

// TestOriginsAreTakenAsBrowsersSendThem: what an operator types is brought into the
// form of the Origin header, or refused with the reason.
func TestOriginsAreTakenAsBrowsersSendThem(t *testing.T) {
	for text, want := range map[string]string{
		"https://shop.example":           "https://shop.example",
		"https://shop.example/":          "https://shop.example",
		"HTTPS://Shop.Example":           "https://shop.example",
		"https://shop.example:443":       "https://shop.example",
		"http://shop.example:80/":        "http://shop.example",
		"http://shop.example:443":        "http://shop.example:443",
		"https://shop.example:8443":      "https://shop.example:8443",
		"http://127.0.0.1:03000":         "http://127.0.0.1:3000",
		"http://[0:0::1]:80":             "http://[::1]",
		"null":                           "null",
		"NULL":                           "null",
		"capacitor://localhost":          "capacitor://localhost",
		"chrome-extension://abcdefghijk": "chrome-extension://abcdefghijk",
	} {
		if got, err := auth.ParseOrigin(text); got != want || err != nil {
			t.Errorf("%s is taken as %q, %v; want %q", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"":                        "must be scheme://host",
		"*":                       "wildcard",
		"https://*.shop.example":  "wildcard",
		"shop.example":            "must be scheme://host",
		"shop.example:443":        "must be scheme://host",
		"//shop.example":          "must be scheme://host",
		"https://":                "must be scheme://host",
		"https://shop.example/a":  "without a path",
		"https://shop.example?a":  "without a path",
		"https://shop.example#a":  "without a path",
		"https://shop.example?":   "without a path",
		"https://u@shop.example":  "must be scheme://host",
		"https://shop.example:":   "port",
		"https://shop.example:0":  "port",
		"https://a.example:65536": "port",
		"https://münchen.example": "xn--",
		"https://a,b.example":     "in its host",
		" https://shop.example":   "must be scheme://host",
		"https://shop.example ":   "must be scheme://host",
		"https://" + strings.Repeat("a", auth.MaxOriginBytes): "at most 256",
	} {
		if got, err := auth.ParseOrigin(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q gives %q, %v; want an error with %q", text, got, err, why)
		}
	}
	_, digest := auth.Generate()
	key := auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Origins: []string{"https://Shop.example/"}}
	if err := key.Validate(); err == nil || !strings.Contains(err.Error(), `as "https://shop.example"`) {
		t.Errorf("an origin that no browser sends: %v", err)
	}
}
