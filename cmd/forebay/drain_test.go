package main

import (
	"strings"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/router"
)

// TestArrivals: a drain to which new requests come says how many, and from
// where, now and then; one to which none come says nothing.
func TestArrivals(t *testing.T) {
	var a arrivals
	now := time.Unix(1e9, 0)
	drain := func(requests uint64, addrs ...string) *admin.DrainStatus {
		d := &admin.DrainStatus{Senders: router.Senders{Requests: requests}}
		for _, addr := range addrs {
			d.From = append(d.From, router.Sender{Addr: addr, Requests: requests})
		}
		return d
	}
	if text := a.since(nil, now); text != "" {
		t.Errorf("of a node of another version: %q", text)
	}
	if text := a.since(drain(0), now); text != "" || a.text != "" {
		t.Errorf("nothing comes: %q", text)
	}
	if text := a.since(drain(190, "10.0.0.9"), now); !strings.Contains(text, "190 requests since the drain began, from 10.0.0.9 (190): does what stands there ask /readyz?") {
		t.Errorf("said: %q", text)
	}
	many := drain(200, "a", "b", "c", "d", "e", "f")
	if text := a.since(many, now.Add(time.Second)); text != "" || !strings.Contains(a.text, "e (200), and others:") {
		t.Errorf("a second later: %q, known %q", text, a.text)
	}
	if text := a.since(many, now.Add(20*time.Second)); text != "" || a.text != "" {
		t.Errorf("nothing more came: %q", text)
	}
}
