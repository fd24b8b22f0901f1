package session_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

var operator = shipper.Command{By: "ann", Why: "a test"}

// TestOneBadSessionIsNoOutage has one session fail while others flow: the cursor
// runs, with ten events that wait, whatever lies above them; so over a pause and
// a restart. A retry is due at once, and once the session heals nothing waits.
func TestOneBadSessionIsNoOutage(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed, tried atomic.Bool
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Session == "bad" && !healed.Load() {
			tried.Store(true)
			return receiver.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "3000"}
		}
		return receiver.Fault{}
	}})
	rig.Append("shop", "bad", 10)
	appendEvents(rig, 20, 200)
	o := session.Options{URL: server.URL}
	sink := newSink(t, o)
	ship := rig.Start(sink, flush, shipper.Options{})
	want := func(when string) {
		t.Helper()
		ship.WaitFor(when+": ten events wait", func() bool { return ship.Status().LagEvents == 10 })
		s := ship.Status()
		a := s.Account
		if s.NextSeq != 1 || a.Pending != 10 || a.Shipped != rig.Log.DurableSeq()-10 || a.Imbalance != 0 || s.CatchUpSeconds != 0 {
			t.Errorf("%s: %+v", when, s)
		}
		if p := s.Parked; p == nil || p.Sessions != 1 || p.Events != 10 || p.Since.IsZero() || p.Oldest.IsZero() || p.Cause == "" {
			t.Errorf("%s: parked %+v", when, p)
		}
	}
	want("at first")
	s := ship.Status()
	if s.State != shipper.Running || s.LagSeconds != 0 || s.RatePerSecond == 0 || s.NextTry.IsZero() ||
		!strings.Contains(s.Advice, "forebay cursor retry test") {
		t.Errorf("%+v", s)
	}
	if err := ship.Pause(context.Background(), operator, 0); err != nil {
		t.Fatal(err)
	}
	want("paused")
	if err := ship.Retry(context.Background(), operator); err == nil || !strings.Contains(err.Error(), "ann") {
		t.Errorf("a retry of what an operator paused: %v", err)
	}
	if err := ship.Resume(context.Background(), operator); err != nil {
		t.Fatal(err)
	}
	appendEvents(rig, 20, 20)
	want("resumed")
	ship.Stop()
	ship = rig.Start(newSink(t, o), flush, shipper.Options{})
	want("after a restart")
	healed.Store(true)
	tried.Store(false)
	if err := ship.Retry(context.Background(), operator); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	wantAll(t, rig, r)
	if s := ship.Status(); s.Parked != nil || s.LagEvents != 0 || s.Account.Shipped != rig.Log.DurableSeq() || s.Advice != "" {
		t.Errorf("%+v", s)
	}
}

// TestBuriedAheadIsDead has a session fail below, and events of others buried
// above: they are dead, and neither shipped nor pending.
func TestBuriedAheadIsDead(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	_, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		switch {
		case d.Session == "bad":
			return receiver.Fault{Status: 500}
		case strings.HasPrefix(d.Session, "dead"):
			return receiver.Fault{Status: 422}
		}
		return receiver.Fault{}
	}})
	rig.Append("shop", "bad", 4)
	for i := range 5 {
		rig.Append("shop", fmt.Sprint("dead", i), 1)
		rig.Append("shop", fmt.Sprint("good", i), 3)
	}
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitFor("four events wait", func() bool { return ship.Status().LagEvents == 4 })
	if a := ship.Status().Account; a.Pending != 4 || a.Dead != 5 || a.Shipped != 15 || a.Imbalance != 0 {
		t.Errorf("%+v", a)
	}
}
