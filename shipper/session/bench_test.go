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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

// benchEvents and benchSessions are the load of BenchmarkBacklog.
const (
	benchEvents   = 300_000
	benchSessions = 10_000
)

// BenchmarkBacklog delivers a backlog of many sessions to a receiver that only
// reads and answers, and then posts the same bodies to it by a bare client
// with as many requests in flight. It reports the ratio of the two rates.
func BenchmarkBacklog(b *testing.B) {
	rig := shippertest.NewRig(b)
	entry := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "shop"}
	for n := range benchEvents {
		// Sessions post a few events at a time, all mixed.
		name := fmt.Sprintf("session-%05d", n/5%benchSessions)
		entry.Events = append(entry.Events, record.Event{Session: name, Raw: fmt.Appendf(nil,
			`{"eventType":"click","timestamp":"2026-11-23T10:00:00.123Z","sessionId":%q,"route":"/cart","target":{"type":"element","id":"buy","selector":"#buy","tagName":"button"},"metadata":{"clientX":10,"n":%d},"environment":"production","idempotencyKey":"%s-%d"}`,
			name, n, name, n)})
		if len(entry.Events) == 1000 {
			if _, err := rig.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &entry), Events: 1000}); err != nil {
				b.Fatal(err)
			}
			entry.Events = entry.Events[:0]
		}
	}
	var mu sync.Mutex
	var bodies [][]byte
	var keep atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body := make([]byte, req.ContentLength)
		if _, err := io.ReadFull(req.Body, body); err != nil {
			b.Error(err)
		}
		if keep.Load() {
			mu.Lock()
			defer mu.Unlock()
			bodies = append(bodies, body)
		}
	}))
	defer server.Close()

	for b.Loop() {
		bodies = nil
		keep.Store(true)
		rig.State = shippertest.NewState()
		start, used := time.Now(), cpuTime(b)
		ship := rig.Start(newSink(b, session.Options{URL: server.URL}), flush, shipper.Options{})
		ship.WaitDone()
		sink, sinkUsed := time.Since(start), cpuTime(b)-used
		ship.Stop()
		keep.Store(false)
		used = cpuTime(b)
		bare := bareClient(b, server.URL, bodies, 32)
		bareUsed := cpuTime(b) - used
		b.ReportMetric(benchEvents/sink.Seconds(), "events/s")
		b.ReportMetric(float64(len(bodies))/sink.Seconds(), "requests/s")
		b.ReportMetric(bare.Seconds()/sink.Seconds(), "of-a-bare-client")
		b.ReportMetric(bareUsed.Seconds()/sinkUsed.Seconds(), "by-CPU-time") // the same where others use the machine
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// bareClient posts bodies with so many requests in flight.
func bareClient(b *testing.B, url string, bodies [][]byte, lanes int) time.Duration {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: lanes}}
	defer client.CloseIdleConnections()
	work := make(chan []byte, lanes)
	var workers sync.WaitGroup
	start := time.Now()
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
	return time.Since(start)
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
