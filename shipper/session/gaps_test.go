package session_test

import (
	"fmt"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// TestGapsOfManySilentSessions: sessions that never go on, and so are never
// told of their gaps, hold up nobody. At the bound the oldest are forgotten.
func TestGapsOfManySilentSessions(t *testing.T) {
	t.Parallel()
	const bound = 100_000
	rig := shippertest.NewRig(t)
	key := func(i int) string {
		return "lane/test/gap/" + header.NewSessionID("gone", fmt.Sprint(i)).String()
	}
	now := time.Now().UTC()
	var writes []shipper.Write
	for i := range bound {
		at := now.Add(time.Duration(i-2*bound) * time.Second).Format(time.RFC3339)
		writes = append(writes, shipper.Write{Key: key(i), Value: fmt.Appendf(nil, `{"ranges":[{"first":1,"last":1}],"at":%q}`, at)})
	}
	if err := rig.State.Commit(writes...); err != nil {
		t.Fatal(err)
	}
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Session == "bad" {
			return receiver.Fault{Status: 422}
		}
		return receiver.Fault{}
	}})
	rig.Append("shop", "bad", 1)
	rig.Append("shop", "good", 10)
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if report := r.Report(); report.Events != 10 || ship.Status().Dead != 1 {
		t.Errorf("%+v, %+v", report, ship.Status())
	}
	ship.Stop()
	if s := stats(sink); s.GapsPending > bound || s.GapsForgotten == 0 {
		t.Errorf("%+v", s)
	}
	for k, want := range map[string]bool{
		key(0): false, key(bound - 1): true, "lane/test/gap/" + header.NewSessionID("shop", "bad").String(): true,
	} {
		if value, err := rig.State.Get(k); err != nil || (value != nil) != want {
			t.Errorf("%s: %q, %v; want it there: %t", k, value, err, want)
		}
	}
}
