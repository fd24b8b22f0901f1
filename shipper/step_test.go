package shipper_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// trail is the verbs of the audit trail.
func trail(t *testing.T, cursors *shipper.Cursors) []string {
	t.Helper()
	verbs := []string{}
	if err := cursors.Trail(func(e shipper.TrailEntry) error { verbs = append(verbs, e.Verb); return nil }); err != nil {
		t.Fatal(err)
	}
	return verbs
}

func wantTrail(t *testing.T, cursors *shipper.Cursors, want ...string) {
	t.Helper()
	if got := strings.Join(trail(t, cursors), " "); got != strings.Join(want, " ") {
		t.Errorf("audit trail %q, want %q", got, want)
	}
}

func pause(t *testing.T, ship *shippertest.Ship) {
	t.Helper()
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, ship *shippertest.Ship) {
	t.Helper()
	if err := ship.Resume(ctx, ann); err != nil {
		t.Fatal(err)
	}
}

func TestStepIsRefusedWhileNothingRuns(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	pause(t, ship)
	rig.Append("p", "a", 3)
	ship.Stop()
	if _, err := ship.Step(ctx, ann); !errors.Is(err, shipper.ErrRefused) || !strings.Contains(err.Error(), "stopped: start it") {
		t.Errorf("step of a stopped node: %v, want a refusal that says so", err)
	}
	if !ship.Status().Stopped {
		t.Error("its status does not tell that the node is stopped")
	}
	wantTrail(t, ship.Cursors, "pause")
}

func TestStopEndsAStep(t *testing.T) {
	rig := shippertest.NewRig(t)
	entered := make(chan struct{})
	ship := rig.Start(shipFunc(func(ctx context.Context, _ *shipper.Feed) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}), small, shipper.Options{})
	<-entered
	pause(t, ship)
	entered = make(chan struct{})
	rig.Append("p", "a", 3)
	stepped := make(chan error, 1)
	go func() {
		_, err := ship.Step(ctx, ann)
		stepped <- err
	}()
	<-entered
	ship.Stop()
	if err := <-stepped; err == nil || !strings.Contains(err.Error(), "stopped before the step was done") {
		t.Errorf("the step returned %v", err)
	}
	wantTrail(t, ship.Cursors, "pause")
}

// TestStepGoesOnWithoutItsCaller: the batch is delivered and audited although
// nobody waits for it any more.
func TestStepGoesOnWithoutItsCaller(t *testing.T) {
	rig := shippertest.NewRig(t)
	waiting, leave := make(chan struct{}, 1), make(chan struct{})
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		waiting <- struct{}{}
		<-leave
		return nil
	}}
	ship := rig.Start(sink, small, shipper.Options{})
	pause(t, ship)
	rig.Append("p", "a", 7)
	impatient, hangUp := context.WithCancel(ctx)
	go func() { <-waiting; hangUp() }()
	if _, err := ship.Step(impatient, ann); !errors.Is(err, context.Canceled) {
		t.Fatalf("the step returned %v", err)
	}
	if _, err := ship.Step(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a second step: %v, want a refusal", err)
	}
	close(leave)
	ship.WaitFor("the step is in the audit trail", func() bool { return len(trail(t, ship.Cursors)) == 2 })
	wantSeqs(t, sink.Delivered(), ascending(1, 3))
	if s := ship.Status(); s.State != shipper.Paused || s.NextSeq != 4 {
		t.Errorf("after the step: %+v", s)
	}
	wantTrail(t, ship.Cursors, "pause", "step")
}

// TestStepThatFailsAfterItsBatchIsOver: a sink that fails once it has advanced
// must not be given another batch.
func TestStepThatFailsAfterItsBatchIsOver(t *testing.T) {
	rig := shippertest.NewRig(t)
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		b, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := feed.Advance(b.Last + 1); err != nil {
			return err
		}
		return errors.New("the connection could not be closed")
	}), small, shipper.Options{})
	pause(t, ship)
	rig.Append("p", "a", 7)
	if m, err := ship.Step(ctx, ann); err != nil || m.From != 1 || m.To != 4 {
		t.Errorf("step: %+v, %v; want one batch", m, err)
	}
	wantTrail(t, ship.Cursors, "pause", "step")
}

// TestStepIsTriedAgain: a step that failed with nothing delivered is not over.
func TestStepIsTriedAgain(t *testing.T) {
	rig := shippertest.NewRig(t)
	var tries atomic.Int32
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		if tries.Add(1) == 1 {
			return errors.New("connection refused")
		}
		return nil
	}}
	ship := rig.Start(sink, small, shipper.Options{})
	pause(t, ship)
	rig.Append("p", "a", 7)
	if m, err := ship.Step(ctx, ann); err != nil || m.To != 4 {
		t.Errorf("step: %+v, %v; want one batch", m, err)
	}
}
