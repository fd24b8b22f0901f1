package router_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/event"
	"forebay/router/privacy"
	"forebay/router/routertest"
)

// TestChange: requests are judged by the settings that hold when they come, and
// settings that cannot be taken change nothing.
func TestChange(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	batch := []byte(aBatch(anEvent("s", `,"to":"john@example.com"`), anEvent("s", "")))
	stored := func(want int, when string) {
		t.Helper()
		before := len(door.Stored())
		post(door.Router, key, "", batch)
		if got := len(door.Stored()) - before; got != want {
			t.Errorf("%s: %d events stored, want %d", when, got, want)
		}
	}
	stored(1, "by the defaults")
	report, err := privacy.New(privacy.Options{Action: privacy.Report})
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Router.Change(router.Settings{Privacy: report}); err != nil {
		t.Fatal(err)
	}
	stored(2, "personal data is only reported")
	one := event.DefaultLimits()
	one.BatchEvents = 1
	if err := door.Router.Change(router.Settings{Limits: one, Privacy: report}); err != nil {
		t.Fatal(err)
	}
	stored(0, "one event in a batch")
	bad := router.Settings{WireBytes: -1}
	if err := door.Router.Change(bad); err == nil || bad.Check() == nil {
		t.Error("a negative wire cap was taken")
	}
	stored(0, "after settings that were refused")
	balanced(t, door.Router.Tally())
}

// TestSessionForBalancersIsIgnored: what a request says of its session to a load
// balancer changes nothing of its events.
func TestSessionForBalancersIsIgnored(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	req := httptest.NewRequest(http.MethodPost, "/v1/events?session=other", strings.NewReader(aBatch(anEvent("own", ""))))
	req.Header.Set("X-API-Key", door.AddKey(auth.Key{}))
	req.Header.Set("X-Session-Id", "another")
	door.Router.ServeHTTP(httptest.NewRecorder(), req)
	if stored := door.Stored(); len(stored) != 1 || stored[0].Session != "own" {
		t.Errorf("stored %+v", stored)
	}
}
