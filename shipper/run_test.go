package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestPausedCursorNeverShips pauses at moments when the cursor is about to
// call its sink.
func TestPausedCursorNeverShips(t *testing.T) {
	rig := shippertest.NewRig(t)
	var ship *shippertest.Ship
	ready := make(chan struct{})
	ship = rig.Start(shipFunc(func(ctx context.Context, _ *shipper.Feed) error {
		<-ready
		if s := ship.Status(); s.Pause != nil {
			t.Errorf("the sink is called while %+v", s.Pause)
		}
		<-ctx.Done()
		return ctx.Err()
	}), small, shipper.Options{})
	close(ready)
	for i := range 1000 {
		pause(t, ship)
		if ship.Running() {
			t.Fatalf("round %d: the sink runs after the pause", i)
		}
		resume(t, ship)
	}
}

// TestCommandEndsTheRest: who resumes after an outage does not wait for the
// next try.
func TestCommandEndsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := shippertest.NewRig(t)
		var down atomic.Bool
		down.Store(true)
		sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		}}
		rig.Append("p", "a", 3)
		ship := rig.Start(sink, small, shipper.Options{})
		ship.WaitFor("the rests are long", func() bool { return ship.Status().ErrorCount == 9 })
		down.Store(false)
		start := time.Now()
		pause(t, ship)
		resume(t, ship)
		ship.WaitDone()
		if took := time.Since(start); took > time.Second {
			t.Errorf("delivered %s after the resume", took)
		}
	})
}

// TestSinkThatGivesUpIsGivenARest: neither a time-out of the sink's own nor an
// end that the feed did not have makes the cursor spin.
func TestSinkThatGivesUpIsGivenARest(t *testing.T) {
	for name, result := range map[string]error{
		"own time-out":     fmt.Errorf("dial: %w", context.DeadlineExceeded),
		"own cancellation": fmt.Errorf("request: %w", context.Canceled),
		"no error":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rig := shippertest.NewRig(t)
				var calls atomic.Int32
				rig.Append("p", "a", 3)
				ship := rig.Start(shipFunc(func(context.Context, *shipper.Feed) error { calls.Add(1); return result }), small, shipper.Options{})
				time.Sleep(time.Minute)
				if s := ship.Status(); s.State != shipper.Failing || s.ErrorCount == 0 {
					t.Errorf("status: %+v", s)
				}
				if n := calls.Load(); n < 5 || n > 30 {
					t.Errorf("called %d times in a minute", n)
				}
			})
		})
	}
}

// TestFillGoesOnAfterACommand: a command that comes during a round of requeued
// letters does not put the rest of them off.
func TestFillGoesOnAfterACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := shippertest.NewRig(t)
		var bad atomic.Bool
		bad.Store(true)
		record := &shippertest.Recorder{Refuse: refusing(&bad, 1, 2)}
		var held atomic.Bool
		held.Store(true)
		rig.Append("p", "a", 4)
		ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
			if feed.Fill() && held.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return record.Ship(ctx, feed)
		}), small, shipper.Options{})
		ship.WaitDone()
		bad.Store(false)
		if n, err := ship.Requeue(ann, shipper.DeadFilter{}); n != 2 || err != nil {
			t.Fatalf("requeue: %d, %v", n, err)
		}
		synctest.Wait()
		pause(t, ship)
		held.Store(false)
		start := time.Now()
		resume(t, ship)
		ship.WaitFor("the letters are delivered", func() bool { return ship.Status().Dead == 0 })
		if took := time.Since(start); took > time.Second {
			t.Errorf("delivered %s after the resume", took)
		}
	})
}

// TestLettersThatStillFailDoNotHoldUpTheLog: rounds of requeued letters end,
// and the log goes on between them.
func TestLettersThatStillFailDoNotHoldUpTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := shippertest.NewRig(t)
		var bad atomic.Bool
		bad.Store(true)
		record := &shippertest.Recorder{Refuse: refusing(&bad, 1)}
		rounds := atomic.Int32{}
		rig.Append("p", "a", 4)
		ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
			if feed.Fill() {
				rounds.Add(1)
				<-ctx.Done() // it cannot be delivered, and is not refused either
				return ctx.Err()
			}
			return record.Ship(ctx, feed)
		}), small, shipper.Options{})
		ship.WaitDone()
		if _, err := ship.Requeue(ann, shipper.DeadFilter{}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			rig.Append("p", "a", 3)
			time.Sleep(40 * time.Second)
			if lag := ship.Status().LagEvents; lag != 0 {
				t.Errorf("40 s later %d events are not delivered", lag)
			}
		}
		if n := rounds.Load(); n < 4 || n > 6 {
			t.Errorf("%d rounds in 400 s", n)
		}
	})
}

