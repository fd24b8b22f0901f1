package session_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// TestCredentials starts with a token that is refused, and replaces it.
func TestCredentials(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{Token: "good"})
	token := filepath.Join(t.TempDir(), "token")
	put := func(s string) {
		if err := os.WriteFile(token, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("bad")
	appendEvents(rig, 20, 100)
	sink := newSink(t, session.Options{URL: server.URL, TokenFile: token})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the cursor pauses itself", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); !strings.Contains(s.Pause.Reason, "token_file") || s.Dead != 0 {
		t.Errorf("%+v", s)
	}
	if n := stats(sink).Requests; n > 4 {
		t.Errorf("%d requests until the first 401", n)
	}
	put("good")
	ship.WaitDone() // the probe sees it
	wantAll(t, rig, r)
}

// TestTokenIsReadAgain replaces the token under way.
func TestTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	token := filepath.Join(t.TempDir(), "token")
	var want atomic.Value
	want.Store("one")
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+want.Load().(string) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		r.ServeHTTP(w, req)
	}))
	if err := os.WriteFile(token, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	ship := rig.Start(newSink(t, session.Options{URL: server.URL, TokenFile: token}), flush, shipper.Options{})
	for _, next := range []string{"one", "two", "six"} {
		if err := os.WriteFile(token, []byte(next), 0o600); err != nil {
			t.Fatal(err)
		}
		want.Store(next)
		appendEvents(rig, 3, 9)
		ship.WaitDone()
	}
	wantAll(t, rig, r)
}
