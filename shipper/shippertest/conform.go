package shippertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/shipper"
)

// Subject is a sink over a real destination of its own, which is empty.
type Subject struct {
	// Sink makes the sink, as a node does that starts. It is called again for
	// each restart.
	Sink func() shipper.Sink
	// Arrived returns the seqs that the destination has, in the order in which
	// it has them; each as often as it counts there. It must work at any time.
	Arrived func() []uint64
	// Empty takes away all that the destination has, as an accident would.
	Empty func()
	// Break has the destination fail, Hang (nil: it cannot) has it take what is
	// sent and not answer; Heal ends both.
	Break, Hang, Heal func()
	// Poison is the JSON of an event that the destination refuses for good; it
	// must hold the session "s1". Cure has the destination take it from then
	// on; nil: nothing can.
	Poison string
	Cure   func()
	// Limits, by name: each has the destination turn away, from then on and in a
	// way of its own, whatever holds more than two events. Heal does not end it.
	Limits map[string]func()
	// Check, if set, returns what the destination itself has found wrong.
	Check func() error
	// Memory is how much the sink may hold while the destination fails, in
	// bytes; 0: 4 MiB.
	Memory int64
	// FillsRepeat says that a requeued event may come twice if the node dies.
	FillsRepeat bool
	// Stride has sweeps over commits try only each Strideth, for destinations
	// that are slow to make; with FOREBAY_TORTURE set each is tried. 0: each.
	Stride int
}

// conformFlush makes small batches, so that a few events are several.
var conformFlush = shipper.Flush{Rows: 3, Bytes: 1 << 20}

// operator is who commands the cursors of the suite.
var operator = shipper.Command{By: "suite", Why: "conformance"}

// pauseLimit is how long requests in flight may take to end.
const pauseLimit = 15 * time.Second

// Conform runs the suite that every sink passes: what a cursor promises
// whatever its destination, its node and its operator do. subject is called
// for each part.
func Conform(t *testing.T, subject func(t *testing.T) Subject) {
	for name, part := range map[string]func(*trial){
		"everything arrives once":            everythingArrives,
		"outage holds the position":          outage,
		"backlog stays in the log":           backlog,
		"pause ends requests in flight":      pauseEnds,
		"step delivers one batch":            stepDelivers,
		"rewind delivers again":              rewindDelivers,
		"poison goes to the dead letters":    poison,
		"requeued letters land once":         requeued,
		"too much at once goes in parts":     tooMuch,
		"lost events are passed over":        lostEvents,
		"a commit that fails loses nothing":  failingCommit,
		"death at any commit loses nothing":  death,
		"death while letters are delivered":  deathInFill,
		"death after a rewind loses nothing": deathAfterRewind,
	} {
		t.Run(name, func(t *testing.T) { part(&trial{T: t, subject: subject}) })
	}
}

// trial is one part of the suite.
type trial struct {
	*testing.T
	subject func(*testing.T) Subject
	stride  int
}

// life is one destination and the node in front of it.
type life struct {
	*trial
	Subject
	rig     *Rig
	monitor *monitor
	ship    *Ship
}

// begin makes a subject with a log in front of it.
func (t *trial) begin() *life {
	t.Helper()
	l := &life{trial: t, Subject: t.subject(t.T), rig: NewRig(t.T)}
	if os.Getenv("FOREBAY_TORTURE") == "" {
		t.stride = l.Stride
	}
	l.monitor = newMonitor(l.Arrived)
	l.rig.State.BeforeCommit = l.monitor.commit
	t.Cleanup(func() {
		for _, wrong := range l.monitor.found() {
			t.Error(wrong)
		}
	})
	return l
}

// start runs the cursor with a sink that is made anew.
func (l *life) start() {
	l.Helper()
	l.ship = l.rig.Start(l.Sink(), conformFlush, shipper.Options{})
}

// prepare makes the cursor, so that a death cannot come before it is there.
func (l *life) prepare() {
	l.Helper()
	l.start()
	l.ship.Stop()
}

// append stores one event each of n sessions, a few to a request.
func (l *life) append(n int) {
	l.Helper()
	for i := 0; i < n; i += 2 {
		l.rig.Append("shop", fmt.Sprintf("s%d", i%5), min(2, n-i))
	}
}

// settled waits until everything accepted is accounted for.
func (l *life) settled() {
	l.Helper()
	l.ship.WaitFor("everything is delivered", func() bool {
		s := l.ship.Status()
		return s.NextSeq > l.rig.Log.DurableSeq() && s.Requeued == 0
	})
}

// want checks that these seqs have arrived, each once.
func (l *life) want(seqs []uint64) {
	l.Helper()
	got := l.Arrived()
	slices.Sort(got)
	if !slices.Equal(got, seqs) {
		l.Fatalf("arrived %v, want each once of %v", got, seqs)
	}
	l.sound()
}

// wantAtLeast checks that these seqs have arrived.
func (l *life) wantAtLeast(seqs []uint64) {
	l.Helper()
	got := l.Arrived()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, seqs) {
		l.Fatalf("arrived %v, want %v", got, seqs)
	}
	l.sound()
}

// sound asks the destination.
func (l *life) sound() {
	l.Helper()
	if l.Check == nil {
		return
	}
	if err := l.Check(); err != nil {
		l.Errorf("the destination says: %v", err)
	}
}

