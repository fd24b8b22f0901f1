package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
)

const (
	wholeRounds = 5
	wholeBatch  = 50_000 // rows of an insert: the default of flush.rows
	wholeLanes  = 32     // requests to the Session Manager at a time: the default of lanes
)

// wholeEvents are the events of a round, by those of a request: eight seconds or so,
// beside which the end, when less and less is under way at a time, is short.
var wholeEvents = map[int]int{100: 1_000_000, 10: 500_000}

// wholeTable is the table of a round.
type wholeTable struct {
	server interface {
		MustQuery(tb testing.TB, query string) string
	}
	bare    *clickhousetest.Bare
	shipper string // the node's configuration for it
}

// wholeTables start each engine.
var wholeTables = map[string]func(b *testing.B) wholeTable{
	"18.16": func(b *testing.B) wholeTable {
		s := nodetest.StartClickHouse(b)
		s.MustQuery(b, clickhousetest.PlainTable("events"))
		return wholeTable{s, clickhousetest.DialBare(b, s.Addr(), "events", "native"), fmt.Sprintf("{addrs: [%q], create_table: false}", s.Addr())}
	},
	"current": func(b *testing.B) wholeTable {
		e := nodetest.StartClickHouseEngine(b)
		return wholeTable{e, clickhousetest.DialBare(b, e.Addr(), "events", "http"), fmt.Sprintf("{addrs: [%q], protocol: http}", e.Addr())}
	},
}

// BenchmarkWholeWay measures everything at once on one machine: 64 connections
// post events, a node has them on disk before it replies and ships them to
// ClickHouse and to a Session Manager, and the clock stops when both have every
// event. The ceiling has none of this: the rows of the round, read back from the
// table as columns, are inserted into it again by clickhouse-go, in the order of the
// log, as the node does, and in the largest batches that it sends, while the bodies
// that the Session Manager got are posted to it again by as many connections as the
// node has lanes. So it neither receives, checks, stores, nor decodes anything.
//
// A request holds events of one session, of a thousand. Senders and Session
// Manager are this process, on both sides.
func BenchmarkWholeWay(b *testing.B) {
	for name, start := range wholeTables {
		for _, perRequest := range []int{100, 10} {
			events := wholeEvents[perRequest]
			b.Run(fmt.Sprintf("clickhouse=%s/events=%d", name, perRequest), func(b *testing.B) {
				w := newWholeWay(b, start(b), perRequest, events)
				defer w.close()
				w.round(b) // nothing is done for the first time
				w.ceiling(b)
				var figures []wholeFigures
				for range wholeRounds {
					f := w.round(b)
					f.ratio = f.perSecond / w.ceiling(b)
					figures = append(figures, f)
				}
				b.ReportMetric(0, "ns/op")
				middle := func(of func(wholeFigures) float64) float64 {
					var all []float64
					for _, f := range figures {
						all = append(all, of(f))
					}
					return median(all)
				}
				b.ReportMetric(middle(func(f wholeFigures) float64 { return f.ratio }), "ratio")
				b.ReportMetric(middle(func(f wholeFigures) float64 { return f.perSecond }), "events/s")
				b.ReportMetric(middle(func(f wholeFigures) float64 { return ms(f.p50) }), "p50-ms")
				b.ReportMetric(middle(func(f wholeFigures) float64 { return ms(f.p99) }), "p99-ms")
				b.ReportMetric(middle(func(f wholeFigures) float64 { return us(f.cpu) / float64(events) }), "cpu-s/Mevents")
				b.ReportMetric(w.node.peakMB(b), "peak-MB")
			})
		}
	}
}

// wholeFigures are what a round has shown.
type wholeFigures struct {
	perSecond, ratio float64
	p50, p99         time.Duration // of the replies
	cpu              time.Duration // of the node
}

type wholeWay struct {
	wholeTable
	sessions *httptest.Server
	node     *benchServer
	client   *admin.Client
	perEach  int    // events of a request
	events   int    // of a round
	upTo     uint64 // seqs that are through

	mu     sync.Mutex
	bodies [][]byte // that the Session Manager got in this round
	keep   bool
}

