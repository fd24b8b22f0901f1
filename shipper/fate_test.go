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

// TestFateAgreesWithTheAccount for seqs that are several things at once.
func TestFateAgreesWithTheAccount(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2, 6)}
	rig.Append("p", "a", 2)
	appendGarbage(t, rig, 2)
	rig.Append("p", "a", 4)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	pause(t, ship)
	if n, err := ship.Discard(ann, shipper.DeadFilter{Seqs: []uint64{6}}); err != nil || n != 1 {
		t.Fatalf("discard: %d, %v", n, err)
	}
	if _, err := ship.Rewind(t.Context(), ann, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ship.SkipTo(t.Context(), ann, 8); err != nil {
		t.Fatal(err)
	}
	states := map[string]uint64{}
	for seq := uint64(1); seq <= 8; seq++ {
		f, err := ship.Fate(seq)
		if err != nil {
			t.Fatal(err)
		}
		states[f.State]++
	}
	a := ship.Status().Account
	for state, want := range map[string]uint64{
		shipper.Shipped: a.Shipped, shipper.Pending: a.Pending, shipper.Dead: a.Dead, shipper.Discarded: a.Discarded,
		shipper.Lost: a.Lost, shipper.Expired: a.Expired, shipper.Skipped: a.Skipped,
	} {
		if states[state] != want {
			t.Errorf("%d events are %s, the account has %d", states[state], state, want)
		}
	}
	if states[shipper.Discarded] != 1 || states[shipper.Dead] != 1 {
		t.Errorf("%v, want one discarded and one dead", states)
	}
}

// TestPreviewsTellWhatTheDestinationHasHad: neither dead nor discarded events,
// which never came there, whether the cursor is moved or a replay begun.
func TestPreviewsTellWhatTheDestinationHasHad(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	var bad atomic.Bool
	bad.Store(true)
	b.live.Refuse = refusing(&bad, 2, 4)
	b.add("p s a", "p s a", "p s a", "p s a", "p s a", "p s a")
	b.start()
	live := b.cursors.Get("test")
	b.until("the live cursor is done", func() bool { return live.Next() == 7 })
	if n, err := live.Discard(ann, shipper.DeadFilter{Seqs: []uint64{4}}); err != nil || n != 1 {
		t.Fatalf("discard: %d, %v", n, err)
	}
	rewind, err := live.Preview(t.Context(), 1)
	if err != nil || rewind.Events != 6 || rewind.Duplicates != 4 {
		t.Errorf("rewind: %+v, %v; want 4 duplicates of 6", rewind, err)
	}
	replay, err := b.replays.Preview(t.Context(), shipper.ReplaySpec{Destination: shipper.Destination{Into: "same"}, First: 1})
	if err != nil || replay.Events != 6 || replay.Duplicates != 4 {
		t.Errorf("replay: %+v, %v; want 4 duplicates of 6", replay, err)
	}
}
