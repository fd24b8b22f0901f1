package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"forebay/node"
	"forebay/node/nodetest"
	"forebay/router/auth/postgres/postgrestest"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/session/receiver"
)

// What an edge node has to outlast.
const (
	edgeRate   = 500 // events a second
	edgeOutage = 24 * time.Hour
	edgeEvents = edgeRate * int64(edgeOutage/time.Second)
	edgeMB     = 256
)

// edge is a node whose every upstream can go away: PostgreSQL with the keys, ClickHouse, and the Session Manager.
type edge struct {
	tb         testing.TB
	p          *process
	postgres   *postgrestest.Server
	clickhouse *clickhousetest.Server
	sessions   *receiver.Receiver
	address    string // of the Session Manager
}

func newEdge(tb testing.TB) *edge {
	e := &edge{tb: tb, postgres: nodetest.StartPostgres(tb), clickhouse: nodetest.StartClickHouse(tb), address: nodetest.FreeAddr(tb)}
	e.clickhouse.MustQuery(tb, clickhousetest.PlainTable("events"))
	var err error
	if e.sessions, err = receiver.New(receiver.Options{}); err != nil {
		tb.Fatal(err)
	}
	e.p = newProcess(tb, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false}
  session: {url: %q}
`, e.clickhouse.Addr(), "http://"+e.address))
	e.p.key = e.p.forebay("keys", "create", "--dsn", e.postgres.DSN(), "--project", "shop", "--strict", "--rate", "1000000", "--burst", "1000000")
	for name, value := range map[string]string{"KEYS_SOURCE": "postgres", "KEYS_POSTGRES_DSN": e.postgres.DSN(), "KEYS_FILE_PATH": ""} {
		e.setenv("FOREBAY_"+name, value)
	}
	return e
}

// setenv is for the node, which inherits this process's environment.
func (e *edge) setenv(name, value string) {
	e.tb.Helper()
	e.tb.Setenv(name, value)
}

// budget asks for the disk budget for so many events, and has the node keep to it.
func (e *edge) budget(events int64, eventBytes int) int64 {
	e.tb.Helper()
	printed := e.p.forebay("config", "check", "--config", e.p.config, "--json",
		"--rate", strconv.Itoa(edgeRate), "--outage", (time.Duration(events) * time.Second / edgeRate).String(), "--event-bytes", strconv.Itoa(eventBytes))
	var r outageReport
	if err := json.Unmarshal([]byte(printed), &r); err != nil || r.Events != events {
		e.tb.Fatalf("%v: %s", err, printed)
	}
	e.setenv("FOREBAY_WAL_DISK_BUDGET", strconv.FormatInt(r.NeededBytes, 10))
	return r.NeededBytes
}

// cutOff lets the node learn the keys once, and takes everything away, the node's memory included.
func (e *edge) cutOff() {
	e.p.start()
	nodetest.Eventually(e.tb, waitLimit, func() bool { return e.post(-1, 1) == nil }, "the key is known")
	// A key serves from memory a moment before it is on disk: only then is it known without PostgreSQL.
	nodetest.Eventually(e.tb, waitLimit, func() bool { return strings.Contains(e.p.log(), "keys are followed in PostgreSQL") }, "the key is kept")
	e.p.kill()
	e.postgres.Kill()
	if err := e.clickhouse.Kill(); err != nil {
		e.tb.Fatal(err)
	}
	e.p.start()
}

var errNotAccepted = errors.New("not accepted")

// post sends request n and wants all of it accepted.
func (e *edge) post(n, events int) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	return e.postWith(client, n, events)
}

func (e *edge) postWith(client *http.Client, n, events int) error {
	r, err := e.p.post(client, outageBody(n, events))
	if err == nil && r.Accepted != events {
		err = fmt.Errorf("%w: %+v", errNotAccepted, r)
	}
	return err
}

// send sends requests from..to-1 of perRequest events.
func (e *edge) send(from, to, perRequest int) {
	next := make(chan int)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := range next {
				if err := e.postWith(client, n, perRequest); err != nil {
					e.tb.Errorf("request %d: %v", n, err)
				}
			}
		})
	}
	for n := from; n < to; n++ {
		next <- n
	}
	close(next)
	senders.Wait()
}

// serveSessions starts the Session Manager.
func (e *edge) serveSessions() {
	e.tb.Helper()
	listener, err := net.Listen("tcp", e.address)
	if err != nil {
		e.tb.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: e.sessions}}
	server.Start()
	e.tb.Cleanup(server.Close)
}

// comeBack starts every upstream again, waits until all is delivered, and checks that it is.
func (e *edge) comeBack() (took time.Duration) {
	e.tb.Helper()
	e.postgres.Restart()
	if err := e.clickhouse.Restart(); err != nil {
		e.tb.Fatal(err)
	}
	e.serveSessions()
	begun := time.Now()
	s, err := e.p.admin.Status(e.tb.Context())
	if err != nil {
		e.tb.Fatal(err)
	}
	look := time.NewTicker(25 * time.Millisecond) // to look costs the node something
	defer look.Stop()
	nodetest.Eventually(e.tb, 20*time.Minute, func() bool {
		<-look.C
		_, clickhouse := cursorOf(e.tb, e.p.admin, "clickhouse")
		_, session := cursorOf(e.tb, e.p.admin, "session")
		return min(clickhouse, session) > s.Log.DurableSeq
	}, "everything is delivered")
	took = time.Since(begun)
	rows := strings.TrimSpace(e.clickhouse.MustQuery(e.tb, "SELECT count(), uniqExact(seq) FROM events FINAL"))
	if want := fmt.Sprintf("%d\t%[1]d", s.Log.DurableSeq); rows != want {
		e.tb.Errorf("the table has rows and seqs %q, want %q", rows, want)
	}
	if r := e.sessions.Report(); !r.InOrder() || r.Events != s.Log.DurableSeq {
		e.tb.Errorf("the Session Manager has %d of %d events, or not in order: %+v", r.Events, s.Log.DurableSeq, r)
	}
	return took
}

// TestOutageFitsTheBudgetThatIsPrinted asks beforehand which disk budget an outage of every upstream takes, gives the
// node just that, and has it take and then deliver all events of it.
func TestOutageFitsTheBudgetThatIsPrinted(t *testing.T) {
	const requests, perRequest = 300, 20
	e := newEdge(t)
	e.setenv("FOREBAY_WAL_COMPRESSION", "none") // the budget is for events that cannot be compressed
	e.setenv("FOREBAY_SHIPPERS_CLICKHOUSE_FLUSH_AGE", "100ms")
	budget := e.budget(requests*perRequest+1, len(outageBody(0, perRequest))/perRequest)
	e.cutOff()
	e.send(0, requests, perRequest)
	s, err := e.p.admin.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !s.Accepting || s.Log.BudgetBytes != budget || s.Log.DurableSeq != requests*perRequest+1 {
		t.Errorf("accepting %v, the budget is %d of %d asked for, %d events are in the log", s.Accepting, s.Log.BudgetBytes, budget, s.Log.DurableSeq)
	}
	t.Logf("%d events took %d of %d bytes", s.Log.DurableSeq, s.Log.Bytes, budget)
	e.comeBack()
	e.p.stop()
}

// BenchmarkEdge gives a node one core and 256 MB, set as OPERATING.md says for a small machine, takes every upstream away, and sends a part of what comes in 24 hours
// at 500 events a second, as fast as the node takes it: 600,000 events, or as many as BENCH_EVENTS says. Then everything comes
// back. It reports what an event takes on disk and what that makes for 24 hours, beside the budget that `config check`
// names beforehand; the memory after a tenth of the events and the most there ever was; and the rates. Memory that does
// not grow with the backlog, and disk that grows with it in proportion, are what allows the step to 43.2 million.
func BenchmarkEdge(b *testing.B) {
	const perRequest = 10
	events := 600_000
	if s := os.Getenv("BENCH_EVENTS"); s != "" {
		var err error
		if events, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	e := newEdge(b)
	e.setenv("GOMEMLIMIT", fmt.Sprintf("%dMiB", edgeMB*3/4)) // the rest is for what Go does not count
	e.setenv("FOREBAY_WAL_SEGMENT_BYTES", "8MiB")
	e.setenv("FOREBAY_SHIPPERS_CLICKHOUSE_FLUSH_ROWS", "10000")
	eventBytes := len(outageBody(0, perRequest)) / perRequest
	e.budget(int64(events)+1, eventBytes)
	onOneCore(b, e.cutOff)
	pid := e.p.cmd.Process.Pid
	idle := memoryMB(b, pid, "VmRSS:")

	begun := time.Now()
	e.send(0, events/perRequest/10, perRequest)
	early := memoryMB(b, pid, "VmHWM:")
	e.send(events/perRequest/10, events/perRequest, perRequest)
	took := time.Since(begun)
	peak := memoryMB(b, pid, "VmHWM:")
	s, err := e.p.admin.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	perEvent := float64(s.Log.Bytes) / float64(s.Log.DurableSeq)
	drained := e.comeBack()
	all := memoryMB(b, pid, "VmHWM:")
	e.p.stop()

	const gb = 1e9
	drain := float64(s.Log.DurableSeq) / drained.Seconds()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(s.Log.DurableSeq)/took.Seconds(), "events/s")
	b.ReportMetric(perEvent, "disk-B/event")
	b.ReportMetric(perEvent*float64(edgeEvents)/gb, "disk-GB/24h")
	b.ReportMetric(float64(node.DiskNeeded(edgeEvents, int64(eventBytes), 8<<20))/gb, "budget-GB/24h")
	b.ReportMetric(idle, "idle-MB")
	b.ReportMetric(early, "early-MB")
	b.ReportMetric(peak, "outage-peak-MB")
	b.ReportMetric(all, "peak-MB")
	b.ReportMetric(drain, "drained-events/s")
	b.ReportMetric(float64(edgeEvents)/(drain-edgeRate)/3600, "drain-h/24h")
	if all > edgeMB {
		b.Errorf("the node took %.0f MB of %d: %.0f at rest, %.0f up to the end of the outage", all, edgeMB, idle, peak)
	}
}

// onOneCore runs fn, and what it starts, on the last of the cores that this process has.
func onOneCore(tb testing.TB, fn func()) {
	tb.Helper()
	runtime.LockOSThread() // a child inherits the cores of the thread that starts it
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		tb.Fatal(err)
	}
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			tb.Error(err)
		}
	}()
	fn()
}
