package router_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
)

// TestForeignRequestsAreTold: a POST to a path that is none, and one with an SDK's
// body under a path of ours, are answered as ever and told to operators with whose
// SDK they look like.
func TestForeignRequestsAreTold(t *testing.T) {
	for _, c := range []struct{ path, header, body, like string }{
		{"/v1/track", "", "{}", "segment"},
		{"/v1/t", "", "{}", "segment"},
		{"/proxy/v1/identify/", "", "{}", "segment"},
		{"/beacon/v1/batch?writeKey=K", "", "{}", "rudderstack"},
		{"/v1/track", "AnonymousId: YQ==", "{}", "rudderstack"},
		{"/api/s/track", "", "{}", "jitsu"},
		{"/api/s/s2s/page", "", "{}", "jitsu"},
		{"/batch/", "", "{}", "posthog"},
		{"/e/?compression=base64", "", "data=x", "posthog"},
		{"/i/v0/e/", "", "{}", "posthog"},
		{"/flags/?v=2", "", "{}", "posthog"},
		{"/com.snowplowanalytics.snowplow/tp2", "", "{}", "snowplow"},
		{"/v1/logs", "", "{}", "otlp"},
		{"/anything", "Content-Type: application/x-protobuf", "x", "otlp"},
		{"/", "Content-Type: application/cloudevents+json; charset=utf-8", "{}", "cloudevents"},
		{"/hook", "Ce-Specversion: 1.0", "{}", "cloudevents"},
		{"/2/httpapi", "", "{}", "amplitude"},
		{"/v1/events/", "", "{}", "own"},
		{"/V1/Events", "", "{}", "own"},
		{"/api/v1/batch", "", "{}", "own"},
		{"/wp-login.php", "", "x", "other"},
		{"", "", "x", "other"},

		{"/v1/batch", "", `{"batch":[{"type":"track","messageId":"m","anonymousId":"a"}],"writeKey":"W"}`, "segment"},
		{"/v1/events", "", `{"api_key":"phc_x","batch":[{"event":"e","properties":{"distinct_id":"d"}}]}`, "posthog"},
		{"/v1/batch", "", `{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[]}`, "snowplow"},
		{"/v1/events", "", `{"resourceLogs":[]}`, "otlp"},
		{"/v1/events", "Content-Type: application/x-protobuf", "\n\x01", "otlp"},
		{"/v1/event", "", `{"specversion":"1.0","id":"1","source":"s","type":"t"}`, "cloudevents"},
		{"/v1/event", "Content-Type: application/cloudevents+json", `{}`, "cloudevents"},
		{"/v1/events", "Content-Type: application/x-www-form-urlencoded", `{"batch":[]}`, "form"},
		{"/v1/events", "", ` [{"a":1}]`, "json_array"},
		{"/v1/events", "", `{"nothing":1}`, ""},
	} {
		door := routertest.Open(t, func(o *router.Options) { o.MaxHold = -1 })
		key, r := door.AddKey(auth.Key{}), door.Router
		req := httptest.NewRequest("POST", "http://node"+c.path, strings.NewReader(c.body))
		if c.path == "" {
			req.URL.Path = ""
		}
		req.Header.Set("X-Api-Key", key)
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		drops := r.Drops(10)
		if len(drops) == 0 || drops[0].LooksLike != c.like || drops[0].Project == "" || drops[0].KeyID == "" {
			t.Errorf("POST %s %s %s is told as %+v, want %q", c.path, c.header, c.body, drops, c.like)
			continue
		}
		own := strings.HasPrefix(c.path, "/v1/event") && !strings.HasSuffix(c.path, "/") || c.path == "/v1/batch"
		if unknown := drops[0].Reason == "unknown_path"; unknown == own {
			t.Errorf("POST %s has the reason %s", c.path, drops[0].Reason)
		}
		if got := w.Body.String(); !own && (w.Code != 404 || got != "404 page not found\n") {
			t.Errorf("POST %s is answered %d %q", c.path, w.Code, got)
		}
		if tally := r.Tally(); !own && tally.Requests.Received != 0 {
			t.Errorf("POST %s is in the ledger", c.path)
		}
	}
}

// TestOtherMethodsAreNotTold: scanners and browsers that only look.
func TestOtherMethodsAreNotTold(t *testing.T) {
	r := routertest.Open(t, nil).Router
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT"} {
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "http://node/v1/track", nil))
	}
	if drops := r.Drops(10); len(drops) != 0 {
		t.Errorf("told: %+v", drops)
	}
}
