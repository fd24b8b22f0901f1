package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownTable is an operator's table for a server without DateTime64 and the
// rest: what create_table: false is for.
const ownTable = `CREATE TABLE events (
	project_id String, session_id String, event_type String, timestamp DateTime('UTC'), received_at DateTime('UTC'),
	route String, target_type String, target_id String, target_selector String, target_tag String,
	metadata String, environment String, idempotency_key String, sdk_version String, app_id String,
	node_id String, log_id String, seq UInt64
) ENGINE = ReplacingMergeTree() PARTITION BY toDate(received_at)
ORDER BY (project_id, session_id, received_at, log_id, seq)`

// oracle is a server as its tests question it, past the product's driver.
type oracle interface {
	MustQuery(tb testing.TB, sql string) string
	Query(sql string) (string, error)
	Kill() error
	Restart() error
}

// rig is a real log, a state that survives restarts, and at most one running
// cursor over them.
type rig struct {
	tb     testing.TB
	log    *wal.Log
	state  *shippertest.State
	flush  shipper.Flush
	failed atomic.Bool // the node is dead: no commit works any more

	sink    *Sink
	cursors *shipper.Cursors
	cursor  *shipper.Cursor
	cancel  context.CancelFunc
	ended   chan struct{}
}

var errDead = errors.New("the node is dead")

func newRig(tb testing.TB) *rig {
	tb.Helper()
	log, err := wal.Open(wal.Options{Dir: tb.TempDir(), SyncInterval: time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	return rigOver(tb, log)
}

// rigOver makes a rig of a log, which it closes in the end.
func rigOver(tb testing.TB, log *wal.Log) *rig {
	tb.Helper()
	r := &rig{tb: tb, log: log, flush: shipper.Flush{Rows: 1000, Bytes: 32 << 20, Age: time.Millisecond}}
	r.forget()
	tb.Cleanup(func() {
		r.stop()
		if err := log.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// forget begins with a new state, as if the cursor had never run.
func (r *rig) forget() {
	r.state = shippertest.NewState()
	r.state.BeforeCommit = func([]shipper.Write) error {
		if r.failed.Load() {
			return errDead
		}
		return nil
	}
}

// event is the JSON of event n of the rig.
func event(n int) string {
	return fmt.Sprintf(`{"eventType":"click","timestamp":"2026-11-23T10:00:00.%03dZ","sessionId":"s%d","route":"/cart/%d",`+
		`"target":{"type":"element","id":"buy","selector":"#buy","tagName":"button"},"metadata":{"n":%d},`+
		`"environment":"test","idempotencyKey":"k%d"}`, n%1000, n%7, n, n, n)
}

// append accepts n events, numbered from the next seq on.
func (r *rig) append(n int) {
	r.tb.Helper()
	next := int(r.log.DurableSeq()) + 1
	for n > 0 {
		b := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "web"}
		for ; n > 0 && len(b.Events) < 100; n-- {
			b.Events = append(b.Events, record.Event{Session: fmt.Sprint("s", next%7), Raw: []byte(event(next))})
			next++
		}
		if _, err := r.log.Append(r.tb.Context(), wal.Entry{Data: record.Append(nil, &b), Events: len(b.Events)}); err != nil {
			r.tb.Fatal(err)
		}
	}
}

// start ships with the options, as a node that has just begun.
func (r *rig) start(o Options) {
	r.tb.Helper()
	o.NodeID = "edge-1"
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{r.tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	sink, err := New(o)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.sink = sink
	r.run(sink)
}

// run runs a cursor with the sink.
func (r *rig) run(sink shipper.Sink) {
	r.tb.Helper()
	r.stop()
	r.failed.Store(false)
	var err error
	if r.cursors, err = shipper.NewCursors(shipper.Options{Log: r.log, State: r.state}); err != nil {
		r.tb.Fatal(err)
	}
	if r.cursor, err = r.cursors.Add("clickhouse", sink, r.flush); err != nil {
		r.tb.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		r.cursors.Run(ctx)
	}()
}

// stop ends the cursor in its orderly way, if it runs.
func (r *rig) stop() {
	if r.cancel != nil {
		r.cancel()
		<-r.ended
		r.cancel = nil
	}
}

// die ends the cursor as SIGKILL would: nothing is saved from here on.
func (r *rig) die() {
	r.failed.Store(true)
	r.stop()
}

// shipped waits until everything accepted is done with.
func (r *rig) shipped() {
	r.tb.Helper()
	last := r.log.DurableSeq()
	eventually(r.tb, func() bool { return r.cursor.Next() > last }, func() string {
		return fmt.Sprintf("cursor at %d of %d: %+v", r.cursor.Next(), last, r.cursor.Status())
	})
}

// paused waits until the cursor has paused itself, and returns why.
func (r *rig) paused() string {
	r.tb.Helper()
	var s shipper.Status
	eventually(r.tb, func() bool {
		s = r.cursor.Status()
		return s.State == shipper.Paused
	}, func() string { return fmt.Sprintf("not paused: %+v", s) })
	return s.Pause.Reason + " | " + s.LastError
}

const patience = 30 * time.Second

func eventually(tb testing.TB, holds func() bool, explain func() string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !holds() {
		if shipper.Sleep(ctx, 2*time.Millisecond) != nil {
			tb.Fatal(explain())
		}
	}
}

// wantEach checks that the table has every seq up to last exactly once, read
// with the modifier given: "" or "FINAL".
func wantEach(tb testing.TB, o oracle, final string, last uint64) {
	tb.Helper()
	got := o.MustQuery(tb, "SELECT count(), uniqExact(log_id, seq), min(seq), max(seq) FROM events "+final)
	if want := fmt.Sprintf("%d\t%d\t%d\t%d", last, last, min(last, 1), last); got != want {
		tb.Fatalf("rows, distinct, first, last: %q, want %q", got, want)
	}
}

// testWriter sends log lines to the test.
type testWriter struct{ tb testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.tb.Log(string(p))
	return len(p), nil
}

// startOld starts Debian's server with an operator's table.
func startOld(tb testing.TB) (*clickhousetest.Server, Options) {
	tb.Helper()
	server := clickhousetest.StartServer(tb)
	server.MustQuery(tb, ownTable)
	return server, Options{Addrs: []string{server.Addr()}}
}

// startEngine starts the current engine, without a table.
func startEngine(tb testing.TB) (*clickhousetest.Engine, Options) {
	tb.Helper()
	engine := clickhousetest.StartEngine(tb)
	return engine, Options{Addrs: []string{engine.Addr()}, Protocol: HTTP, CreateTable: true, TTL: 30 * 24 * time.Hour}
}