func newWholeWay(b *testing.B, table wholeTable, perRequest, events int) *wholeWay {
	w := &wholeWay{wholeTable: table, perEach: perRequest, events: events}
	w.sessions = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // it is sent again
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.keep {
			w.bodies = append(w.bodies, body)
		}
	}))
	w.node = startBenchNode(b, false, func(string) string {
		return fmt.Sprintf("{clickhouse: %s, session: {url: %q}}", w.shipper, w.sessions.URL)
	})
	w.client = admin.NewClient(w.node.admin, "")
	var err error
	w.node.clients, err = dialBench(64, func(addr, key string) (*benchClient, error) {
		return newBenchClientOf(benchRequest(key, sessionPlaceholder, perRequest)).connect(addr)
	}, w.node.addr, w.node.key)
	if err != nil {
		b.Fatal(err)
	}
	w.upTo = uint64(len(w.node.clients) * perRequest)
	w.settle(b)
	return w
}

func (w *wholeWay) close() {
	w.node.clients.close()
	w.node.end()
	w.sessions.Close()
}

// settle waits until both cursors have passed upTo. It looks only now and then:
// to tell how far a cursor lags, the node reads its log.
func (w *wholeWay) settle(b *testing.B) {
	look := time.NewTicker(25 * time.Millisecond)
	defer look.Stop()
	for limit := time.Now().Add(5 * time.Minute); time.Now().Before(limit); <-look.C {
		_, session := cursorOf(b, w.client, "session")
		_, clickhouse := cursorOf(b, w.client, "clickhouse")
		if min(session, clickhouse) > w.upTo {
			return
		}
	}
	b.Fatalf("the cursors have not come to seq %d", w.upTo)
}

// round sends the events of a round and waits until they are everywhere.
func (w *wholeWay) round(b *testing.B) wholeFigures {
	w.server.MustQuery(b, "TRUNCATE TABLE events")
	w.mu.Lock()
	w.bodies, w.keep = nil, true
	w.mu.Unlock()
	cpu, began := cpuTime(b, w.node.cmd.Process.Pid), time.Now()
	times, err := w.node.clients.send(w.events / w.perEach)
	if err != nil {
		b.Fatal(err)
	}
	w.upTo += uint64(len(times) * w.perEach)
	w.settle(b)
	took := time.Since(began)
	w.mu.Lock()
	w.keep = false
	w.mu.Unlock()
	return wholeFigures{
		perSecond: float64(w.events) / took.Seconds(), p50: times[len(times)/2], p99: times[len(times)*99/100],
		cpu: cpuTime(b, w.node.cmd.Process.Pid) - cpu,
	}
}

// ceiling does the bare part of the last round again and returns its events a
// second.
func (w *wholeWay) ceiling(b *testing.B) float64 {
	var blocks []*clickhousetest.Columns
	for at := w.upTo - uint64(w.events) + 1; at <= w.upTo; at += wholeBatch {
		block, err := w.bare.Read(b.Context(), fmt.Sprintf("seq BETWEEN %d AND %d", at, at+wholeBatch-1))
		if err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, block)
	}
	w.server.MustQuery(b, "TRUNCATE TABLE events")
	began := time.Now()
	var both sync.WaitGroup
	both.Go(func() {
		for _, block := range blocks {
			if err := w.bare.Insert(b.Context(), block); err != nil {
				b.Error(err)
			}
		}
	})
	both.Go(func() { w.postAgain(b) })
	both.Wait()
	took := time.Since(began)
	if rows := strings.TrimSpace(w.server.MustQuery(b, "SELECT uniqExact(seq) FROM events")); rows != fmt.Sprint(w.events) {
		b.Fatalf("the ceiling has %s rows of %d", rows, w.events)
	}
	return float64(w.events) / took.Seconds()
}

// postAgain posts what the Session Manager got.
func (w *wholeWay) postAgain(b *testing.B) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: wholeLanes}}
	defer client.CloseIdleConnections()
	work := make(chan []byte, wholeLanes)
	var lanes sync.WaitGroup
	for range wholeLanes {
		lanes.Go(func() {
			for body := range work {
				res, err := client.Post(w.sessions.URL+"/v1/sessions/events", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	for _, body := range w.bodies {
		work <- body
	}
	close(work)
	lanes.Wait()
}

// send has the clients send n requests altogether and returns the time of each,
// ascending.
func (all benchClients) send(n int) (times []time.Duration, err error) {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	errs := make(chan error, len(all))
	var running sync.WaitGroup
	for _, c := range all {
		c.times = c.times[:0]
		running.Go(func() {
			for range left {
				if err := c.send(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	running.Wait()
	close(errs)
	for err := range errs {
		return nil, err
	}
	for _, c := range all {
		times = append(times, c.times...)
	}
	slices.Sort(times)
	return times, nil
}
