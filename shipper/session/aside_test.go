package session_test

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/shipper/shippertest/proxy"
)

// TestParkedTooLong sets a session aside that fails for too long: its events
// queue in the dead letters, in order, and so do later ones, also after a
// restart; the position goes on. Once one of them was requeued and delivered
// the session goes on, and gets the others in order.
func TestParkedTooLong(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	var mu sync.Mutex
	var got []uint64
	r, server := newReceiver(t, receiver.Options{
		Hook: func(d receiver.Delivery) receiver.Fault {
			if d.Session == "bad" && !healed.Load() {
				return receiver.Fault{Status: 500}
			}
			return receiver.Fault{}
		},
		Taken: func(d receiver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if d.Session == "bad" {
				got = append(got, d.Seqs...)
			}
		},
	})
	o := session.Options{URL: server.URL, ParkedMaxAge: 100 * time.Millisecond}
	rig.Append("shop", "bad", 250) // more than one commit buries, more than 1 % of 10,000
	appendEvents(rig, 5, 50)
	sink := newSink(t, o)
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 250 || s.State == shipper.Paused {
		t.Fatalf("%+v", s)
	}
	ship.WaitFor("it is shown", func() bool { return stats(sink).Aside == 1 && stats(sink).ParkedCount == 0 })
	ship.Stop()

	sink = newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	rig.Append("shop", "bad", 10)
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 260 {
		t.Fatalf("after a restart: %+v", s)
	}
	err := ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		if d.Session != "bad" || !d.Queued || !strings.Contains(d.Reason, "500") {
			t.Errorf("%+v", d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	healed.Store(true)
	if _, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{Session: "bad"}); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("the letters are delivered", func() bool { return ship.Status().Dead == 0 })
	rig.Append("shop", "bad", 5)
	ship.WaitDone()
	report := r.Report()
	if !report.InOrder() || report.Events != rig.Log.DurableSeq() || report.Filled != 260 || stats(sink).Aside != 0 {
		t.Errorf("%+v, %+v", report, stats(sink))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(got) || len(got) != 265 {
		t.Errorf("the session got %v", got)
	}
}

// TestOutageSetsNobodyAside keeps parked sessions through an outage that is
// longer than a session may fail by itself.
func TestOutageSetsNobodyAside(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{})
	p := proxy.Start(t, server.Listener.Addr().String())
	p.Down()
	appendEvents(rig, 30, 60)
	sink := newSink(t, session.Options{URL: "http://" + p.Addr(), ParkedMaxAge: 300 * time.Millisecond})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it is down", func() bool { return stats(sink).Down })
	failed := stats(sink).Failed
	ship.WaitFor("it was down for long", func() bool { return stats(sink).Failed >= failed+4 })
	p.Up()
	ship.WaitDone()
	wantAll(t, rig, r)
	if s := ship.Status(); s.Dead != 0 {
		t.Errorf("%+v", s)
	}
}

// TestStandstillSetsNobodyAside: the time in which the node was stopped is not
// the session's, and what it had failed for before is.
func TestStandstillSetsNobodyAside(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	_, server := newReceiver(t, receiver.Options{Hook: func(receiver.Delivery) receiver.Fault {
		return receiver.Fault{Status: 500}
	}})
	o := session.Options{URL: server.URL, ParkedMaxAge: time.Hour}
	rig.Append("shop", "bad", 2)
	sink := newSink(t, o)
	ship := rig.Start(sink, flush, shipper.Options{})
	var s session.Stats // a session whose retry is under way is not in Parked
	ship.WaitFor("it is parked", func() bool { s = stats(sink); return len(s.Parked) == 1 })
	ship.Stop()

	begun := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	changeParked(t, rig, "since", begun)
	before := s.Parked[0].Failures
	sink = newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it has failed again", func() bool {
		s = stats(sink)
		return s.Aside > 0 || len(s.Parked) == 1 && s.Parked[0].Failures > before+1
	})
	if s.Aside != 0 || !s.Parked[0].Since.Equal(begun) {
		t.Errorf("after a stop of two hours: %+v", s)
	}
	ship.Stop()

	changeParked(t, rig, "failed_ns", time.Hour)
	sink = newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it is set aside", func() bool { return stats(sink).Aside == 1 })
	ship.WaitDone()
}

// changeParked changes a member of what the state keeps of the one parked session.
func changeParked(t *testing.T, rig *shippertest.Rig, member string, value any) {
	t.Helper()
	n := 0
	err := rig.State.Scan("lane/test/parked/", func(key string, saved []byte) error {
		n++
		var all map[string]any
		if err := json.Unmarshal(saved, &all); err != nil {
			return err
		}
		all[member] = value
		changed, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return rig.State.Commit(shipper.Write{Key: key, Value: changed})
	})
	if err != nil || n != 1 {
		t.Fatalf("%d parked sessions in the state, %v", n, err)
	}
}

// TestOrdersDoNotGather: a node whose disk is nearly full gives the order once a
// second, also while the cursor is paused and nobody takes it.
func TestOrdersDoNotGather(t *testing.T) {
	sink := newSink(t, session.Options{URL: "http://localhost:1"})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100_000 {
		sink.SetAsideParked()
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100_000 {
		t.Errorf("orders that nobody takes leave %d bytes", n)
	}
}

// TestSetAsideParked has it done at once. If all that was queued is discarded,
// the session's next event queues, and is what the session is released by.
func TestSetAsideParked(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Session == "bad" && !healed.Load() {
			return receiver.Fault{Status: 500}
		}
		return receiver.Fault{}
	}})
	rig.Append("shop", "bad", 3)
	rig.Append("shop", "good", 3)
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it is parked", func() bool { return stats(sink).ParkedCount == 1 })
	ship.WaitFor("it is set aside", func() bool {
		sink.SetAsideParked()
		return ship.Next() > rig.Log.DurableSeq()
	})
	if s := ship.Status(); s.Dead != 3 {
		t.Errorf("%+v", s)
	}
	healed.Store(true)
	if n, err := ship.Discard(shipper.Command{}, shipper.DeadFilter{}); n != 3 || err != nil {
		t.Fatalf("discard: %d, %v", n, err)
	}
	rig.Append("shop", "bad", 1)
	ship.WaitDone()
	if n, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{}); n != 1 || err != nil {
		t.Fatalf("requeue: %d, %v", n, err)
	}
	ship.WaitFor("it is released", func() bool { return ship.Status().Dead == 0 && stats(sink).Aside == 0 })
	rig.Append("shop", "bad", 2)
	ship.WaitDone()
	if report := r.Report(); report.Events != 6 || report.Gaps != 4 || !report.InOrder() {
		t.Errorf("%+v", report)
	}
}
