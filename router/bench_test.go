package router_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/ratelimit"
	"forebay/router/routertest"
	"forebay/wal"
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

// A sender sends one request after the other.
type sender interface{ send() error }

// benchClient sends on one connection and costs as little as it can, so that
// the ratio to the ceiling is the harshest.
type benchClient struct {
	conn    net.Conn
	request []byte
	ids     []int // where the placeholders stand
	random  *rand.Rand
	reply   []byte
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

// send sends one request and reads the reply.
func (c *benchClient) send() error {
	c.renew()
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	for n := 0; ; {
		m, err := c.conn.Read(c.reply[n:])
		if err != nil {
			return err
		}
		if n += m; bytes.HasSuffix(c.reply[:n], []byte("\r\n\r\n"+`{"success":true}`)) {
			return nil
		}
	}
}

// stdClient sends with net/http, as a sender in Go does.
type stdClient struct {
	benchClient
	http *http.Client
	url  string
	key  string
}

func (c *stdClient) send() error {
	c.renew()
	body := c.request[bytes.Index(c.request, []byte("\r\n\r\n"))+4:]
	req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", c.key)
	req.Header.Set("Content-Type", "application/json")
	reply, err := c.http.Do(req)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, reply.Body); err != nil {
		return err
	}
	return reply.Body.Close()
}

// senders makes so many clients of a kind.
func senders(b *testing.B, kind, addr, key string, n int) []sender {
	b.Helper()
	all := make([]sender, n)
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	b.Cleanup(transport.CloseIdleConnections)
	for i := range all {
		c := benchClient{random: rand.New(rand.NewPCG(rand.Uint64(), 1)), reply: make([]byte, 4096)}
		c.take(benchRequest(key))
		if kind == "net/http" {
			all[i] = &stdClient{benchClient: c, http: &http.Client{Transport: transport}, url: "http://" + addr + "/v1/events", key: key}
			continue
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		c.conn = conn
		all[i] = &c
	}
	return all
}

// load is what a run of requests took.
type load struct {
	perSecond float64
	cpu       time.Duration // of the whole process, a request
	p50, p99  time.Duration
}

// run has the clients send n requests between them.
func run(b *testing.B, clients []sender, n int) load {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	times := make([][]time.Duration, len(clients))
	for _, c := range clients { // the connection is there before the clock runs
		if err := c.send(); err != nil {
			b.Fatal(err)
		}
	}
	var all sync.WaitGroup
	cpu, start := cpuTime(b), time.Now()
	for i, c := range clients {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				sent := time.Now()
				if err := c.send(); err != nil {
					b.Error(err)
					return
				}
				times[i] = append(times[i], time.Since(sent))
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	every := slices.Sorted(slices.Values(slices.Concat(times...)))
	return load{
		perSecond: float64(n) / took.Seconds(), cpu: (cpuTime(b) - cpu) / time.Duration(n),
		p50: every[len(every)/2], p99: every[len(every)*99/100],
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ceiling serves what no front door can beat: it reads the body and replies.
func ceiling(b *testing.B) string {
	routes := httprouter.New()
	routes.POST("/v1/events", func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			b.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true}`)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: routes}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return listener.Addr().String()
}

// BenchmarkFrontDoor compares the whole pipeline, fsync included, with the
// ceiling of the same run, for senders of two kinds. They run in the same
// process, so their cost is in both figures. GOMAXPROCS is above the cores, as
// the node sets it.
func BenchmarkFrontDoor(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(4, 2*runtime.NumCPU())))
	for _, kind := range []string{"bare", "net/http"} {
		for _, connections := range []int{64, 256} {
			b.Run(fmt.Sprintf("sender=%s/connections=%d", kind, connections), func(b *testing.B) {
				benchmarkFrontDoor(b, kind, connections)
			})
		}
	}
}

func benchmarkFrontDoor(b *testing.B, kind string, connections int) {
	door := routertest.Open(b, func(o *router.Options) {
		o.Limiter = ratelimit.New(ratelimit.Options{RequestsPerSecond: 1_000_000, Burst: 10_000_000})
	})
	key := door.AddKey(auth.Key{})
	n := max(b.N, connections)
	top := run(b, senders(b, kind, ceiling(b), key, connections), max(n, 20_000))
	clients := senders(b, kind, door.Serve(nil), key, connections)
	b.ResetTimer()
	got := run(b, clients, n)
	b.StopTimer()
	b.ReportMetric(got.perSecond, "requests/s")
	b.ReportMetric(top.perSecond, "ceiling/s")
	b.ReportMetric(got.perSecond/top.perSecond, "ratio")
	b.ReportMetric(float64(got.cpu.Nanoseconds())/1000, "cpu-µs")
	b.ReportMetric(float64(got.cpu)/float64(top.cpu), "cpu-ratio")
	b.ReportMetric(float64(got.p99.Microseconds()), "p99-µs")
	b.ReportMetric(float64(top.p99.Microseconds()), "ceiling-p99-µs")
	if tally := door.Router.Tally(); tally.Events.Accepted != uint64(benchEvents*(n+connections)) {
		b.Errorf("accepted %d of %d events: %v", tally.Events.Accepted, benchEvents*(n+connections), dropped(tally))
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

// BenchmarkPipeline is the router's own part of a request, without net/http and
// the log.
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
	cpu := cpuTime(b)
	for b.Loop() {
		client.renew()
		body.Reset(client.request[start:])
		door.Router.ServeHTTP(discard{http.Header{}}, req)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
	if got := door.Router.Tally().Events.Accepted; got != uint64(benchEvents*b.N) {
		b.Errorf("accepted %d of %d events", got, benchEvents*b.N)
	}
}
