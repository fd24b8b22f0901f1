package shipper_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// small closes a batch at 3 events, so that a few events make several.
var small = shipper.Flush{Rows: 3, Bytes: 1 << 20}

func seqs(ds []shippertest.Delivered) []uint64 {
	out := []uint64{}
	for _, d := range ds {
		out = append(out, d.Seq)
	}
	return out
}

// ascending is n seqs from first on.
func ascending(first, n uint64) []uint64 {
	out := []uint64{}
	for i := range n {
		out = append(out, first+i)
	}
	return out
}

func wantSeqs(t *testing.T, got []shippertest.Delivered, want []uint64) {
	t.Helper()
	have := seqs(got)
	if len(have) != len(want) {
		t.Fatalf("delivered %v, want %v", have, want)
	}
	for i := range want {
		if have[i] != want[i] {
			t.Fatalf("delivered %v, want %v", have, want)
		}
	}
}

func TestDeliversInOrderAndGoesOnAfterRestart(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	rig.Append("p", "b", 5)
	ship = rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(1, 15))
	if s := ship.Status(); s.State != shipper.Running || s.NextSeq != 16 || s.LagEvents != 0 || s.Plan != nil {
		t.Errorf("status after all is delivered: %+v", s)
	}
}

func TestBatchClosesByRowsBytesAndAge(t *testing.T) {
	for name, c := range map[string]struct {
		flush shipper.Flush
		want  int // events of the first batch
	}{
		"rows":  {shipper.Flush{Rows: 4, Bytes: 1 << 20, Age: time.Hour}, 4},
		"bytes": {shipper.Flush{Rows: 100, Bytes: 500, Age: time.Hour}, 2},
		"age":   {shipper.Flush{Rows: 100, Bytes: 1 << 20, Age: time.Millisecond}, 10},
		"none":  {shipper.Flush{Rows: 100, Bytes: 1 << 20}, 10},
		"large": {shipper.Flush{Rows: 100, Bytes: 1, Age: time.Hour}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			rig := shippertest.NewRig(t)
			rig.Append("p", "a", 10)
			first := make(chan int, 1)
			stop := errors.New("seen enough")
			sink := &shippertest.Recorder{Before: func(_ *shipper.Feed, b *shipper.Batch) error {
				select {
				case first <- len(b.Events):
				default:
				}
				return stop
			}}
			rig.Start(sink, c.flush, shipper.Options{})
			if got := <-first; got != c.want {
				t.Errorf("the first batch has %d events, want %d", got, c.want)
			}
		})
	}
}

func TestFailureIsRetriedAndShown(t *testing.T) {
	rig := shippertest.NewRig(t)
	var down atomic.Bool
	down.Store(true)
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}}
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("the failure shows", func() bool { return ship.Status().State == shipper.Failing })
	if s := ship.Status(); !strings.Contains(s.LastError, "connection refused") || s.ErrorSince.IsZero() || s.ErrorCount == 0 || s.LagEvents != 4 || s.OldestUnshipped.IsZero() {
		t.Errorf("status while failing: %+v", s)
	}
	down.Store(false)
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(1, 4))
	ship.WaitFor("it runs again", func() bool { return ship.Status().State == shipper.Running })
}

func TestPausesItselfAndResumesByProbe(t *testing.T) {
	rig := shippertest.NewRig(t)
	var denied atomic.Bool
	denied.Store(true)
	sink := &shippertest.Recorder{Before: func(*shipper.Feed, *shipper.Batch) error {
		if denied.Load() {
			return &shipper.PauseError{Reason: "the password is wrong: mend password_file"}
		}
		return nil
	}}
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("it pauses", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Pause == nil || !strings.Contains(s.Pause.Reason, "mend password_file") {
		t.Errorf("status while paused: %+v", s)
	}
	denied.Store(false)
	if err := ship.Resume(context.Background(), shipper.Command{By: "ann"}); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(1, 4))
}

func TestPlanSurvivesUntilAdvanced(t *testing.T) {
	rig := shippertest.NewRig(t)
	rig.Append("p", "a", 3)
	crash := errors.New("killed between plan and acknowledgement")
	planned := make(chan struct{}, 1)
	sink := shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		b, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := feed.SavePlan(shipper.Plan{First: b.First, Last: b.Last, Token: "t"}); err != nil {
			return err
		}
		select {
		case planned <- struct{}{}:
		default:
		}
		return crash
	})
	ship := rig.Start(sink, small, shipper.Options{})
	<-planned
	ship.Stop()

	seen := make(chan *shipper.Plan, 1)
	ship = rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		p := feed.Plan()
		again, err := feed.Read(ctx, p.First, p.Last)
		if err != nil || len(again.Events) != 3 {
			t.Errorf("read again: %v, %v", again, err)
		}
		seen <- p
		if err := feed.Advance(p.Last + 1); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}), small, shipper.Options{})
	if p := <-seen; p.Token != "t" || p.First != 1 || p.Last != 3 || p.Epoch != ship.Status().Epoch {
		t.Errorf("plan after restart: %+v", p)
	}
	ship.WaitDone()
	if s := ship.Status(); s.Plan != nil {
		t.Errorf("the plan is still there after it was advanced over: %+v", s.Plan)
	}
}

// shipFunc is a sink of one function.
type shipFunc func(context.Context, *shipper.Feed) error

func (f shipFunc) Ship(ctx context.Context, feed *shipper.Feed) error { return f(ctx, feed) }

func TestLostStateStartsAtTheOldestInAHigherEpoch(t *testing.T) {
	rig, sink := shippertest.NewRig(t), &shippertest.Recorder{}
	rig.Start(sink, small, shipper.Options{}).Stop() // a new node: its cursor begins before its first event
	rig.Append("p", "a", 3)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	before := sink.Delivered()[0].Epoch
	rig.State = shippertest.NewState()
	sink.Reset()
	rig.Start(sink, small, shipper.Options{}).WaitDone()
	wantSeqs(t, sink.Delivered(), ascending(1, 3))
	if after := sink.Delivered()[0].Epoch; after <= before+1000 {
		t.Errorf("epoch %d after the state was lost, %d before: it may have been used", after, before)
	}
}
