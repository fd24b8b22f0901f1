package shipper_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// refusing buries the seqs listed while on is set.
func refusing(on *atomic.Bool, bad ...uint64) func(shipper.Event) (string, bool) {
	return func(e shipper.Event) (string, bool) { return "bad row", on.Load() && slices.Contains(bad, e.Seq) }
}

func letters(t *testing.T, c *shipper.Cursor, f shipper.DeadFilter) []shipper.DeadLetter {
	t.Helper()
	out := []shipper.DeadLetter{}
	if err := c.Dead(f, func(d shipper.DeadLetter) error { out = append(out, d); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDeadLettersAreKeptRequeuedOnceAndInOrder(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2, 5, 9)}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	wantSeqs(t, sink.Delivered(), []uint64{1, 3, 4, 6, 7, 8, 10})
	dead := letters(t, ship.Cursor, shipper.DeadFilter{})
	if len(dead) != 3 || dead[0].Seq != 2 || dead[0].Reason != "bad row" || dead[0].Project != "p" || dead[0].Session != "a" || !strings.Contains(string(dead[0].Raw), `"click"`) {
		t.Fatalf("dead letters: %+v", dead)
	}
	if s := ship.Status(); s.Dead != 3 {
		t.Errorf("status counts %d dead letters, want 3", s.Dead)
	}

	ship.Stop()
	bad.Store(false)
	sink.Reset()
	ship = rig.Start(sink, small, shipper.Options{})
	if n, err := ship.Requeue(ann, shipper.DeadFilter{Seqs: []uint64{9, 2}}); err != nil || n != 2 {
		t.Fatalf("requeue: %d, %v", n, err)
	}
	ship.WaitFor("the requeued are delivered", func() bool { return ship.Status().Requeued == 0 })
	wantSeqs(t, sink.Delivered(), []uint64{2, 9})
	for _, d := range sink.Delivered() {
		if !d.Fill {
			t.Errorf("seq %d was not marked as a fill", d.Seq)
		}
	}
	if left := letters(t, ship.Cursor, shipper.DeadFilter{}); len(left) != 1 || left[0].Seq != 5 {
		t.Errorf("left behind: %+v", left)
	}
	if n, err := ship.Discard(ann, shipper.DeadFilter{}); err != nil || n != 1 {
		t.Fatalf("discard: %d, %v", n, err)
	}
	if s := ship.Status(); s.Dead != 0 || s.Discarded != 1 {
		t.Errorf("after discard: %+v", s)
	}
}

func TestRequeuedLetterThatIsRefusedAgainCountsItsAttempts(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2)}
	rig.Append("p", "a", 3)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	if _, err := ship.Requeue(ann, shipper.DeadFilter{}); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("it is refused again", func() bool {
		d := letters(t, ship.Cursor, shipper.DeadFilter{})
		return len(d) == 1 && !d[0].Requeued && d[0].Attempts == 2
	})
	rig.Append("p", "a", 3)
	ship.WaitDone() // live events go on
}

func TestDeadLettersHaveABound(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 1, 2, 3, 4)}
	rig.Append("p", "a", 6)
	ship := rig.Start(sink, shipper.Flush{Rows: 1, Bytes: 1 << 20}, shipper.Options{MaxDead: 2})
	ship.WaitFor("it pauses", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Dead != 2 || s.NextSeq != 3 || !strings.Contains(s.Pause.Reason, "requeue or discard") {
		t.Errorf("at the bound: %+v", s)
	}
	if _, err := ship.Discard(ann, shipper.DeadFilter{}); err != nil {
		t.Fatal(err)
	}
	if err := ship.Resume(ctx, ann); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 2 || s.Discarded != 2 {
		t.Errorf("after room was made: %+v", s)
	}
}

func TestRefusingTooMuchPausesInsteadOfBurying(t *testing.T) {
	rig := shippertest.NewRig(t)
	sink := &shippertest.Recorder{Refuse: func(shipper.Event) (string, bool) { return "bad deploy", true }}
	rig.Append("p", "a", 300)
	ship := rig.Start(sink, shipper.Flush{Rows: 1, Bytes: 1 << 20}, shipper.Options{})
	ship.WaitFor("it pauses", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Dead != 100 || !strings.Contains(s.Pause.Reason, "bad deploy") {
		t.Errorf("after 300 refusals in a row: %+v", s)
	}
}

func TestDeadLettersCanBeImported(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2, 3)}
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	saved := letters(t, ship.Cursor, shipper.DeadFilter{})
	if _, err := ship.Discard(ann, shipper.DeadFilter{Seqs: []uint64{3}}); err != nil {
		t.Fatal(err)
	}
	if n, err := ship.Import(ann, saved); err != nil || n != 1 {
		t.Fatalf("import: %d added, %v; want the one that was missing", n, err)
	}
	if got := letters(t, ship.Cursor, shipper.DeadFilter{}); len(got) != 2 || string(got[1].Raw) != string(saved[1].Raw) {
		t.Errorf("after the import: %+v", got)
	}
}

// TestLetterRequeuedDuringARoundIsDelivered requeues a letter below one that
// is under way: confirming the later one must not count for the earlier.
func TestLetterRequeuedDuringARoundIsDelivered(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	record := &shippertest.Recorder{Refuse: refusing(&bad, 2, 5)}
	var ship *shippertest.Ship
	var once sync.Once
	ready := make(chan struct{})
	sink := shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		if feed.Fill() {
			<-ready
			once.Do(func() {
				if b, err := feed.Next(ctx); err != nil || b.Last != 5 {
					t.Errorf("%+v, %v", b, err)
				}
				if n, err := ship.Requeue(ann, shipper.DeadFilter{Seqs: []uint64{2}}); err != nil || n != 1 {
					t.Errorf("requeue: %d, %v", n, err)
				}
				if err := feed.Advance(6); err != nil {
					t.Error(err)
				}
			})
		}
		return record.Ship(ctx, feed)
	})
	rig.Append("p", "a", 10)
	ship = rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	bad.Store(false)
	record.Reset()
	if n, err := ship.Requeue(ann, shipper.DeadFilter{Seqs: []uint64{5}}); err != nil || n != 1 {
		t.Fatalf("requeue: %d, %v", n, err)
	}
	close(ready)
	ship.WaitFor("no letter is left", func() bool { return ship.Status().Dead == 0 })
	wantSeqs(t, record.Delivered(), []uint64{2})
}
