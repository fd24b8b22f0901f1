package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

// propertyTime bounds how long random histories are tried.
const propertyTime = 12 * time.Second

// poison is what an event holds that the scripted receiver refuses.
var poison = []byte(`"poison"`)

// history is one random life of a cursor, and all that is known of it.
type history struct {
	*rapid.T
	rig  *shippertest.Rig
	sink *session.Sink
	ship *shippertest.Ship

	crashed atomic.Bool // nothing is saved any more
	queues  bool        // sessions that fail for a moment are set aside

	number   int
	sent     map[string][]uint64 // seqs of each session, as the log has them
	poisoned map[uint64]bool
	starts   map[uint64]uint64 // epoch → the seq at which it began

	mu     sync.Mutex
	rand   *rand.Rand
	taken  map[string][]receiver.Delivery // what took effect, in order
	rate   float64                        // of failing requests
	healed bool                           // poison is taken, too
}

// TestHistories runs random histories: sessions, poison, a receiver that
// fails at random before and after it took the events, stops, crashes that
// lose what was not saved, rewinds, undos and requeues. In the end each
// session must have got the log's sequence.
func TestHistories(t *testing.T) {
	end := time.Now().Add(propertyTime)
	rapid.Check(t, func(rt *rapid.T) {
		if os.Getenv("FOREBAY_TORTURE") == "" && time.Now().After(end) {
			return
		}
		// A test of its own for each history, so that its log is closed with it.
		var failed any
		ran := t.Run("history", func(t *testing.T) {
			defer func() {
				if failed = recover(); failed != nil {
					t.Logf("failed: %v", failed)
				}
			}()
			newHistory(t, rt).live()
		})
		if failed != nil {
			panic(failed) // rapid fails by panicking, and wants it here
		}
		if !ran {
			rt.Fatal("the history failed")
		}
	})
}

func newHistory(t *testing.T, rt *rapid.T) *history {
	h := &history{
		T: rt, rig: shippertest.NewRig(t),
		sent: map[string][]uint64{}, poisoned: map[uint64]bool{}, starts: map[uint64]uint64{},
		rand:  rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)),
		taken: map[string][]receiver.Delivery{},
	}
	h.rig.State.BeforeCommit = func([]shipper.Write) error {
		if h.crashed.Load() {
			return errors.New("the process is dead")
		}
		return nil
	}
	h.queues = rapid.IntRange(0, 2).Draw(rt, "sessions are set aside") == 0
	r, server := newReceiver(t, receiver.Options{Taken: h.take, Hook: h.fault})
	t.Cleanup(func() { h.report(t, r.Report()) })
	o := session.Options{
		URL: server.URL, Lanes: rapid.SampledFrom([]int{1, 3, 32}).Draw(rt, "lanes"),
		RequestEvents: rapid.SampledFrom([]int{2, 7, 100}).Draw(rt, "events per request"),
		Gzip:          rapid.Bool().Draw(rt, "gzip"),
	}
	if h.queues {
		o.ParkedMaxAge = 30 * time.Millisecond
	}
	h.sink = newSink(t, o)
	return h
}

// report fails the test if the receiver saw the contract broken.
func (h *history) report(t *testing.T, r receiver.Report) {
	if !r.InOrder() || r.Stale != 0 {
		t.Errorf("%+v", r)
	}
}

// take is the receiver's Taken.
func (h *history) take(d receiver.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken[d.Session] = append(h.taken[d.Session], d)
}

// fault is the receiver's Hook.
func (h *history) fault(d receiver.Delivery) receiver.Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range d.Events {
		if !h.healed && bytes.Contains(e, poison) {
			return receiver.Fault{Status: 422}
		}
	}
	if h.rand.Float64() >= h.rate {
		return receiver.Fault{}
	}
	faults := []receiver.Fault{
		{Status: 500}, {Status: 500, After: true}, {Reset: true}, {Reset: true, After: true},
		{Status: 429, RetryAfter: "0"}, {Delay: 5 * time.Millisecond},
	}
	return faults[h.rand.IntN(len(faults))]
}

func (h *history) set(rate float64, healed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rate, h.healed = rate, healed
}

func (h *history) start() {
	h.ship = h.rig.Start(h.sink, flush, shipper.Options{})
	if len(h.starts) == 0 {
		h.starts[h.ship.Status().Epoch] = 1
	}
}

// live is the history.
func (h *history) live() {
	h.append()
	h.start()
	for range rapid.IntRange(1, 12).Draw(h.T, "steps") {
		h.step()
	}
	h.ship.Stop()
	heal := rapid.Bool().Draw(h.T, "healed in the end")
	h.set(0, heal)
	h.start()
	h.ship.WaitDone()
	if heal {
		h.ship.Stop() // a cursor that starts looks after requeued letters first
		if _, err := h.ship.Requeue(shipper.Command{}, shipper.DeadFilter{}); err != nil {
			h.Fatal(err)
		}
		h.start()
		h.ship.WaitFor("the dead letters are delivered", func() bool { return h.ship.Status().Dead == 0 })
	}
	h.ship.Stop()
	dead := map[uint64]bool{}
	if err := h.ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error { dead[d.Seq] = true; return nil }); err != nil {
		h.Fatal(err)
	}
	for name := range h.sent {
		h.check(name, dead)
	}
}

