package shipper_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

var (
	ctx = context.Background()
	ann = shipper.Command{By: "ann", Why: "a test"}
)

func TestPauseSurvivesRestartAndResumes(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
	ship.Stop()
	rig.Append("p", "a", 4)
	ship = rig.Start(sink, small, shipper.Options{})
	if s := ship.Status(); s.State != shipper.Paused || s.Pause.By != "ann" || s.Pause.Reason != "a test" {
		t.Fatalf("after a restart: %+v", s)
	}
	if got := sink.Delivered(); len(got) != 0 {
		t.Fatalf("a paused cursor delivered %v", seqs(got))
	}
	if err := ship.Resume(ctx, ann); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(1, 4))
}

func TestPauseEndsByItself(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	if err := ship.Pause(ctx, ann, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	rig.Append("p", "a", 4)
	ship.WaitDone()
	if s := ship.Status(); s.State != shipper.Running || s.Pause != nil {
		t.Errorf("after its time is over: %+v", s)
	}
}

func TestStepDeliversOneBatch(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	if _, err := ship.Step(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("step of a running cursor: %v, want a refusal", err)
	}
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
	rig.Append("p", "a", 7)
	for _, want := range []uint64{4, 7, 8} {
		m, err := ship.Step(ctx, ann)
		if err != nil || m.To != want {
			t.Fatalf("step: %+v, %v; want it to end at %d", m, err, want)
		}
		if s := ship.Status(); s.State != shipper.Paused {
			t.Fatalf("after a step: %+v", s)
		}
	}
	if _, err := ship.Step(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("step with nothing left: %v, want a refusal", err)
	}
	wantSeqs(t, sink.Delivered(), ascending(1, 7))
}

func TestRewindDeliversAgainInANewEpoch(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	before := ship.Status().Epoch
	m, err := ship.Rewind(ctx, ann, 4)
	if err != nil || m.From != 11 || m.To != 4 || m.Epoch <= before {
		t.Fatalf("rewind: %+v, %v", m, err)
	}
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), append(ascending(1, 10), ascending(4, 7)...))
	for _, d := range sink.Delivered()[10:] {
		if d.Epoch != m.Epoch {
			t.Errorf("seq %d came again in epoch %d, want %d", d.Seq, d.Epoch, m.Epoch)
		}
	}
	for _, to := range []uint64{0, 11, 99} {
		if _, err := ship.Rewind(ctx, ann, to); !errors.Is(err, shipper.ErrRefused) {
			t.Errorf("rewind to %d: %v, want a refusal", to, err)
		}
	}
}

func TestRewindIsIdempotentAndUndoReturns(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
	first, err := ship.Rewind(ctx, ann, 4)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ship.Rewind(ctx, ann, 4)
	if err != nil || again.Epoch != first.Epoch {
		t.Fatalf("the same rewind again: %+v, %v; want nothing to change", again, err)
	}
	back, err := ship.Undo(ctx, ann)
	if err != nil || back.To != 11 || back.Epoch <= first.Epoch {
		t.Fatalf("undo: %+v, %v; want it back at 11 in a further epoch", back, err)
	}
	if _, err := ship.Undo(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a second undo: %v, want a refusal", err)
	}
}

func TestSkipNamesWhatItPassesOver(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
	rig.Append("p", "a", 10)
	if _, err := ship.SkipTo(ctx, ann, 12); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("skip past the end: %v, want a refusal", err)
	}
	if _, err := ship.SkipTo(ctx, ann, 6); err != nil {
		t.Fatal(err)
	}
	if s := ship.Status(); len(s.Skipped) != 1 || s.Skipped[0] != (shipper.Range{First: 1, Last: 5}) {
		t.Errorf("skipped: %+v", s.Skipped)
	}
	if _, err := ship.Rewind(ctx, ann, 3); err != nil {
		t.Fatal(err)
	}
	if s := ship.Status(); len(s.Skipped) != 1 || s.Skipped[0] != (shipper.Range{First: 1, Last: 2}) {
		t.Errorf("skipped after a rewind into the skipped: %+v", s.Skipped)
	}
	if err := ship.Resume(ctx, ann); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(3, 8))
}

func TestTwoOperatorsGetAConflict(t *testing.T) {
	rig := shippertest.NewRig(t)
	interrupted, leave := make(chan struct{}), make(chan struct{})
	sink := shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		<-ctx.Done()
		close(interrupted)
		<-leave // a request that takes its time to end
		return ctx.Err()
	})
	rig.Append("p", "a", 3)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("the sink runs", func() bool { return ship.Running() })
	first := make(chan error, 1)
	go func() { first <- ship.Pause(ctx, ann, 0) }()
	<-interrupted
	second := ship.Pause(ctx, shipper.Command{By: "bob"}, 0)
	close(leave)
	if !errors.Is(second, shipper.ErrBusy) {
		t.Errorf("the second operator got %v, want a conflict", second)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	if s := ship.Status(); s.Pause == nil || s.Pause.By != "ann" {
		t.Errorf("paused by %+v, want ann", s.Pause)
	}
}

func TestAuditTrailSurvivesRestart(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 3)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	if err := ship.Pause(ctx, ann, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := ship.Rewind(ctx, shipper.Command{By: "bob", Why: "table dropped"}, 1); err != nil {
		t.Fatal(err)
	}
	ship.Stop()
	ship = rig.Start(sink, small, shipper.Options{})
	if err := ship.Resume(ctx, ann); err != nil {
		t.Fatal(err)
	}
	var got []shipper.TrailEntry
	if err := ship.Cursors.Trail(func(e shipper.TrailEntry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	verbs := []string{"pause", "rewind", "resume"}
	if len(got) != len(verbs) {
		t.Fatalf("audit trail: %+v", got)
	}
	for i, e := range got {
		if e.Verb != verbs[i] || e.Number != uint64(i+1) || e.Cursor != "test" || len(e.Before) == 0 || len(e.After) == 0 || e.At.IsZero() {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	if got[1].By != "bob" || got[1].Why != "table dropped" {
		t.Errorf("rewind entry: %+v", got[1])
	}
}

func TestPreviewTellsWhatARewindTouches(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 4)
	rig.Append("q", "a", 4)
	rig.Append("q", "b", 2)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	p, err := ship.Preview(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	if p.Verb != "rewind" || p.From != 11 || p.To != 3 || p.Events != 8 || p.Duplicates != 8 || p.Sessions != 3 ||
		len(p.Projects) != 2 || len(p.Days) != 1 || p.Bytes == 0 || p.NotKept != 0 {
		t.Errorf("preview: %+v", p)
	}
	if got := ship.Next(); got != 11 {
		t.Errorf("the preview moved the cursor to %d", got)
	}
}

// TestTouchedTellsTheMoveThatWasMade: between a preview and the move the
// cursor may have gone on.
func TestTouchedTellsTheMoveThatWasMade(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	if p, err := ship.Preview(ctx, 3); err != nil || p.Events != 2 {
		t.Fatalf("preview: %+v, %v", p, err)
	}
	rig.Append("p", "b", 6)
	ship.WaitDone()
	m, err := ship.Rewind(ctx, ann, 3)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ship.Touched(ctx, m)
	if err != nil || p.From != 11 || p.To != 3 || p.Events != 8 || p.Duplicates != 8 || p.Sessions != 2 || p.Verb != "rewind" {
		t.Errorf("touched: %+v, %v", p, err)
	}
}
