package router_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/ratelimit"
	"forebay/router/routertest"
	"forebay/wal"
	"forebay/wal/waltest/benchmark"
)

const (
	benchEvents   = 10
	idPlaceholder = "00000000-0000-0000-0000-000000000000"
)

// benchRequest is a request of ten events of about 350 bytes, with placeholders
// for sessions and idempotency keys.
func benchRequest(key string) []byte {
	events := make([]string, benchEvents)
	for i := range events {
		events[i] = fmt.Sprintf(`{"eventType":"click","timestamp":"%s","sessionId":"%s","route":"/products/shoes",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{"clientX":512,"clientY":%d,"text":"Add"},"environment":"production","idempotencyKey":"%s"}`,
			time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), idPlaceholder, 100+i, idPlaceholder)
	}
	body := `{"sdk_version":"1.4.2","app_id":"shop","events":[` + strings.Join(events, ",") + `]}`
	return []byte(routertest.Post("/v1/events", body, "Content-Type: application/json", "X-API-Key: "+key))
}

// benchClient makes requests that differ.
type benchClient struct {
	request []byte
	ids     []int // where the placeholders stand
	random  *rand.Rand
}

// take makes a copy of request the client's own.
func (c *benchClient) take(request []byte) {
	c.request = bytes.Clone(request)
	for at := 0; ; {
		i := bytes.Index(request[at:], []byte(idPlaceholder))
		if i < 0 {
			return
		}
		c.ids = append(c.ids, at+i)
		at += i + len(idPlaceholder)
	}
}

// renew puts fresh random IDs into the request.
func (c *benchClient) renew() {
	const hex = "0123456789abcdef"
	for _, at := range c.ids {
		for half := range 2 {
			bits := c.random.Uint64()
			for i := range 8 {
				c.request[at+24*half+i] = hex[bits&15] // the first and the last part
				bits >>= 4
			}
		}
	}
}

// memoryLog takes appends and forgets them.
type memoryLog struct{ next atomic.Uint64 }

func (l *memoryLog) Append(_ context.Context, e wal.Entry) (uint64, error) {
	n := uint64(e.Events)
	return l.next.Add(n) - n + 1, nil
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkPipeline is the router's own part of a request of ten new events,
// without net/http and the log; BenchmarkFrontDoor in cmd/forebay measures the
// whole. Of its 8 allocations two are the benchmark's own header. The others are
// the reservation of the idempotency keys, its outcomes and its digests (other
// requests may wait for them after this one has ended), the context that a
// sender's leaving does not cancel, and the strings sdk_version and app_id (what
// shows drops to operators keeps them). The log copies the record into the
// buffer of its group and allocates nothing for it.
func BenchmarkPipeline(b *testing.B) {
	door := routertest.Open(b, func(o *router.Options) {
		o.Log = &memoryLog{}
		o.Limiter = ratelimit.New(ratelimit.Options{RequestsPerSecond: 1_000_000, Burst: 10_000_000})
	})
	client := &benchClient{random: rand.New(rand.NewPCG(1, 2))}
	client.take(benchRequest(door.AddKey(auth.Key{})))
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(client.request)))
	if err != nil {
		b.Fatal(err)
	}
	start := bytes.Index(client.request, []byte("\r\n\r\n")) + 4
	req.RemoteAddr = "127.0.0.1:1"
	body := bytes.NewReader(nil)
	req.Body = io.NopCloser(body)
	b.ReportAllocs()
	b.SetBytes(int64(len(client.request) - start))
	cpu := benchmark.CPUTime(b)
	for b.Loop() {
		client.renew()
		body.Reset(client.request[start:])
		door.Router.ServeHTTP(discard{http.Header{}}, req)
	}
	b.ReportMetric(float64(benchmark.CPUTime(b)-cpu)/float64(b.N), "cpu-ns/op")
	if got := door.Router.Tally().Events.Accepted; got != uint64(benchEvents*b.N) {
		b.Errorf("accepted %d of %d events", got, benchEvents*b.N)
	}
}
