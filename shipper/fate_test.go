package shipper_test

import (
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestFate tells what became of events in each of the ways there are, through
// a rewind and back.
func TestFate(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2, 5)}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	if err := ship.Pause(t.Context(), ann, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := ship.Discard(ann, shipper.DeadFilter{Seqs: []uint64{5}}); err != nil || n != 1 {
		t.Fatalf("discard: %d, %v", n, err)
	}
	rig.Append("p", "a", 5)
	if _, err := ship.SkipTo(t.Context(), ann, 13); err != nil {
		t.Fatal(err)
	}
	want := func(states map[uint64]string) {
		t.Helper()
		for seq, state := range states {
			f, err := ship.Fate(seq)
			if err != nil || f.State != state || f.Cursor != "test" {
				t.Errorf("seq %d: %+v, %v; want it %s", seq, f, err, state)
			}
		}
	}
	before := map[uint64]string{
		1: shipper.Shipped, 2: shipper.Dead, 5: shipper.Discarded, 10: shipper.Shipped,
		11: shipper.Skipped, 12: shipper.Skipped, 13: shipper.Pending, 15: shipper.Pending,
	}
	want(before)
	if f, err := ship.Fate(2); err != nil || f.Letter == nil || f.Letter.Reason != "bad row" || f.Letter.Attempts != 1 {
		t.Errorf("the dead letter: %+v, %v", f, err)
	}
	if f, err := ship.Fate(15); err != nil || f.Ahead != 2 || f.Paused == nil || f.Before {
		t.Errorf("a pending event: %+v, %v; want two before it, and the pause", f, err)
	}
	if _, err := ship.Rewind(t.Context(), ann, 4); err != nil {
		t.Fatal(err)
	}
	want(map[uint64]string{1: shipper.Shipped, 2: shipper.Dead, 4: shipper.Pending, 5: shipper.Pending, 11: shipper.Pending})
	if f, err := ship.Fate(5); err != nil || !f.Before {
		t.Errorf("an event that comes again: %+v, %v", f, err)
	}
	if _, err := ship.Undo(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	want(before)
}

// TestBlockOf finds the block of a seq, or says why there is none.
func TestBlockOf(t *testing.T) {
	rig := shippertest.NewRig(t)
	rig.Append("p", "a", 3)
	first := rig.Append("p", "b", 4)
	b, gap, err := shipper.Block(rig.Log, first+2)
	if err != nil || gap != nil || b.FirstSeq != first || b.Events != 4 {
		t.Errorf("seq %d: %+v, %+v, %v", first+2, b, gap, err)
	}
	b, gap, err = shipper.Block(rig.Log, 100)
	if err != nil || b != nil || gap == nil {
		t.Errorf("a seq past the end: %+v, %+v, %v", b, gap, err)
	}
}
