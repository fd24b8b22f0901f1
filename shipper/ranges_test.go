package shipper_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// retain fills the log with some segments and has retention take the oldest;
// it returns the oldest seq that is left.
func retain(t *testing.T, rig *shippertest.Rig) uint64 {
	t.Helper()
	for range 40 {
		rig.Append("p", "a", 100)
	}
	if _, err := rig.Log.Retain(wal.Retention{KeepFrom: rig.Log.DurableSeq(), Bytes: 128 << 10}); err != nil {
		t.Fatal(err)
	}
	first := rig.Log.FirstSeq()
	if first < 100 {
		t.Fatalf("the log still begins at %d", first)
	}
	return first
}

// large does not cut a log of some thousand events into too many batches.
var large = shipper.Flush{Rows: 1000, Bytes: 1 << 20}

// TestDisabledCursorCountsWhatRetentionTook: a cursor that was not there for a
// while goes on behind the events that are gone, and names them as expired.
func TestDisabledCursorCountsWhatRetentionTook(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 5)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	first := retain(t, rig)
	sink.Reset()
	ship = rig.Start(sink, large, shipper.Options{})
	ship.WaitDone()
	s := ship.Status()
	if want := []shipper.Range{{First: 6, Last: first - 1}}; !reflect.DeepEqual(s.Expired, want) || len(s.Lost) > 0 {
		t.Errorf("expired %v and lost %v, want expired %v", s.Expired, s.Lost, want)
	}
	wantSeqs(t, sink.Delivered(), ascending(first, rig.Log.DurableSeq()-first+1))
	ship.Stop()
	if again := rig.Start(sink, large, shipper.Options{}).Status(); !reflect.DeepEqual(again.Expired, s.Expired) {
		t.Errorf("after a restart %v, before %v", again.Expired, s.Expired)
	}
}

// TestNewCursorCountsWhatRetentionTook: likewise one that is made when the log
// has lost its beginning.
func TestNewCursorCountsWhatRetentionTook(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	first := retain(t, rig)
	ship := rig.Start(sink, large, shipper.Options{})
	ship.WaitDone()
	if s := ship.Status(); !reflect.DeepEqual(s.Expired, []shipper.Range{{First: 1, Last: first - 1}}) {
		t.Errorf("expired %v, want 1 to %d", s.Expired, first-1)
	}
}

func TestPreviewTellsWhatIsNoLongerKept(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 5)
	stays := rig.Start(sink, large, shipper.Options{})
	stays.WaitDone()
	stays.Stop()
	first := retain(t, rig)
	if p, err := stays.Preview(ctx, 3); err != nil || p.Verb != "rewind" || p.To != 6 || p.NotKept != 3 || p.Events != 0 {
		t.Errorf("of a cursor that stands before the oldest event: %+v, %v", p, err)
	}
	if _, err := stays.Rewind(ctx, ann, 3); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("its rewind: %v, want a refusal", err)
	}

	ship := rig.Start(sink, large, shipper.Options{})
	ship.WaitDone()
	p, err := ship.Preview(ctx, 11)
	if err != nil || p.To != first || p.NotKept != first-11 || p.Oldest != first || p.Events != ship.Next()-first || p.Lost != 0 {
		t.Errorf("preview: %+v, %v; want %d not kept", p, err, first-11)
	}
	if _, err := ship.Rewind(ctx, ann, 11); !errors.Is(err, shipper.ErrRefused) || !strings.Contains(err.Error(), "no longer kept") {
		t.Errorf("rewind to what is gone: %v, want a refusal", err)
	}
	if m, err := ship.Rewind(ctx, ann, p.To); err != nil || m.To != first {
		t.Errorf("rewind to where the preview said: %+v, %v", m, err)
	}
}

// appendGarbage stores an entry of n seqs that passes the log's checksum and
// is no record.
func appendGarbage(t *testing.T, rig *shippertest.Rig, n int) {
	t.Helper()
	if _, err := rig.Log.Append(ctx, wal.Entry{Data: []byte("\x00 no record"), Events: n}); err != nil {
		t.Fatal(err)
	}
}

