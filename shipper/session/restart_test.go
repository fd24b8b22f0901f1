package session_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// TestLittleIsSentAgain kills the sink while one session holds the position
// back and the others flow. What was delivered and saved is not sent again.
func TestLittleIsSentAgain(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var crashed, healed atomic.Bool
	var mu sync.Mutex
	var taken, sure, before uint64 // events taken; when the last two commits began
	rig.State.BeforeCommit = func([]shipper.Write) error {
		if crashed.Load() {
			return errors.New("the process is dead")
		}
		mu.Lock()
		defer mu.Unlock()
		sure, before = before, taken
		return nil
	}
	r, server := newReceiver(t, receiver.Options{
		Hook: func(d receiver.Delivery) receiver.Fault {
			if d.Session == "stuck" && !healed.Load() {
				return receiver.Fault{Status: 500}
			}
			return receiver.Fault{}
		},
		Taken: func(d receiver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			taken += uint64(len(d.Seqs))
		},
	})
	o := session.Options{URL: server.URL, Lanes: 4, RequestEvents: 5}
	rig.Append("shop", "stuck", 1)
	appendEvents(rig, 300, 3000)
	ship := rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitFor("a part is delivered", func() bool { mu.Lock(); defer mu.Unlock(); return taken > 1500 && sure > 0 })
	crashed.Store(true)
	ship.Stop()
	if ship.Next() != 1 {
		t.Fatalf("the position is %d", ship.Next())
	}
	mu.Lock()
	unsaved := taken - sure
	mu.Unlock()
	crashed.Store(false)

	sink := newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the others are delivered", func() bool { return r.Report().Events == rig.Log.DurableSeq()-1 })
	if repeats := r.Report().Repeats; repeats > unsaved+4*5 {
		t.Errorf("%d events were sent again, of %d that were in flight or not saved", repeats, unsaved)
	}
	ship.WaitFor("the stuck session is parked again", func() bool {
		s := stats(sink)
		return s.ParkedCount == 1 && len(s.Parked) == 1 && s.Parked[0].Session == "stuck" && s.Parked[0].Failures > 1
	})

	// All is saved now, so that nothing but the stuck session is left.
	ship.WaitFor("the marks are saved", func() bool { return stats(sink).Marks == 300 })
	ship.Stop()
	was := r.Report().Repeats
	healed.Store(true)
	ship = rig.Start(newSink(t, session.Options{URL: server.URL, Lanes: 7}), flush, shipper.Options{})
	ship.WaitDone()
	if report := wantAll(t, rig, r); report.Repeats != was {
		t.Errorf("%d events were sent again after an orderly stop", report.Repeats-was)
	}
	ship.WaitFor("the marks are forgotten", func() bool { return len(laneKeys(t, rig)) == 1 })
	if left := laneKeys(t, rig); !strings.HasSuffix(left[0], "/reach") {
		t.Errorf("left in the state: %v", left)
	}
}

// laneKeys are the keys of the sink's own state.
func laneKeys(t *testing.T, rig *shippertest.Rig) (keys []string) {
	t.Helper()
	err := rig.State.Scan("lane/", func(key string, _ []byte) error { keys = append(keys, key); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestGapSurvivesRestart buries the last event of a session, and tells
// the session once it goes on, in another life of the sink.
func TestGapSurvivesRestart(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Seqs[0] <= 2 && d.Seqs[len(d.Seqs)-1] >= 2 {
			return receiver.Fault{Status: 422}
		}
		return receiver.Fault{}
	}})
	o := session.Options{URL: server.URL}
	rig.Append("shop", "s", 2)
	ship := rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	if report := r.Report(); report.Events != 1 || report.Gaps != 0 {
		t.Fatalf("%+v", report)
	}
	rig.Append("shop", "s", 1)
	ship = rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitDone()
	if report := r.Report(); report.Events != 2 || report.Gaps != 1 || !report.InOrder() {
		t.Fatalf("%+v", report)
	}
	marks := r.Marks("shop", "s")
	if len(marks) != 1 || marks[0].Seq != 3 || marks[0].Gaps.String() != "2" {
		t.Errorf("%+v", marks)
	}
	ship.Stop()
	if left := laneKeys(t, rig); len(left) != 1 {
		t.Errorf("left in the state: %v", left)
	}
}

// TestLostEvents damages the log under a session: what is lost is announced
// to each session that goes on after it, also after a restart.
func TestLostEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 4 << 10, Compression: wal.CompressionNone, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	rig := &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()}
	appendEvents(rig, 4, 100)
	segments, err := log.Segments()
	if err != nil {
		t.Fatal(err)
	}
	damage(t, dir, segments)
	r, server := newReceiver(t, receiver.Options{})
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	lost := ship.Status().Lost
	if len(lost) != 1 {
		t.Fatalf("lost: %+v", lost)
	}
	n := lost[0].Last - lost[0].First + 1
	if report := r.Report(); report.Events != log.DurableSeq()-n || report.Gaps != 4*n || !report.InOrder() {
		t.Errorf("%d were lost; %+v", n, report)
	}
	rig.Append("shop", "late", 1)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if marks := r.Marks("shop", "late"); len(marks) != 1 || marks[0].Gaps.Len() != n {
		t.Errorf("a session after a restart: %+v", marks)
	}
}

// damage flips a bit in the middle of the second segment.
func damage(t *testing.T, dir string, segments []wal.SegmentInfo) {
	t.Helper()
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	path := filepath.Join(dir, segments[1].Name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNewerStateIsRefused meets what a later release has saved.
func TestNewerStateIsRefused(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	_, server := newReceiver(t, receiver.Options{})
	rig.Append("shop", "s", 1)
	if err := rig.State.Commit(shipper.Write{Key: "lane/test/reach", Value: []byte(`{"version":2}`)}); err != nil {
		t.Fatal(err)
	}
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitFor("it is refused", func() bool { return strings.Contains(ship.Status().LastError, "version 2") })
}
