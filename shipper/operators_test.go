package shipper_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal/seedtest"
)

// TestOperatorsAtOnce has several operators command a cursor that delivers,
// while the state fails now and then: each gets an outcome, a conflict or a
// refusal, deliveries follow the epochs, and in the end nothing is lost.
func TestOperatorsAtOnce(t *testing.T) {
	rig, draw := shippertest.NewRig(t), seedtest.New(t)
	var failing, bad atomic.Bool
	errDisk := errors.New("disk full")
	rig.State.BeforeCommit = func([]shipper.Write) error {
		if failing.Load() && draw.IntN(4) == 0 {
			return errDisk
		}
		return nil
	}
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: func(e shipper.Event) (string, bool) { return "bad row", bad.Load() && e.Seq%7 == 0 }}
	ship := rig.Start(sink, small, shipper.Options{})
	failing.Store(true)

	end := time.Now().Add(2 * time.Second)
	var outcomes [4]atomic.Int64 // done, busy, refused, failed
	var operators sync.WaitGroup
	operators.Go(func() {
		for time.Now().Before(end) {
			rig.Append("shop", "s", 1+draw.IntN(4))
		}
	})
	for range 3 {
		operators.Go(func() {
			for time.Now().Before(end) {
				err := random(ship, draw)
				switch {
				case err == nil:
					outcomes[0].Add(1)
				case errors.Is(err, shipper.ErrBusy):
					outcomes[1].Add(1)
				case errors.Is(err, shipper.ErrRefused):
					outcomes[2].Add(1)
				case errors.Is(err, errDisk):
					outcomes[3].Add(1)
				default:
					t.Errorf("a command returned %v", err)
				}
			}
		})
	}
	operators.Wait()
	t.Logf("%d events, commands: %d done, %d busy, %d refused, %d failed", rig.Log.DurableSeq(),
		outcomes[0].Load(), outcomes[1].Load(), outcomes[2].Load(), outcomes[3].Load())

	failing.Store(false)
	bad.Store(false)
	pause(t, ship) // ends a wait behind failures, which may last half a minute
	resume(t, ship)
	// What was refused just before is buried by now, so one command reaches all letters.
	ship.WaitDone()
	ship.WaitFor("no letter is on its way", func() bool { return ship.Status().Requeued == 0 })
	if _, err := ship.Requeue(ann, shipper.DeadFilter{}); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("the letters are delivered", func() bool { return ship.Status().Dead == 0 })
	ever, epoch := map[uint64]bool{}, uint64(0)
	for _, d := range sink.Delivered() {
		if d.Epoch < epoch {
			t.Fatalf("event %d was delivered in epoch %d, after %d", d.Seq, d.Epoch, epoch)
		}
		epoch, ever[d.Seq] = d.Epoch, true
	}
	for _, r := range ship.Status().Skipped {
		for seq := r.First; seq <= r.Last; seq++ {
			ever[seq] = true
		}
	}
	for seq := uint64(1); seq <= rig.Log.DurableSeq(); seq++ {
		if !ever[seq] {
			t.Fatalf("event %d is lost", seq)
		}
	}
}

// random gives one command.
func random(ship *shippertest.Ship, draw *seedtest.Rand) (err error) {
	near := ship.Next()
	near -= min(near-1, uint64(draw.IntN(30)))
	switch draw.IntN(9) {
	case 0:
		err = ship.Pause(ctx, ann, time.Duration(draw.IntN(2))*time.Millisecond)
	case 1, 2:
		err = ship.Resume(ctx, ann)
	case 3:
		_, err = ship.Step(ctx, ann)
	case 4:
		_, err = ship.Rewind(ctx, ann, near)
	case 5:
		_, err = ship.SkipTo(ctx, ann, near+40)
	case 6:
		_, err = ship.Undo(ctx, ann)
	case 7:
		_, err = ship.Requeue(ann, shipper.DeadFilter{})
	case 8:
		_, err = ship.Preview(ctx, near)
		ship.Status()
	}
	return err
}