// TestLostSeqsAreNamed also when the commit that should name them fails, and
// when the plan that covers them is read again after a crash.
func TestLostSeqsAreNamed(t *testing.T) {
	rig := shippertest.NewRig(t)
	rig.Append("p", "a", 1)
	appendGarbage(t, rig, 3)
	rig.Append("p", "a", 2)
	want := []shipper.Range{{First: 2, Last: 4}}

	t.Run("failed commit", func(t *testing.T) {
		var failing atomic.Bool
		rig.State = shippertest.NewState()
		rig.State.BeforeCommit = func([]shipper.Write) error {
			if failing.Load() {
				return errors.New("disk full")
			}
			return nil
		}
		ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
			b, err := feed.Next(ctx)
			if err != nil {
				return err
			}
			failing.Store(true)
			if feed.Advance(b.Last+1) == nil {
				t.Error("a failing state saved the position")
			}
			failing.Store(false)
			return feed.Advance(b.Last + 1)
		}), shipper.Flush{Rows: 10, Bytes: 1 << 20}, shipper.Options{})
		ship.WaitDone()
		if s := ship.Status(); !reflect.DeepEqual(s.Lost, want) {
			t.Errorf("lost %v, want %v", s.Lost, want)
		}
		ship.Stop()
	})
	t.Run("plan read again", func(t *testing.T) {
		rig.State = shippertest.NewState()
		ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
			if _, err := feed.Read(ctx, 1, 6); err != nil {
				return err
			}
			if err := feed.Advance(7); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}), small, shipper.Options{})
		ship.WaitDone()
		if s := ship.Status(); !reflect.DeepEqual(s.Lost, want) {
			t.Errorf("lost %v, want %v", s.Lost, want)
		}
		ship.Stop()
	})
}

// TestUndoKeepsWhatWasDelivered: what was delivered between a move and its
// undo is no longer counted as skipped, and comes again as a repeat.
func TestUndoKeepsWhatWasDelivered(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 20)
	var ship *shippertest.Ship
	step := func() {
		if _, err := ship.Step(ctx, ann); err != nil {
			t.Fatal(err)
		}
	}
	do := func(m shipper.Moved, err error) shipper.Moved {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	ship = rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	pause(t, ship)
	do(ship.Rewind(ctx, ann, 1))

	do(ship.SkipTo(ctx, ann, 11)) // 1 to 10 are skipped
	do(ship.Rewind(ctx, ann, 5))
	step() // 5 to 7
	if m := do(ship.Undo(ctx, ann)); m.To != 11 {
		t.Fatalf("undo: %+v", m)
	}
	want := []shipper.Range{{First: 1, Last: 4}, {First: 8, Last: 10}}
	if s := ship.Status(); !reflect.DeepEqual(s.Skipped, want) {
		t.Errorf("skipped %v, want %v", s.Skipped, want)
	}

	rig.Append("p", "a", 6)
	do(ship.SkipTo(ctx, ann, 21)) // past all that was ever delivered
	step()                        // 21 to 23
	if m := do(ship.Undo(ctx, ann)); m.To != 11 {
		t.Fatalf("undo: %+v", m)
	}
	if s := ship.Status(); s.ReplayTo != 23 || !reflect.DeepEqual(s.Skipped, want) {
		t.Errorf("events up to %d count as repeats, want 23; skipped %v, want %v", s.ReplayTo, s.Skipped, want)
	}
}

// TestRepeatedCommandsChangeNothing: no new epoch, no entry in the trail.
func TestRepeatedCommandsChangeNothing(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 20)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	for range 2 {
		resume(t, ship)
	}
	for range 2 {
		pause(t, ship)
	}
	for _, to := range []uint64{4, 4, 9, 9} {
		move := ship.Rewind
		if to == 9 {
			move = ship.SkipTo
		}
		if m, err := move(ctx, ann, to); err != nil || m.To != to {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	for range 2 {
		resume(t, ship)
	}
	ship.WaitDone()
	wantTrail(t, ship.Cursors, "pause", "rewind", "skip", "resume")
}

// TestResumeOfItsOwnPauseIsAudited: it lets delivery go on like any other.
func TestResumeOfItsOwnPauseIsAudited(t *testing.T) {
	rig := shippertest.NewRig(t)
	var denied atomic.Bool
	denied.Store(true)
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		if denied.Load() {
			return &shipper.PauseError{Reason: "the table is missing"}
		}
		return nil
	}}
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("it pauses", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Pause.By != "forebay" || s.Pause.Since.IsZero() {
		t.Errorf("%+v", s.Pause)
	}
	denied.Store(false)
	resume(t, ship)
	ship.WaitDone()
	var last shipper.TrailEntry
	if err := ship.Cursors.Trail(func(e shipper.TrailEntry) error { last = e; return nil }); err != nil {
		t.Fatal(err)
	}
	if last.Verb != "resume" || last.By != "ann" || !strings.Contains(string(last.Before), "the table is missing") {
		t.Errorf("audit entry: %+v, before %s", last, last.Before)
	}
}

// TestErrorTextIsBounded: what a destination answers is not kept without end.
func TestErrorTextIsBounded(t *testing.T) {
	rig := shippertest.NewRig(t)
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		return errors.New(strings.Repeat("é", 1<<20))
	}}
	rig.Append("p", "a", 1)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("the failure shows", func() bool { return ship.Status().State == shipper.Failing })
	if n := len(ship.Status().LastError); n > 5000 {
		t.Errorf("%d bytes are kept", n)
	}
}
