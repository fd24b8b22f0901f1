package shipper_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// TestRetentionKeepsWhatSomeCursorNeeds: the log deletes nothing that the
// slowest cursor has not passed, paused or rewound ones included.
func TestRetentionKeepsWhatSomeCursorNeeds(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	for range 40 {
		rig.Append("p", "a", 100)
	}
	ship := rig.Start(sink, large, shipper.Options{})
	ship.WaitDone()
	other, err := ship.Cursors.Add("other", sink, large) // is never run
	if err != nil {
		t.Fatal(err)
	}
	if a, b := ship.Status().Epoch, other.Status().Epoch; b <= a {
		t.Errorf("the second cursor begins in epoch %d, the first in %d: want one counter", b, a)
	}
	if keep := ship.Cursors.KeepFrom(); keep != other.Next() {
		t.Errorf("kept is %d on, want %d", keep, other.Next())
	}
	if _, err := other.SkipTo(ctx, ann, 3000); err != nil {
		t.Fatal(err)
	}
	pause(t, ship)
	if _, err := ship.Rewind(ctx, ann, 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := rig.Log.Retain(wal.Retention{KeepFrom: ship.Cursors.KeepFrom(), Bytes: 1}); err != nil {
		t.Fatal(err)
	}
	if first := rig.Log.FirstSeq(); first < 1000 || first > 2000 {
		t.Errorf("the log begins at %d, want it shortly before 2000", first)
	}
	resume(t, ship)
	ship.WaitDone()
	if s := ship.Status(); len(s.Expired) > 0 {
		t.Errorf("expired: %v", s.Expired)
	}
}

// TestOwnPauseEndsWithItsCause, found by asking; a restart asks at once.
func TestOwnPauseEndsWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := shippertest.NewRig(t)
		var denied, probes atomic.Int32
		denied.Store(1)
		sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
			if denied.Load() == 0 {
				return nil
			}
			return &shipper.PauseError{Reason: "the password is wrong", Probe: func(context.Context) error {
				if probes.Add(1); denied.Load() == 0 {
					return nil
				}
				return errors.New("still wrong")
			}}
		}}
		rig.Append("p", "a", 4)
		ship := rig.Start(sink, small, shipper.Options{})
		time.Sleep(time.Minute)
		if s, n := ship.Status(), probes.Load(); s.State != shipper.Paused || n < 10 || n > 13 {
			t.Errorf("after a minute: asked %d times, %+v", n, s)
		}
		denied.Store(0)
		time.Sleep(6 * time.Second)
		if s := ship.Status(); s.State != shipper.Running || s.NextSeq != 5 {
			t.Errorf("6 s after the cause has gone: %+v", s)
		}

		denied.Store(1)
		rig.Append("p", "a", 4)
		time.Sleep(time.Second)
		if s := ship.Status(); s.State != shipper.Paused {
			t.Errorf("with the cause back: %+v", s)
		}
		ship.Stop()
		denied.Store(0)
		start := time.Now()
		ship = rig.Start(sink, small, shipper.Options{})
		ship.WaitDone()
		if took := time.Since(start); took > time.Second {
			t.Errorf("after a restart it took %s", took)
		}
	})
}

// TestAuditTrailIsBounded keeps the newest entries, also over a restart.
func TestAuditTrailIsBounded(t *testing.T) {
	const kept, given = 10_000, 10_050
	rig := shippertest.NewRig(t)
	ship := rig.Start(&shippertest.Recorder{}, small, shipper.Options{})
	ship.Stop()
	for i := range given {
		if i == given/2 {
			ship = rig.Start(&shippertest.Recorder{}, small, shipper.Options{})
			ship.Stop()
		}
		if i%2 == 0 {
			pause(t, ship)
		} else {
			resume(t, ship)
		}
	}
	next := uint64(given - kept + 1)
	err := ship.Cursors.Trail(func(e shipper.TrailEntry) error {
		if e.Number != next {
			t.Fatalf("entry %d where %d is due", e.Number, next)
		}
		next++
		return nil
	})
	if err != nil || next != given+1 {
		t.Errorf("the trail ends at %d, %v", next-1, err)
	}
}

func TestBackoffDoublesUpToItsBound(t *testing.T) {
	var b shipper.Backoff
	whole := 100 * time.Millisecond
	for range 20 {
		if d := b.Next(); d < whole/2 || d > whole {
			t.Errorf("a rest of %s, want %s to %s", d, whole/2, whole)
		}
		whole = min(2*whole, 30*time.Second)
	}
	b.Reset()
	if d := b.Next(); d > 100*time.Millisecond {
		t.Errorf("after a success a rest of %s", d)
	}
}
