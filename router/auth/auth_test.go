package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forebay/router/auth"
)

func TestFromRequestPrecedence(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("basic-key:ignored:too"))
	for name, c := range map[string]struct {
		apiKey, authorization, query string
		want                         string
		found                        bool
	}{
		"nothing":                    {},
		"header first":               {"header-key", "Bearer bearer-key", "api_key=query-key", "header-key", true},
		"bearer before query":        {"", "Bearer bearer-key", "api_key=query-key", "bearer-key", true},
		"scheme in any case":         {"", "bEARER   bearer-key ", "", "bearer-key", true},
		"basic user name":            {"", basic, "api_key=query-key", "basic-key", true},
		"basic without a password":   {"", "Basic " + base64.StdEncoding.EncodeToString([]byte("basic-key")), "", "basic-key", true},
		"basic that is no base64":    {"", "Basic ???", "api_key=query-key", "", true},
		"basic that is too long":     {"", "Basic " + strings.Repeat("YWFh", 1000), "", "", true},
		"query":                      {"", "", "a=1&api_key=query%2Bkey&api_key=second", "query+key", true},
		"empty query field":          {"", "", "api_key=&b=2", "", false},
		"query that is badly quoted": {"", "", "api_key=%zz", "", true},
		"other scheme":               {"", "AWS4-HMAC-SHA256 Credential=x", "api_key=query-key", "query-key", true},
		"scheme alone":               {"", "Bearer", "api_key=query-key", "query-key", true},
	} {
		r := &http.Request{Header: http.Header{}, URL: &url.URL{RawQuery: c.query}}
		if c.apiKey != "" {
			r.Header.Set("X-API-Key", c.apiKey)
		}
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		if got, found := auth.FromRequest(r); got != c.want || found != c.found {
			t.Errorf("%s: FromRequest = %q, %v; want %q, %v", name, got, found, c.want, c.found)
		}
	}
}

func TestParseKeyBounds(t *testing.T) {
	for _, text := range []string{"", "1234567", strings.Repeat("k", auth.MaxKeyBytes+1), "has a space", "tab\tinside", "ümlaut-key", "nul\x00inside"} {
		if _, err := auth.ParseKey(text); err == nil {
			t.Errorf("ParseKey(%q) is accepted", text)
		}
	}
	text, digest := auth.Generate()
	got, err := auth.ParseKey(text)
	if err != nil || got != digest {
		t.Errorf("ParseKey of a generated key = %v, %v; want %v", got, err, digest)
	}
	if parsed, err := auth.ParseDigest(strings.ToUpper(digest.String())); err != nil || parsed != digest {
		t.Errorf("ParseDigest = %v, %v; want %v", parsed, err, digest)
	}
	if again, _ := auth.Generate(); again == text {
		t.Error("two generated keys are the same")
	}
}

func TestKeyState(t *testing.T) {
	now := time.Now()
	_, digest := auth.Generate()
	key := func(change func(*auth.Key)) auth.Key {
		k := auth.Key{ID: digest.ID(), Digest: digest, Project: "shop"}
		change(&k)
		return k
	}
	for name, c := range map[string]struct {
		key    auth.Key
		origin string
		want   auth.State
	}{
		"zero":                       {auth.Key{}, "", auth.Unknown},
		"plain":                      {key(func(*auth.Key) {}), "https://any.example", auth.Active},
		"revoked and expired":        {key(func(k *auth.Key) { k.RevokedAt = now; k.ExpiresAt = now }), "", auth.Revoked},
		"expires now":                {key(func(k *auth.Key) { k.ExpiresAt = now }), "", auth.Expired},
		"expires later":              {key(func(k *auth.Key) { k.ExpiresAt = now.Add(time.Second) }), "", auth.Active},
		"allowed origin":             {key(func(k *auth.Key) { k.Origins = []string{"https://a.example", "https://b.example:8443"} }), "https://B.example:8443", auth.Active},
		"other origin":               {key(func(k *auth.Key) { k.Origins = []string{"https://a.example"} }), "https://a.example.evil", auth.OriginRefused},
		"origins but none was given": {key(func(k *auth.Key) { k.Origins = []string{"https://a.example"} }), "", auth.OriginRefused},
	} {
		if got := c.key.State(now, c.origin); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestDirectoryFindsEachKeyAndNoOther(t *testing.T) {
	dir := auth.NewDirectory(0)
	var keys []auth.Key
	for range 1000 {
		_, digest := auth.Generate()
		keys = append(keys, auth.Key{ID: digest.ID(), Digest: digest, Project: digest.ID()})
	}
	// Neighbours that share the prefix which the map is keyed by.
	for i := range 3 {
		digest := keys[0].Digest
		digest[31] ^= byte(i + 1)
		keys = append(keys, auth.Key{ID: digest.ID(), Digest: digest, Project: "neighbour"})
	}
	later := keys[5]
	later.Project = "said later"
	keys = append(keys, later)
	given := append([]auth.Key(nil), keys...)
	if err := dir.Replace(keys); err != nil {
		t.Fatal(err)
	}
	if dir.Len() != len(given)-1 {
		t.Fatalf("Len = %d, want %d", dir.Len(), len(given)-1)
	}
	for i, want := range given {
		if i == 5 {
			want = later
		}
		got, known := dir.Lookup(want.Digest)
		if !known || got.Digest != want.Digest || got.Project != want.Project {
			t.Fatalf("key %d: found %v %+v, want %+v", i, known, got, want)
		}
	}
	absent := keys[0].Digest
	absent[20] ^= 1
	if _, known := dir.Lookup(absent); known {
		t.Error("a digest that only shares a prefix is known")
	}
}

func TestDirectoryRefusesMoreThanItTakes(t *testing.T) {
	dir := auth.NewDirectory(0)
	if err := dir.Replace(make([]auth.Key, auth.MaxKeys+1)); err == nil {
		t.Fatal("too many keys are accepted")
	}
}

func TestDirectoryFailsLookupsOnceItIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := auth.NewDirectory(time.Hour)
		_, digest := auth.Generate()
		if err := dir.Restore(auth.Saved{Keys: []auth.Key{{Digest: digest}}, At: time.Now().Add(-50 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if _, known := dir.Lookup(digest); !known || dir.Stale() {
			t.Fatal("lookup fails before the set is stale")
		}
		dir.Confirm()
		time.Sleep(59 * time.Minute)
		if _, known := dir.Lookup(digest); !known {
			t.Fatal("a confirmed set is stale too early")
		}
		time.Sleep(2 * time.Minute)
		if _, known := dir.Lookup(digest); known || !dir.Stale() || dir.Age() != 61*time.Minute {
			t.Fatalf("known %v, stale %v, age %v after 61 minutes", known, dir.Stale(), dir.Age())
		}
	})
}

func FuzzFromRequest(f *testing.F) {
	f.Add("header", "Basic QQ==", "api_key=a%2")
	f.Fuzz(func(t *testing.T, apiKey, authorization, query string) {
		r := &http.Request{Header: http.Header{"X-Api-Key": {apiKey}, "Authorization": {authorization}}, URL: &url.URL{RawQuery: query}}
		text, found := auth.FromRequest(r)
		if !found && text != "" {
			t.Fatalf("text %q without having found any", text)
		}
		if _, err := auth.ParseKey(text); err == nil && (len(text) < auth.MinKeyBytes || len(text) > auth.MaxKeyBytes) {
			t.Fatalf("key of %d bytes is accepted", len(text))
		}
	})
}
