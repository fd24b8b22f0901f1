package shipper_test

import (
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// TestImportKeepsLettersOfTwoLogsApart: letters are told apart by their seq
// alone, so that one whose place another log's letter has is refused by name.
func TestImportKeepsLettersOfTwoLogsApart(t *testing.T) {
	rig := shippertest.NewRig(t)
	ship := rig.Start(&shippertest.Recorder{}, small, shipper.Options{})
	pause(t, ship)
	if n, err := ship.Import(ann, made(3, 10)); n != 3 || err != nil {
		t.Fatalf("import: %d, %v", n, err)
	}
	others := made(4, 10)
	for i := range others {
		others[i].LogID = wal.ID{8}
		others[i].Seq += 2 // 3 is taken
	}
	if n, err := ship.Import(ann, others); n != 0 || !errors.Is(err, shipper.ErrRefused) || !strings.Contains(err.Error(), "seq 3") {
		t.Errorf("a letter whose place is taken: %d, %v; want a refusal that names it", n, err)
	}
	twice := append(made(5, 10)[4:], made(5, 10)[4:]...)
	twice[1].LogID = wal.ID{8}
	if n, err := ship.Import(ann, twice); n != 0 || !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("two letters of one seq: %d, %v; want a refusal", n, err)
	}
	if n, err := ship.Import(ann, made(4, 10)); n != 1 || err != nil {
		t.Errorf("the same letters and one more: %d, %v", n, err)
	}
	last := made(1, 10)
	last[0].Seq = math.MaxUint64
	if n, err := ship.Import(ann, last); n != 0 || !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a seq that none can follow: %d, %v; want a refusal", n, err)
	}
	if s := ship.Status(); s.Dead != 4 {
		t.Errorf("%+v, want 4 letters", s)
	}
}

// TestRefusedEventDoesNotPushOutAnImportedLetter of the same seq: the cursor
// pauses and says so, and goes on once the letter is gone.
func TestRefusedEventDoesNotPushOutAnImportedLetter(t *testing.T) {
	rig := shippertest.NewRig(t)
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: func(e shipper.Event) (string, bool) { return "bad row", !e.Foreign && e.Seq == 2 && bad.Load() }}
	ship := rig.Start(sink, small, shipper.Options{})
	if n, err := ship.Import(ann, made(2, 10)[1:]); n != 1 || err != nil {
		t.Fatalf("import: %d, %v", n, err)
	}
	rig.Append("p", "a", 3)
	ship.WaitFor("it pauses, or has passed", func() bool { s := ship.Status(); return s.State == shipper.Paused || s.NextSeq > 3 })
	if s := ship.Status(); s.Pause == nil || !strings.Contains(s.Pause.Reason, "seq 2") || s.Dead != 1 {
		t.Errorf("%+v", s)
	}
	if n, err := ship.Requeue(ann, shipper.DeadFilter{}); n != 1 || err != nil {
		t.Fatalf("requeue: %d, %v", n, err)
	}
	resume(t, ship)
	ship.WaitDone()
	foreign := 0
	for _, d := range sink.Delivered() {
		if d.Fill {
			foreign++
		}
	}
	if s := ship.Status(); s.Dead != 1 || s.Requeued != 0 || foreign != 1 || s.Account.Imbalance != 0 {
		t.Errorf("in the end: %+v, %d of the fill", s, foreign)
	}
}
