package router_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/routertest"
)

// TestSenders: while they are watched, requests are counted by where their
// connections come from, for a bounded number of addresses.
func TestSenders(t *testing.T) {
	r := routertest.Open(t, func(o *router.Options) { o.MaxHold = -1 }).Router
	post := func(addr string) {
		req := httptest.NewRequest("POST", "http://node/v1/events", strings.NewReader("{}"))
		req.RemoteAddr = addr
		req.Header.Set("X-Forwarded-For", "192.0.2.77") // which a sender can write
		r.ServeHTTP(httptest.NewRecorder(), req)
	}
	post("10.0.0.1:1")
	if s := r.Senders(); s.Requests != 0 {
		t.Errorf("unwatched: %+v", s)
	}
	r.WatchSenders(false)
	post("10.0.0.9:1")
	post("10.0.0.1:2")
	post("10.0.0.9:3")
	if s := fmt.Sprint(r.Senders()); s != "{3 [{10.0.0.9 2} {10.0.0.1 1}] 0}" {
		t.Errorf("senders: %s", s)
	}
	for i := range 200 {
		post(fmt.Sprintf("10.1.0.%d:1", i))
	}
	if s := r.Senders(); s.Requests != 203 || len(s.From) != 100 || s.Others != 102 {
		t.Errorf("%d requests, %d of addresses not told, from %d", s.Requests, s.Others, len(s.From))
	}
	r.WatchSenders(true)
	post("10.0.0.9:1")
	if s := r.Senders(); s.Requests != 0 {
		t.Errorf("no longer watched: %+v", s)
	}
}
