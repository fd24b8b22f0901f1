package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
)

// Unknown paths and methods are told so: they are the same for everybody.
func TestRoutes(t *testing.T) {
	door := routertest.Open(t, nil)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/v1/events", 200}, {"POST", "/v1/batch", 200}, {"POST", "/v1/event", 200},
		{"OPTIONS", "/v1/events", 204}, {"OPTIONS", "/v1/batch", 204}, {"OPTIONS", "/v1/event", 204},
		{"GET", "/v1/events", 405}, {"PUT", "/v1/event", 405}, {"HEAD", "/v1/batch", 405},
		{"POST", "/", 404}, {"POST", "/v1/events/", 404}, {"POST", "/V1/EVENTS", 404}, {"POST", "/v1//events", 404}, {"GET", "/metrics", 404},
	} {
		reply := httptest.NewRecorder()
		door.Router.ServeHTTP(reply, httptest.NewRequest(tt.method, tt.path, nil))
		if reply.Code != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, reply.Code, tt.status)
		}
		if allow := reply.Header().Get("Allow"); (tt.status == 405) != (allow == "OPTIONS, POST") {
			t.Errorf("%s %s: Allow: %q", tt.method, tt.path, allow)
		}
	}
}

// Every page may send and read the reply, as far as the browser is concerned:
// the answer does not depend on the key or on its origins.
func TestCORS(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	keys := []string{door.AddKey(auth.Key{Origins: []string{"https://shop.example"}}), door.AddKey(auth.Key{}), "", "fbk_0123456789abcdef"}
	for _, origin := range []string{"https://shop.example", "https://evil.example", "null", "chrome-extension://x"} {
		for _, key := range keys {
			req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(aBatch(anEvent("s", ""))))
			req.Header.Set("Origin", origin)
			req.Header.Set("X-API-Key", key)
			reply := httptest.NewRecorder()
			door.Router.ServeHTTP(reply, req)
			want := http.Header{
				"Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Credentials": {"true"},
				"Content-Type": {"application/json"}, "Vary": {"Origin"},
			}
			if fmt.Sprint(reply.Header()) != fmt.Sprint(want) {
				t.Errorf("%s: %v", origin, reply.Header())
			}
		}
	}
	if n := len(door.Stored()); n != 1+4 {
		t.Errorf("%d events stored, want the shop's own and those of the key for any origin", n)
	}

	req := httptest.NewRequest(http.MethodOptions, "/v1/events", nil)
	req.Header.Set("Origin", "https://shop.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	req.Header.Set("Access-Control-Request-Headers", "content-type,x-api-key")
	reply := httptest.NewRecorder()
	door.Router.ServeHTTP(reply, req)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "POST",
		"Access-Control-Allow-Headers": "content-type,x-api-key", "Access-Control-Max-Age": "86400", "Vary": "Origin, Access-Control-Request-Headers",
	} {
		if got := reply.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A drop tells operators who and why, and nothing of what was sent.
func TestDropsHoldNoValues(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	door.AddKey(auth.Key{Project: "other"})
	key := door.AddKey(auth.Key{Project: "shop"})
	const marked = "SECRET-4711"
	events := []string{
		anEvent(marked+"@example.com", ""),
		strings.Replace(anEvent("s", ""), "click", marked, 1),
		strings.Replace(anEvent("s", ""), "2026-", marked, 1),
		anEvent(marked, `,"`+marked+`@example.com":1`),
		anEvent(marked, `,"of `+marked+`":1,"of `+marked+`":2`),
		anEvent(marked, `,"note":"`+marked+`\ud800"`),
		anEvent(marked, `,"environment":{"`+marked+`":7}`),
		`"` + marked + `"`,
	}
	post(door.Router, key, "", []byte(aBatch(events...)))
	post(door.Router, key, "", []byte(strings.Replace(aBatch(events...), `"shop"`, `"`+marked+`@example.com"`, 1)))
	post(door.Router, key, "", []byte(`{"of `+marked+`":1,"of `+marked+`":2}`))
	post(door.Router, key, marked, []byte(marked))
	post(door.Router, marked, "", []byte(marked))
	drops := door.Router.Drops(1000)
	if len(drops) != 2*len(events)+3 {
		t.Errorf("%d drops", len(drops))
	}
	for _, d := range drops {
		if strings.Contains(fmt.Sprint(d), marked) {
			t.Errorf("a value is shown: %+v", d)
		}
	}
	first := drops[0]
	if first.Project != "shop" || first.SDKVersion != "1.0.0" || first.AppID != "shop" || len(first.KeyID) != 12 || first.Time.IsZero() ||
		first.Reason != "privacy" || first.Field != "sessionId" || first.Rule != "email" {
		t.Errorf("%+v", first)
	}
	for _, f := range door.Router.Findings() {
		if want := uint64(0); f.Detector == "email" && f.Dropped < 3 || f.Reported != want {
			t.Errorf("%+v", f)
		}
	}
	watched, stop, ok := door.Router.WatchDrops()
	if !ok {
		t.Fatal("no room to watch")
	}
	defer stop()
	post(door.Router, key, "", []byte("x"))
	if d := <-watched; d.Reason != "malformed" {
		t.Errorf("watched %+v", d)
	}
}

// Addresses that bring no known key draw on their own bucket; senders behind
// the same address whose key is known do not.
func TestUnknownKeysAreLimitedByAddress(t *testing.T) {
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.Limiter = onePerAddress{seen: map[string]bool{}}
	})
	key := door.AddKey(auth.Key{})
	for i, want := range []string{"unauthorized  key_unknown", "rate_limited  ", "rate_limited  "} {
		post(door.Router, "fbk_0123456789abcdef", "", []byte("x"))
		if got := lastDrop(door.Router); got != want {
			t.Errorf("request %d: dropped as %q, want %q", i, got, want)
		}
	}
	post(door.Router, key, "", []byte(aBatch(anEvent("s", ""))))
	if n := len(door.Stored()); n != 1 {
		t.Errorf("%d events stored", n)
	}
}