// TestPauseThatEndedWhileTheNodeWasStopped ends at the start.
func TestPauseThatEndedWhileTheNodeWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
		ship := rig.Start(sink, small, shipper.Options{})
		if err := ship.Pause(ctx, ann, time.Hour); err != nil {
			t.Fatal(err)
		}
		rig.Append("p", "a", 4)
		ship.Stop()
		time.Sleep(30 * time.Minute)
		ship = rig.Start(sink, small, shipper.Options{})
		synctest.Wait()
		if s := ship.Status(); s.State != shipper.Paused || len(sink.Delivered()) > 0 {
			t.Errorf("half-way: %+v", s)
		}
		ship.Stop()
		time.Sleep(2 * time.Hour)
		ship = rig.Start(sink, small, shipper.Options{})
		ship.WaitDone()
		if s := ship.Status(); s.Pause != nil || s.State != shipper.Running {
			t.Errorf("after its end: %+v", s)
		}
		ship.Stop()
		if s := rig.Start(sink, small, shipper.Options{}).Status(); s.Pause != nil {
			t.Errorf("its end was not saved: %+v", s)
		}
		wantTrail(t, ship.Cursors, "pause") // nobody commanded its end
	})
}

// TestPauseOfTheSinkIsKeptByACommand: a sink that gives up just when a command
// comes has given up before it.
func TestPauseOfTheSinkIsKeptByACommand(t *testing.T) {
	rig := shippertest.NewRig(t)
	entered := make(chan struct{}, 1)
	ship := rig.Start(shipFunc(func(ctx context.Context, _ *shipper.Feed) error {
		entered <- struct{}{}
		<-ctx.Done()
		return &shipper.PauseError{Reason: "the view is broken"}
	}), small, shipper.Options{})
	<-entered
	pause(t, ship)
	if s := ship.Status(); s.LastError != "the view is broken" {
		t.Errorf("while both paused it: %+v", s)
	}
	resume(t, ship) // takes back both
	<-entered
	if s := ship.Status(); s.State != shipper.Running {
		t.Errorf("after the resume: %+v", s)
	}
}

// TestFeedGoesOnAfterAnInterruptedNext: what was read for a batch that was not
// returned is in the next one.
func TestFeedGoesOnAfterAnInterruptedNext(t *testing.T) {
	rig := shippertest.NewRig(t)
	got := make(chan *shipper.Batch, 1)
	rig.Append("p", "a", 4)
	rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if b, err := feed.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a batch that is not old enough: %+v, %v", b, err)
		}
		rig.Append("p", "a", 2)
		b, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		got <- b
		<-ctx.Done()
		return ctx.Err()
	}), shipper.Flush{Rows: 6, Bytes: 1 << 20, Age: time.Hour}, shipper.Options{})
	if b := <-got; b.First != 1 || b.Last != 6 || len(b.Events) != 6 {
		t.Errorf("the batch is %d to %d with %d events, want 1 to 6", b.First, b.Last, len(b.Events))
	}
}

// TestFeedThatIsOverMovesNothing: a sink that has not stood still cannot undo
// a rewind.
func TestFeedThatIsOverMovesNothing(t *testing.T) {
	rig := shippertest.NewRig(t)
	feeds := make(chan *shipper.Feed, 3)
	rig.Append("p", "a", 9)
	record := &shippertest.Recorder{}
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		feeds <- feed
		return record.Ship(ctx, feed)
	}), small, shipper.Options{})
	ship.WaitDone()
	pause(t, ship)
	if _, err := ship.Rewind(ctx, ann, 2); err != nil {
		t.Fatal(err)
	}
	if err := (<-feeds).Advance(10); err == nil {
		t.Error("a feed of another epoch moved the cursor")
	}
	if ship.Next() != 2 {
		t.Errorf("the cursor stands at %d, want 2", ship.Next())
	}
}

// TestEndOfAStep: the feed of a step ends after its batch.
func TestEndOfAStep(t *testing.T) {
	rig := shippertest.NewRig(t)
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		b, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if _, err := feed.Next(ctx); !errors.Is(err, io.EOF) {
			t.Errorf("a second batch: %v, want the end", err)
		}
		return feed.Advance(b.Last + 1)
	}), small, shipper.Options{})
	pause(t, ship)
	rig.Append("p", "a", 7)
	if m, err := ship.Step(ctx, ann); err != nil || m.To != 4 {
		t.Errorf("step: %+v, %v", m, err)
	}
}