// append stores a few requests of a few sessions.
func (h *history) append() {
	for range rapid.IntRange(1, 20).Draw(h.T, "requests") {
		name := fmt.Sprintf("s%d", rapid.IntRange(1, 6).Draw(h.T, "session"))
		b := record.Batch{Project: "shop"}
		n := rapid.IntRange(1, 4).Draw(h.T, "events")
		bad := rapid.IntRange(-40, n-1).Draw(h.T, "poison")
		for i := range n {
			h.number++
			raw := fmt.Appendf(nil, `{"n":%d}`, h.number)
			if i == bad {
				raw = fmt.Appendf(nil, `{"n":%d,"poison":true}`, h.number)
			}
			b.Events = append(b.Events, record.Event{Session: name, Raw: raw})
		}
		first, err := h.rig.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &b), Events: n})
		if err != nil {
			h.Fatal(err)
		}
		for i := range n {
			h.sent[name] = append(h.sent[name], first+uint64(i))
		}
		if bad >= 0 {
			h.poisoned[first+uint64(bad)] = true
		}
	}
}

// step does one thing to the cursor.
func (h *history) step() {
	switch rapid.SampledFrom([]string{"append", "append", "faults", "stop", "crash", "rewind", "undo", "requeue", "wait"}).Draw(h.T, "step") {
	case "append":
		h.append()
	case "faults":
		h.set(rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(h.T, "rate"), rapid.IntRange(0, 4).Draw(h.T, "healed") == 0)
	case "stop":
		h.ship.Stop()
		h.start()
	case "crash":
		h.crashed.Store(true)
		h.ship.Stop()
		h.crashed.Store(false)
		h.start()
	case "rewind":
		if next := h.ship.Next(); next > 1 {
			h.moved(h.ship.Rewind(context.Background(), shipper.Command{}, rapid.Uint64Range(1, next-1).Draw(h.T, "to")))
		}
	case "undo":
		h.moved(h.ship.Undo(context.Background(), shipper.Command{}))
	case "requeue":
		if _, err := h.ship.Requeue(shipper.Command{}, shipper.DeadFilter{}); err != nil {
			h.Fatal(err)
		}
	case "wait":
		h.set(0, false)
		seq := rapid.Uint64Range(1, h.rig.Log.DurableSeq()).Draw(h.T, "seq")
		h.ship.WaitFor("some are delivered", func() bool { return h.ship.Next() > seq })
	}
}

func (h *history) moved(m shipper.Moved, err error) {
	switch {
	case err == nil:
		h.starts[m.Epoch] = m.To
	case !errors.Is(err, shipper.ErrRefused):
		h.Fatal(err)
	}
}

// check compares what took effect of one session with the log.
func (h *history) check(name string, dead map[uint64]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := h.sent[name]
	epoch, at := uint64(0), 0 // at: of sent, the first not decided in the epoch
	var gaps, filled header.Ranges
	ever := map[uint64]bool{}
	for _, d := range h.taken[name] {
		for _, g := range d.Gaps {
			gaps = gaps.Add(g.First, g.Last)
		}
		if len(d.Fill) > 0 {
			for _, seq := range d.Seqs {
				if !h.poisoned[seq] && !h.queues {
					h.Fatalf("session %s: %d was filled, and never refused", name, seq)
				}
				ever[seq] = true
				filled = filled.Add(seq, seq)
			}
			continue
		}
		if d.Epoch != epoch {
			if d.Epoch < epoch {
				h.Fatalf("session %s: epoch %d after %d", name, d.Epoch, epoch)
			}
			epoch = d.Epoch
			at, _ = slices.BinarySearch(sent, h.starts[epoch])
		}
		for _, seq := range d.Seqs {
			for at < len(sent) && sent[at] != seq && (gaps.Contains(sent[at]) || filled.Contains(sent[at])) {
				at++
			}
			if at == len(sent) || sent[at] != seq {
				h.Fatalf("session %s, epoch %d from %d: got %d, want %d of %v (gaps %v)", name, epoch, h.starts[epoch], seq, sent[min(at, len(sent)-1)], sent, gaps)
			}
			at++
			if ever[seq] && !d.Replay {
				h.Fatalf("session %s: %d came again in epoch %d, and is not marked as a replay", name, seq, epoch)
			}
			ever[seq] = true
		}
	}
	for _, seq := range sent {
		switch {
		case dead[seq] && !h.poisoned[seq] && !h.queues:
			h.Fatalf("session %s: %d is dead, and was not poison", name, seq)
		case !dead[seq] && !ever[seq]:
			h.Fatalf("session %s: %d is lost", name, seq)
		}
	}
	for ; at < len(sent); at++ {
		if epoch > 0 && !dead[sent[at]] && !gaps.Contains(sent[at]) && sent[at] >= h.starts[epoch] && !ever[sent[at]] {
			h.Fatalf("session %s: %d did not come in epoch %d", name, sent[at], epoch)
		}
	}
}
