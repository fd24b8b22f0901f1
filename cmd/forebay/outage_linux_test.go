package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
)

// cursorOf returns the status of one cursor.
func cursorOf(tb testing.TB, client *admin.Client, name string) (admin.Status, uint64) {
	tb.Helper()
	s, err := client.Status(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range s.Cursors {
		if c.Name == name {
			return s, c.NextSeq
		}
	}
	tb.Fatalf("no cursor %s in %+v", name, s.Cursors)
	return s, 0
}

// TestClickHouseOutageTouchesNobodyElse takes ClickHouse away while events
// arrive: they are accepted, reach the Session Manager, and cost no more memory
// the more they become. Then it comes back, and has each of them once.
func TestClickHouseOutageTouchesNobodyElse(t *testing.T) {
	const requests, perRequest, clients = 900, 50, 4
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 100ms}}
  session: {url: %q}
`, server.Addr(), sessions.url))
	p.start()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}

	next := make(chan int)
	var senders sync.WaitGroup
	for range clients {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := range next {
				if _, err := p.post(client, outageBody(n, perRequest)); err != nil {
					t.Errorf("request %d: %v", n, err)
				}
			}
		})
	}
	var memory []float64
	for n := range requests {
		if n%(requests/3) == 0 {
			memory = append(memory, memoryMB(t, p.cmd.Process.Pid, "VmRSS:"))
		}
		next <- n
	}
	close(next)
	senders.Wait()
	const events = requests * perRequest
	nodetest.Eventually(t, waitLimit, func() bool {
		_, at := cursorOf(t, p.admin, "session")
		return at == events+1
	}, "the Session Manager has all that was accepted; the node said:\n%s", p.log())
	memory = append(memory, memoryMB(t, p.cmd.Process.Pid, "VmRSS:"))
	t.Logf("resident MB, a reading for each %d events: %.0f", events/3, memory)
	// 15,000 events are 5 MB: memory that follows the backlog would show. The
	// first readings are of a process that still warms up.
	if grown := memory[3] - memory[1]; grown > 64 {
		t.Errorf("memory has grown by %.0f MB with a backlog of %d events", grown, events)
	}
	if _, at := cursorOf(t, p.admin, "clickhouse"); at != 1 {
		t.Errorf("without a server the ClickHouse cursor has come to seq %d", at)
	}

	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	p.settled()
	p.stop()
	if got, want := server.MustQuery(t, "SELECT count(), uniqExact(seq), min(seq), max(seq) FROM events"), fmt.Sprintf("%d\t%[1]d\t1\t%[1]d", events); strings.TrimSpace(got) != want {
		t.Errorf("the table has rows, seqs, first and last %q, want %q", got, want)
	}
	if report := sessions.receiver.Report(); !report.InOrder() {
		t.Errorf("sessions out of order: %+v", report)
	}
}

// outageBody is the n-th request, of one session in 20.
func outageBody(n, events int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"sdk_version":"1.0.0","app_id":"shop","events":[`)
	for i := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"eventType":"click","timestamp":%q,"sessionId":"s-%d","route":"/cart","target":{"type":"element","id":"buy"},`+
			`"metadata":{"clientX":%d,"padding":%q},"environment":"production","idempotencyKey":"outage-%d-%d"}`,
			now(), n%20, i, strings.Repeat("x", 120), n, i)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// BenchmarkClickHouseOutage loads a node by 64 connections, first with all of
// its upstreams, then with ClickHouse gone for a million events (or as many as
// BENCH_EVENTS says), and lets it catch up. It reports what the front
// door and the session cursor did without ClickHouse, and how that compares to
// the time before; the memory of the process after the first tenth of the outage
// and at its end; and the rate of catching up, beside that of shipping the same
// events a second time, after a rewind, with nothing else to do.
func BenchmarkClickHouseOutage(b *testing.B) {
	events := uint64(1_000_000)
	if s := os.Getenv("BENCH_EVENTS"); s != "" {
		var err error
		if events, err = strconv.ParseUint(s, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	server := nodetest.StartClickHouse(b)
	server.MustQuery(b, clickhousetest.PlainTable("events"))
	sessions := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // a body cut off is sent again
	}))
	defer sessions.Close()
	node := startBenchNode(b, false, func(string) string {
		return fmt.Sprintf("{clickhouse: {addrs: [%q], create_table: false}, session: {url: %q}}", server.Addr(), sessions.URL)
	})
	defer node.end()
	client := admin.NewClient(node.admin, "")
	clients, err := dialBench(64, dialBare, node.addr, node.key)
	defer clients.close()
	if err != nil {
		b.Fatal(err)
	}
	node.clients = clients

	// phase loads the node and returns requests and session events a second.
	phase := func(span time.Duration) (door, session float64) {
		_, before := cursorOf(b, client, "session")
		times, took, err := clients.load(span)
		if err != nil {
			b.Fatal(err)
		}
		_, after := cursorOf(b, client, "session")
		return float64(len(times)) / took.Seconds(), float64(after-before) / took.Seconds()
	}
	phase(2 * time.Second) // nothing is done for the first time
	doorWith, sessionWith := phase(5 * time.Second)

	if err := server.Kill(); err != nil {
		b.Fatal(err)
	}
	status, first := cursorOf(b, client, "clickhouse")
	until := status.Log.DurableSeq + events
	var door, session, rounds, early float64
	for status.Log.DurableSeq < until {
		d, s := phase(time.Second)
		door, session, rounds = door+d, session+s, rounds+1
		status, _ = cursorOf(b, client, "clickhouse")
		if early == 0 && status.Log.DurableSeq > until-events*9/10 {
			early = memoryMB(b, node.cmd.Process.Pid, "VmRSS:")
		}
	}
	late := memoryMB(b, node.cmd.Process.Pid, "VmRSS:")
	// reach waits until a cursor has passed seq, and returns the time. It looks
	// only now and then, so as not to be a load of its own.
	reach := func(cursor string, seq uint64) time.Time {
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		nodetest.Eventually(b, 20*time.Minute, func() bool {
			<-look.C
			_, at := cursorOf(b, client, cursor)
			return at > seq
		}, "cursor %s has passed seq %d", cursor, seq)
		return time.Now()
	}
	reach("session", status.Log.DurableSeq)

	if err := server.Restart(); err != nil {
		b.Fatal(err)
	}
	catching := reach("clickhouse", first+100_000)
	_, from := cursorOf(b, client, "clickhouse")
	caught := float64(status.Log.DurableSeq+1-from) / reach("clickhouse", status.Log.DurableSeq).Sub(catching).Seconds()
	if rows := strings.TrimSpace(server.MustQuery(b, "SELECT count() FROM events")); rows != fmt.Sprint(status.Log.DurableSeq) {
		b.Errorf("%s rows for %d events", rows, status.Log.DurableSeq)
	}
	if _, err := client.Rewind(context.Background(), "clickhouse", admin.RewindRequest{ToStart: true, Apply: true}); err != nil {
		b.Fatal(err)
	}
	again := reach("clickhouse", 100_000)
	_, from = cursorOf(b, client, "clickhouse")
	rewound := float64(status.Log.DurableSeq+1-from) / reach("clickhouse", status.Log.DurableSeq).Sub(again).Seconds()

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(door/rounds, "requests/s")
	b.ReportMetric(door/rounds/doorWith, "door-ratio")
	b.ReportMetric(session/rounds, "session-events/s")
	b.ReportMetric(session/rounds/sessionWith, "session-ratio")
	b.ReportMetric(early, "early-MB")
	b.ReportMetric(late, "late-MB")
	b.ReportMetric(caught, "catch-up-rows/s")
	b.ReportMetric(caught/rewound, "catch-up-ratio")
}
