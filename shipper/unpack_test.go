package shipper_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

// TestUnreadableRecordLosesOnlyItself stores requests beside entries that are no record, or one of fewer events than
// they count, until one of those stands before others in a block: each is lost by itself, and all others arrive.
func TestUnreadableRecordLosesOnlyItself(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	short := record.Append(nil, &record.Batch{Project: "shop", Events: []record.Event{{Session: "s", Raw: []byte(`{}`)}}})
	var mu sync.Mutex
	bad := map[uint64]bool{}
	round := func() {
		var appenders sync.WaitGroup
		for _, data := range [][]byte{{record.Version, 0xff}, short} {
			appenders.Go(func() {
				first, err := rig.Log.Append(context.Background(), wal.Entry{Data: data, Events: 3})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				bad[first], bad[first+1], bad[first+2] = true, true, true
			})
		}
		for range 6 {
			appenders.Go(func() { rig.Append("shop", "s", 2) })
		}
		appenders.Wait()
	}
	for rounds := 0; !badBeforeOthers(t, rig.Log, bad); rounds++ {
		if rounds == 100 || t.Failed() {
			t.Fatalf("no block of %d rounds holds what is to be tested", rounds)
		}
		round()
	}

	sink := &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	arrived := map[uint64]bool{}
	for _, d := range sink.Delivered() {
		arrived[d.Seq] = true
	}
	lost := map[uint64]bool{}
	for _, r := range ship.Status().Lost {
		for seq := r.First; seq <= r.Last; seq++ {
			lost[seq] = true
		}
	}
	for seq := uint64(1); seq <= rig.Log.DurableSeq(); seq++ {
		if arrived[seq] == bad[seq] || lost[seq] != bad[seq] {
			t.Fatalf("seq %d: unreadable %v, arrived %v, lost %v", seq, bad[seq], arrived[seq], lost[seq])
		}
	}
}

// badBeforeOthers says whether a block has an entry behind an unreadable one.
func badBeforeOthers(t *testing.T, log *wal.Log, bad map[uint64]bool) bool {
	t.Helper()
	if log.DurableSeq() == 0 {
		return false
	}
	r := log.NewReader(1)
	defer r.Close()
	for at := uint64(1); at <= log.DurableSeq(); {
		block, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		before := false
		for first := range block.Entries() {
			if before {
				return true
			}
			before = bad[first]
		}
		at = block.FirstSeq + uint64(block.Events)
	}
	return false
}

// TestNewerRecordPausesTheCursor stores a record of a version that this release does not know: the cursor delivers what
// comes before it, names the version and the remedy, and passes nothing.
func TestNewerRecordPausesTheCursor(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	rig.Append("shop", "s", 2)
	newer := record.Append(nil, &record.Batch{Project: "shop", Events: []record.Event{{Session: "s", Raw: []byte(`{}`)}}})
	newer[0] = record.Version + 1
	first, err := rig.Log.Append(context.Background(), wal.Entry{Data: newer, Events: 1})
	if err != nil {
		t.Fatal(err)
	}
	rig.Append("shop", "s", 1)

	sink := &shippertest.Recorder{}
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitFor("the cursor pauses", func() bool { return ship.Status().Pause != nil })
	s := ship.Status()
	if !strings.Contains(s.Pause.Reason, "newer release from seq 3") || s.NextSeq != first || len(s.Lost) > 0 || len(sink.Delivered()) != 2 {
		t.Errorf("paused with %+v at %d, lost %v, delivered %v", s.Pause, s.NextSeq, s.Lost, sink.Delivered())
	}

	scan := shipper.NewScan(rig.Log, 1, rig.Log.DurableSeq())
	defer scan.Close()
	for err == nil {
		_, more, next := scan.Next(context.Background())
		if err = next; err == nil && !more {
			t.Fatalf("a scan ends without an error, and names %v as lost", scan.Lost())
		}
	}
	if pause := (*shipper.PauseError)(nil); !errors.As(err, &pause) {
		t.Errorf("a scan ends with %v", err)
	}
}
