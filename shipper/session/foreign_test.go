package session_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// foreign is the identity of the log of another node.
var foreign = wal.ID{9}

// TestLettersOfAnotherLog: what was imported from another node goes out as of
// that node's log, whatever its seq, and concerns nothing of this log's: it
// announces none of its gaps, fills none and makes none.
func TestLettersOfAnotherLog(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	var mu sync.Mutex
	var others []receiver.Delivery
	r, server := newReceiver(t, receiver.Options{
		Hook: func(d receiver.Delivery) receiver.Fault {
			own := d.LogID == rig.Log.ID().String()
			if own && d.Seqs[len(d.Seqs)-1] == 4 || !own && slices.Contains(d.Seqs, 7) && !healed.Load() {
				return receiver.Fault{Status: 422}
			}
			return receiver.Fault{}
		},
		Taken: func(d receiver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if d.LogID == foreign.String() {
				others = append(others, d)
			}
		},
	})
	rig.Append("shop", "s", 4) // the fourth is refused, and a gap that nobody has been told of
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitDone()
	var letters []shipper.DeadLetter
	for _, seq := range []uint64{3, 7, 1_000_000} {
		e := shipper.Event{Seq: seq, LogID: foreign, Project: "shop", Session: "s", Raw: []byte(`{"n":1}`)}
		letters = append(letters, shipper.NewDeadLetter(e, "refused by another", 1))
	}
	if n, err := ship.Import(shipper.Command{}, letters); n != 3 || err != nil {
		t.Fatalf("import: %d, %v", n, err)
	}
	if n, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{Seqs: []uint64{3, 7, 1_000_000}}); n != 3 || err != nil {
		t.Fatalf("requeue: %d, %v", n, err)
	}
	ship.WaitFor("all but the refused are delivered", func() bool { return ship.Status().Requeued == 0 })
	if s := ship.Status(); s.Dead != 2 {
		t.Errorf("%+v, want the own letter and the refused one", s)
	}
	rig.Append("shop", "s", 1)
	ship.WaitDone()
	healed.Store(true)
	if n, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{Seqs: []uint64{7}}); n != 1 || err != nil {
		t.Fatalf("requeue once more: %d, %v", n, err)
	}
	ship.WaitFor("it is delivered", func() bool { return ship.Status().Dead == 1 })

	mu.Lock()
	defer mu.Unlock()
	var seqs []uint64
	for _, d := range others {
		seqs = append(seqs, d.Seqs...)
		if len(d.Gaps) > 0 || d.Replay {
			t.Errorf("%+v: says something of this node's log", d)
		}
	}
	if len(seqs) != 3 {
		t.Errorf("of the other log came %v", seqs)
	}
	for _, m := range r.Marks("shop", "s") {
		want := uint64(5)
		gaps := "4"
		if m.LogID == foreign.String() {
			want, gaps = 0, ""
		}
		if m.Seq != want || m.Gaps.String() != gaps {
			t.Errorf("mark of log %s: %d with gaps %s, want %d with %s", m.LogID, m.Seq, m.Gaps, want, gaps)
		}
	}
}