// span is first to last, without some.
func span(first, last uint64, without ...uint64) []uint64 {
	seqs := []uint64{}
	for seq := first; seq <= last; seq++ {
		if !slices.Contains(without, seq) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

func everythingArrives(t *trial) {
	l := t.begin()
	l.append(40)
	l.start()
	l.settled()
	l.want(span(1, 40))
	l.append(1) // alone
	l.settled()
	l.ship.Stop()
	l.append(20)
	l.start()
	l.settled()
	l.ship.Stop()
	l.want(span(1, 61))
	l.start() // nothing comes again
	l.settled()
	l.want(span(1, 61))
	if s := l.ship.Status(); s.State != shipper.Running || s.Dead != 0 || s.LagEvents != 0 {
		t.Errorf("status in the end: %+v", s)
	}
}

func outage(t *trial) {
	l := t.begin()
	l.append(4)
	l.start()
	l.settled()
	l.Break()
	l.append(20)
	l.ship.WaitFor("the failure shows", func() bool { return l.ship.Status().State == shipper.Failing })
	if s := l.ship.Status(); s.NextSeq != 5 || s.LastError == "" || s.ErrorSince.IsZero() || s.LagEvents != 20 {
		t.Errorf("status during an outage: %+v", s)
	}
	l.ship.Stop()
	l.start() // also a node that starts during an outage
	l.ship.WaitFor("the failure shows", func() bool { return l.ship.Status().State == shipper.Failing })
	l.Heal()
	l.settled()
	l.want(span(1, 24))
	l.ship.WaitFor("it is over", func() bool { return l.ship.Status().State == shipper.Running })
}

// backlog has the destination fail while much is accepted.
func backlog(t *trial) {
	const requests, events, size = 100, 100, 1000
	l := t.begin()
	text := strings.Repeat("x", size)
	for range requests {
		l.rig.appendRaws("shop", "s1", slices.Repeat([]string{plainEvent("s1", text)}, events)...)
	}
	l.Break()
	before := heap()
	l.start()
	l.ship.WaitFor("the failure shows", func() bool { return l.ship.Status().State == shipper.Failing })
	limit := l.Memory
	if limit == 0 {
		limit = 4 << 20
	}
	highest := int64(0)
	for range 20 { // it goes on failing meanwhile
		tries := l.ship.Status().ErrorCount
		highest = max(highest, heap()-before)
		if l.ship.Next() != 1 {
			t.Fatalf("the position has moved to %d", l.ship.Next())
		}
		if tries > 3 {
			break
		}
		l.ship.WaitFor("another try fails", func() bool { return l.ship.Status().ErrorCount > tries })
	}
	t.Logf("%d KiB held of a backlog of %d KiB", highest>>10, requests*events*size>>10)
	if highest > limit {
		t.Errorf("%d bytes are held while the destination fails, over %d", highest, limit)
	}
	l.Heal()
	l.ship.WaitFor("it goes on", func() bool { return l.ship.Next() > 1 })
}

// heap is the memory in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func pauseEnds(t *trial) {
	l := t.begin()
	l.start()
	for _, trouble := range []func(){nil, l.Break, l.Hang} {
		l.append(6)
		if trouble != nil {
			l.settled()
			trouble()
			l.append(6)
			l.ship.WaitFor("requests are in flight", func() bool { return l.ship.Status().LagSeconds > 0.3 })
		}
		l.pause()
		if l.ship.Running() {
			t.Error("the sink runs after the pause")
		}
		at := l.ship.Next()
		l.Heal()
		l.append(6)
		if s := l.ship.Status(); s.State != shipper.Paused || s.NextSeq != at {
			t.Errorf("paused at %d, now %+v", at, s)
		}
		l.resume()
		l.settled()
	}
	l.want(span(1, l.rig.Log.DurableSeq()))
}

func (l *life) pause() {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pauseLimit)
	defer cancel()
	if err := l.ship.Pause(ctx, operator, 0); err != nil {
		l.Fatalf("pause: %v", err)
	}
}

func (l *life) resume() {
	l.Helper()
	if err := l.ship.Resume(context.Background(), operator); err != nil {
		l.Fatalf("resume: %v", err)
	}
}

func stepDelivers(t *trial) {
	l := t.begin()
	l.start()
	l.pause()
	l.append(8)
	for _, to := range []uint64{4, 7, 9} {
		m, err := l.ship.Step(context.Background(), operator)
		if err != nil || m.To != to {
			t.Fatalf("step: %+v, %v; want it to end at %d", m, err, to)
		}
		l.want(span(1, to-1))
	}
	if _, err := l.ship.Step(context.Background(), operator); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a step with nothing left: %v, want a refusal", err)
	}
}

// rewindDelivers: the destination loses what it has, and the cursor is rewound.
func rewindDelivers(t *trial) {
	l := t.begin()
	l.append(20)
	l.start()
	l.settled()
	for _, to := range []uint64{8, 1, 15} {
		before := l.ship.Status().Epoch
		l.pause()
		l.Empty()
		m, err := l.ship.Rewind(context.Background(), operator, to)
		if err != nil || m.To != to || m.Epoch <= before {
			t.Fatalf("rewind: %+v, %v", m, err)
		}
		l.resume()
		l.settled()
		l.want(span(to, 20))
	}
}
