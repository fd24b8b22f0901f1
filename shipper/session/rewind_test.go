package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/wal/seedtest"
)

// effects is what took effect at a receiver: for each epoch and session the
// seqs in order, and which of them were marked as a replay.
type effects struct {
	mu       sync.Mutex
	taken    map[uint64]map[string][]uint64
	replayed map[uint64]map[uint64]bool
}

func (e *effects) take(d receiver.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.taken[d.Epoch] == nil {
		e.taken[d.Epoch], e.replayed[d.Epoch] = map[string][]uint64{}, map[uint64]bool{}
	}
	e.taken[d.Epoch][d.Session] = append(e.taken[d.Epoch][d.Session], d.Seqs...)
	for _, seq := range d.Seqs {
		e.replayed[d.Epoch][seq] = d.Replay
	}
}

// want checks that an epoch has, of each session, exactly the seqs from first
// on, in order, and that those up to replay are marked and no others.
func (e *effects) want(t *testing.T, epoch uint64, sent map[string][]uint64, first, replay uint64) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, seqs := range sent {
		from, _ := slices.BinarySearch(seqs, first)
		if got := e.taken[epoch][name]; !slices.Equal(got, seqs[from:]) {
			t.Errorf("epoch %d, session %s: %v took effect, want %v", epoch, name, got, seqs[from:])
		}
	}
	for seq, replayed := range e.replayed[epoch] {
		if replayed != (seq <= replay) {
			t.Errorf("epoch %d: event %d is marked as a replay: %v; repeats end at %d", epoch, seq, replayed, replay)
		}
	}
}

// unsteady fails half of the requests at random, at most three of a session in a row and five of all. So the longest
// pause of a session is 0.8 s and the endpoint never counts as down, whatever is drawn.
type unsteady struct {
	random *seedtest.Rand
	mu     sync.Mutex
	inARow map[string]int // by session; all of them together under ""
}

func (u *unsteady) fault(d receiver.Delivery) receiver.Fault {
	faults := []receiver.Fault{{Status: 500}, {Status: 500, After: true}, {Reset: true}, {Reset: true, After: true}}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inARow[d.Session] == 3 || u.inARow[""] == 5 || u.random.IntN(2) == 0 {
		u.inARow[d.Session], u.inARow[""] = 0, 0
		return receiver.Fault{}
	}
	u.inARow[d.Session]++
	u.inARow[""]++
	return faults[u.random.IntN(len(faults))]
}

// TestRewindIsMarkedAndTakesEffectOnce rewinds over a receiver that fails half
// of the time, before or after it took the events: in each epoch each event
// takes effect once and in order, and exactly the repeats are marked.
func TestRewindIsMarkedAndTakesEffectOnce(t *testing.T) {
	t.Parallel()
	e := &effects{taken: map[uint64]map[string][]uint64{}, replayed: map[uint64]map[uint64]bool{}}
	f := &unsteady{random: seedtest.New(t), inARow: map[string]int{}}
	r, server := newReceiver(t, receiver.Options{Taken: e.take, Hook: f.fault})
	rig := shippertest.NewRig(t)
	sent := map[string][]uint64{}
	number := 0
	appendSome := func(requests int) {
		for range requests {
			number++
			name := fmt.Sprintf("s%d", number%8)
			n := uint64(1 + number%3)
			first := rig.Append("shop", name, int(n))
			for i := range n {
				sent[name] = append(sent[name], first+i)
			}
		}
	}
	appendSome(60)
	ship := rig.Start(newSink(t, session.Options{URL: server.URL, RequestEvents: 4}), flush, shipper.Options{})
	ship.WaitDone()
	epoch := ship.Status().Epoch
	e.want(t, epoch, sent, 1, 0)

	for _, to := range []uint64{1, 30} {
		if err := ship.Pause(context.Background(), shipper.Command{}, 0); err != nil {
			t.Fatal(err)
		}
		m, err := ship.Rewind(context.Background(), shipper.Command{}, to)
		if err != nil || m.Epoch <= epoch {
			t.Fatalf("rewind to %d: %+v, %v", to, m, err)
		}
		epoch = m.Epoch
		delivered := rig.Log.DurableSeq()
		appendSome(20) // accepted since: no repeats
		if err := ship.Resume(context.Background(), shipper.Command{}); err != nil {
			t.Fatal(err)
		}
		ship.WaitDone()
		e.want(t, epoch, sent, to, delivered)
	}
	if report := r.Report(); !report.InOrder() || report.Stale > 0 || report.Repeats == 0 {
		t.Errorf("%+v", report)
	}
}
