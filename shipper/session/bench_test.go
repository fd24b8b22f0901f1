package session_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
	"forebay/wal/waltest/benchmark"
)

// benchEvents and benchSessions are the load of BenchmarkBacklog.
const (
	benchEvents   = 1_000_000
	benchSessions = 10_000
)

// benchSession is the session of the event with the seq: sessions post five
// at a time, all mixed.
func benchSession(seq uint64) string {
	return fmt.Sprintf("session-%05d", (seq-1)/5%benchSessions)
}

// appendBenchEvent appends the JSON of the event with the seq.
func appendBenchEvent(to []byte, seq uint64) []byte {
	name := benchSession(seq)
	return fmt.Appendf(to, `{"eventType":"click","timestamp":"2026-11-23T10:00:00.123Z","sessionId":%q,"route":"/cart","target":{"type":"element","id":"buy","selector":"#buy","tagName":"button"},"metadata":{"clientX":10,"n":%d},"environment":"production","idempotencyKey":"%s-%d"}`,
		name, seq, name, seq)
}

// BenchmarkBacklog delivers a backlog of many sessions to a receiver that only
// reads and answers, and then posts the same bodies to it by a bare client
// with as many requests in flight. It reports the ratio of the two rates.
func BenchmarkBacklog(b *testing.B) {
	rig := shippertest.NewRig(b)
	entry := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "shop"}
	for seq := uint64(1); seq <= benchEvents; seq++ {
		entry.Events = append(entry.Events, record.Event{Session: benchSession(seq), Raw: appendBenchEvent(nil, seq)})
		if len(entry.Events) == 1000 {
			if _, err := rig.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &entry), Events: 1000}); err != nil {
				b.Fatal(err)
			}
			entry.Events = entry.Events[:0]
		}
	}
	var mu sync.Mutex
	var requests []string // the seqs of each, from which its body can be made again
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			b.Error(err)
		}
		if seqs := req.Header.Get(header.Seqs); seqs != "" {
			mu.Lock()
			defer mu.Unlock()
			requests = append(requests, seqs)
		}
	}))
	defer server.Close()

	var took, tookBare, usedBare time.Duration
	var use benchmark.Meter
	sent := 0
	for b.Loop() {
		requests = requests[:0]
		rig.State = shippertest.NewState()
		runtime.GC()
		use.Begin(b)
		ship := rig.Start(newSink(b, session.Options{URL: server.URL}), flush, shipper.Options{})
		ship.WaitDone()
		took += use.End(b)
		ship.Stop()
		bodies := benchBodies(b, requests)
		sent += len(bodies)
		runtime.GC()
		start, before := time.Now(), benchmark.CPUTime(b)
		bareClient(b, server.URL, bodies, 32)
		tookBare, usedBare = tookBare+time.Since(start), usedBare+benchmark.CPUTime(b)-before
	}
	use.Report(b, benchEvents*float64(b.N))
	b.ReportMetric(benchEvents*float64(b.N)/tookBare.Seconds(), "bare-events/s")
	b.ReportMetric(benchEvents*float64(b.N)/float64(sent), "events/request")
	b.ReportMetric(tookBare.Seconds()/took.Seconds(), "ratio")
	b.ReportMetric(usedBare.Seconds()/use.CPU().Seconds(), "by-CPU-time") // the same where others use the machine
	b.ReportMetric(0, "ns/op")
}

// benchBodies makes the bodies of requests again.
func benchBodies(b *testing.B, requests []string) [][]byte {
	bodies := make([][]byte, 0, len(requests))
	var body []byte
	for _, request := range requests {
		seqs, err := header.ParseSeqs(request)
		if err != nil {
			b.Fatal(err)
		}
		body = fmt.Appendf(body[:0], `{"project_id":"shop","session_id":%q,"events":[`, benchSession(seqs[0]))
		for _, seq := range seqs {
			body = append(appendBenchEvent(body, seq), ',')
		}
		body = append(body[:len(body)-1], "]}"...)
		bodies = append(bodies, bytes.Clone(body))
	}
	return bodies
}

// bareClient posts bodies with so many requests in flight.
func bareClient(b *testing.B, url string, bodies [][]byte, lanes int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: lanes}}
	defer client.CloseIdleConnections()
	work := make(chan []byte, lanes)
	var workers sync.WaitGroup
	for range lanes {
		workers.Go(func() {
			for body := range work {
				res, err := client.Post(url+"/v1/sessions/events", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	for _, body := range bodies {
		work <- body
	}
	close(work)
	workers.Wait()
}

// BenchmarkLatency appends one event at a time and reports how long after the
// log has it the receiver has it.
func BenchmarkLatency(b *testing.B) {
	rig := shippertest.NewRig(b)
	arrived := make(chan time.Time, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		arrived <- time.Now()
		_, _ = io.Copy(io.Discard, req.Body)
	}))
	defer server.Close()
	rig.Start(newSink(b, session.Options{URL: server.URL}), flush, shipper.Options{})
	var took []time.Duration
	for b.Loop() {
		rig.Append("shop", fmt.Sprint("s", len(took)), 1)
		start := time.Now()
		took = append(took, (<-arrived).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

// BenchmarkManySessions delivers one event each of ever new sessions, and
// reports the memory that is left behind for each session ever seen.
func BenchmarkManySessions(b *testing.B) {
	const atOnce = 10_000
	rig := shippertest.NewRig(b)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	ship := rig.Start(newSink(b, session.Options{URL: server.URL}), flush, shipper.Options{})
	seen := 0
	round := func() {
		entry := record.Batch{Project: "shop"}
		for range atOnce {
			seen++
			entry.Events = append(entry.Events, record.Event{Session: fmt.Sprint("session-", seen), Raw: []byte(`{"n":1}`)})
		}
		if _, err := rig.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &entry), Events: atOnce}); err != nil {
			b.Fatal(err)
		}
		ship.WaitDone()
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	round() // tables have their size now
	before, from := heap(), seen
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(heap()-before)/float64(seen-from), "bytes-left/session")
}
