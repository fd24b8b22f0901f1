package shippertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/wal"
	"forebay/wal/record"
)

// waitLimit bounds every wait of these helpers.
const waitLimit = 30 * time.Second

// Rig is a real log in a temporary folder with a state beside it: what a sink
// needs to be run as a node runs it.
type Rig struct {
	TB    testing.TB
	Log   *wal.Log
	State *State

	mu   sync.Mutex
	sent int
}

// NewRig opens an empty log, which the end of the test closes.
func NewRig(tb testing.TB) *Rig {
	tb.Helper()
	log, err := wal.Open(wal.Options{Dir: tb.TempDir(), SegmentBytes: 64 << 10, ReserveBytes: -1})
	if err != nil {
		tb.Fatalf("open a log: %v", err)
	}
	tb.Cleanup(func() {
		if err := log.Close(); err != nil {
			tb.Errorf("close the log: %v", err)
		}
	})
	return &Rig{TB: tb, Log: log, State: NewState()}
}

// Append stores n events of one session as one request, and returns the seq
// of the first.
func (r *Rig) Append(project, session string, n int) uint64 {
	r.TB.Helper()
	raws := make([]string, n)
	for i := range raws {
		r.mu.Lock()
		r.sent++
		number := r.sent
		r.mu.Unlock()
		raws[i] = fmt.Sprintf(
			`{"eventType":"click","timestamp":"2026-11-23T10:00:00.%03dZ","sessionId":%q,"route":"/cart","target":{"type":"element","id":"buy"},"metadata":{"n":%d},"idempotencyKey":"%s-%d"}`,
			number%1000, session, number, session, number)
	}
	return r.appendRaws(project, session, raws...)
}

// AppendText is Append of events that hold a text, so that they have its size.
func (r *Rig) AppendText(project, session string, n int, text string) uint64 {
	r.TB.Helper()
	return r.appendRaws(project, session, slices.Repeat([]string{plainEvent(session, text)}, n)...)
}

// appendRaws stores events as they are, as one request.
func (r *Rig) appendRaws(project, session string, raws ...string) uint64 {
	r.TB.Helper()
	b := record.Batch{Project: project, SDKVersion: "1.0.0", AppID: "shop"}
	for _, raw := range raws {
		b.Events = append(b.Events, record.Event{Session: session, Raw: []byte(raw)})
	}
	first, err := r.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &b), Events: len(raws)})
	if err != nil {
		r.TB.Fatalf("append: %v", err)
	}
	return first
}

// Ship is a cursor that runs.
type Ship struct {
	*shipper.Cursor
	Cursors *shipper.Cursors

	rig  *Rig
	stop func()
}

// Start makes the cursor "test" on the rig's state and runs it until Stop or
// the end of the test. The options may be zero.
func (r *Rig) Start(sink shipper.Sink, flush shipper.Flush, o shipper.Options) *Ship {
	r.TB.Helper()
	o.Log, o.State = r.Log, r.State
	cursors, err := shipper.NewCursors(o)
	if err != nil {
		r.TB.Fatalf("cursors: %v", err)
	}
	cursor, err := cursors.Add("test", sink, flush)
	if err != nil {
		r.TB.Fatalf("cursor: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cursors.Run(ctx)
	}()
	s := &Ship{Cursor: cursor, Cursors: cursors, rig: r}
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
	r.TB.Cleanup(s.stop)
	s.WaitFor("the cursor runs", func() bool { return !s.Status().Stopped })
	return s
}

// Stop ends the cursor as a node's stop does, and waits for it.
func (s *Ship) Stop() { s.stop() }

// WaitDone waits until everything in the log is accounted for.
func (s *Ship) WaitDone() {
	s.rig.TB.Helper()
	s.WaitFor("everything is delivered", func() bool { return s.Next() > s.rig.Log.DurableSeq() })
}

// WaitFor polls until cond holds, and fails the test if that takes too long.
func (s *Ship) WaitFor(what string, cond func() bool) {
	s.rig.TB.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitLimit); !cond(); <-tick.C {
		if time.Now().After(end) {
			s.rig.TB.Fatalf("waited %s in vain until %s; the cursor stands at %+v", waitLimit, what, s.Status())
		}
	}
}
