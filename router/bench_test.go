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
	"forebay/router/event"
	"forebay/router/privacy"
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
	return benchRequestOf(key, "/products/shoes", `"clientX":512,"clientY":100,"text":"Add"`)
}

// benchRequestOf is one whose events have this route and metadata.
func benchRequestOf(key, route, metadata string) []byte {
	return benchPost(key, benchEvents, idPlaceholder, route, metadata)
}

// benchSession is a request of a hundred events of one session, as a page that
// buffers sends them.
func benchSession(key string) []byte {
	return benchPost(key, 100, "4f3a2b1c-session", "/products/shoes", `"clientX":512,"clientY":100,"text":"Add"`)
}

func benchPost(key string, n int, session, route, metadata string) []byte {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"eventType":"click","timestamp":"%s","sessionId":"%s","route":"%s",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{%s},"environment":"production","idempotencyKey":"%s"}`,
			time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), session, route, metadata, idPlaceholder)
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
	p := newBenchPipeline(b, benchRequest)
	b.ReportAllocs()
	b.SetBytes(int64(len(p.body())))
	cpu := benchmark.CPUTime(b)
	for b.Loop() {
		p.pass()
	}
	b.ReportMetric(float64(benchmark.CPUTime(b)-cpu)/float64(b.N), "cpu-ns/op")
	if got := p.door.Router.Tally().Events.Accepted; got != uint64(benchEvents*b.N) {
		b.Errorf("accepted %d of %d events", got, benchEvents*b.N)
	}
}

// benchPipeline sends requests that differ through a router without net/http
// and the log.
type benchPipeline struct {
	door   *routertest.Door
	client *benchClient
	req    *http.Request
	start  int // of the body in the client's request
	reader *bytes.Reader
}

func newBenchPipeline(b *testing.B, request func(key string) []byte) *benchPipeline {
	door := routertest.Open(b, func(o *router.Options) {
		o.Log = &memoryLog{}
		o.Limiter = ratelimit.New(ratelimit.Options{RequestsPerSecond: 1_000_000, Burst: 10_000_000})
	})
	p := &benchPipeline{door: door, client: &benchClient{random: rand.New(rand.NewPCG(1, 2))}, reader: bytes.NewReader(nil)}
	p.client.take(request(door.AddKey(auth.Key{})))
	var err error
	if p.req, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(p.client.request))); err != nil {
		b.Fatal(err)
	}
	p.start = bytes.Index(p.client.request, []byte("\r\n\r\n")) + 4
	p.req.RemoteAddr = "127.0.0.1:1"
	p.req.Body = io.NopCloser(p.reader)
	return p
}

func (p *benchPipeline) body() []byte { return p.client.request[p.start:] }

// pass sends one request.
func (p *benchPipeline) pass() {
	p.client.renew()
	p.reader.Reset(p.body())
	p.door.Router.ServeHTTP(discard{http.Header{}}, p.req)
}

// maxPrivacyShare is how much of the pipeline's CPU time the look for personal
// data may take.
const maxPrivacyShare = 0.40

// BenchmarkPrivacyShare measures what part of the pipeline's CPU time the look
// for personal data takes: of the front door's request, and of one with long
// texts and disguises.
func BenchmarkPrivacyShare(b *testing.B) {
	requests := []struct {
		name    string
		request func(key string) []byte
		most    float64 // 0: only reported
	}{
		{"clicks", benchRequest, maxPrivacyShare},
		{"session", benchSession, 0},
		{"errors", func(key string) []byte {
			return benchRequestOf(key, "/search?q=red%20shoes%2C+size+42&from=%2Fhome%3Fa%3Db", `"message":"TypeError: Cannot read properties of undefined (reading 'map')",`+
				`"stack":"`+strings.Repeat(`    at Object.onClick (https://shop.example/assets/index-4f3a2b1c.js:1:23456)\n`, 8)+`","title":"Größe 42 wählen – Schuhe"`)
		}, 0},
	}
	for _, r := range requests {
		b.Run(r.name, func(b *testing.B) {
			p := newBenchPipeline(b, r.request)
			b.SetBytes(int64(len(p.body())))
			cpu := benchmark.CPUTime(b)
			for b.Loop() {
				p.pass()
			}
			whole := float64(benchmark.CPUTime(b)-cpu) / float64(b.N)
			look := privacyTime(b, p.body(), b.N)
			b.ReportMetric(whole, "cpu-ns/op")
			b.ReportMetric(look, "privacy-cpu-ns/op")
			b.ReportMetric(100*look/whole, "privacy-%")
			if b.N > 1000 && r.most > 0 && look/whole > r.most {
				b.Errorf("the look for personal data takes %.0f %% of the pipeline's CPU time, over %.0f %%", 100*look/whole, 100*r.most)
			}
		})
	}
}

// privacyTime is the CPU time in nanoseconds that looking at a body takes, on
// average of n times.
func privacyTime(b *testing.B, body []byte, n int) float64 {
	decoder, err := event.NewDecoder(event.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	checker, err := privacy.New(privacy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	batch, refusal := decoder.Decode(body, event.Envelope, time.Time{})
	if refusal.Refused() {
		b.Fatal(refusal)
	}
	var found privacy.Set
	cpu := benchmark.CPUTime(b)
	for range n {
		found |= checker.Find(batch.AppID, false) | checker.Find(batch.SDKVersion, false)
		for i := range batch.Events {
			batch.Texts(&batch.Events[i], func(t event.Text) bool {
				if i == 0 || !batch.Alike(t, &batch.Events[i-1]) {
					found |= checker.Find(t.Value, t.IsKey)
				}
				return true
			})
		}
	}
	took := benchmark.CPUTime(b) - cpu
	if found != 0 {
		b.Fatalf("found %b", found)
	}
	return float64(took) / float64(n)
}
