package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	benchEvents        = 10
	idPlaceholder      = "00000000-0000-0000-0000-000000000000"
	sessionPlaceholder = "session-0000"
	benchSessions      = 1000 // that requests of one session each are drawn from
)

// benchRequest is a request of so many events of about 350 bytes, with placeholders
// for sessions and idempotency keys.
func benchRequest(key, session string, n int) []byte {
	return benchPost(key, benchBody(session, n, "Add"))
}

// benchBody is a batch of so many events, each with a text of its own.
func benchBody(session string, n int, text string) string {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"eventType":"click","timestamp":"%s","sessionId":"%s","route":"/products/shoes",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{"clientX":512,"clientY":%d,"text":"%s"},"environment":"production","idempotencyKey":"%s"}`,
			time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), session, 100+i, text, idPlaceholder)
	}
	return `{"sdk_version":"1.4.2","app_id":"shop","events":[` + strings.Join(events, ",") + `]}`
}

func benchPost(key, body string) []byte {
	return fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
		key, len(body), body)
}

// benchClient sends one request after the other.
type benchClient struct {
	request  []byte
	ids      []int // where the placeholders of IDs stand
	sessions []int // where those of a session stand that all events share
	random   *rand.Rand
	exchange func(request []byte) error // sends a request and waits for its reply
	close    func() error
	times    []time.Duration
	sent     int
}

// benchClientSeeds counts clients, so that each draws other identifiers.
var benchClientSeeds atomic.Uint64

// newBenchClient makes a client whose events each have a session of their own.
func newBenchClient(key string) *benchClient {
	return newBenchClientOf(benchRequest(key, idPlaceholder, benchEvents))
}

func newBenchClientOf(request []byte) *benchClient {
	return &benchClient{
		request: request, random: rand.New(rand.NewPCG(benchClientSeeds.Add(1), 1)),
		ids: allOf(request, idPlaceholder), sessions: allOf(request, sessionPlaceholder),
	}
}

// allOf finds where a placeholder stands.
func allOf(request []byte, placeholder string) (places []int) {
	for at := 0; ; {
		i := bytes.Index(request[at:], []byte(placeholder))
		if i < 0 {
			return places
		}
		places = append(places, at+i)
		at += i + len(placeholder)
	}
}

// dialBare makes a client with a connection of its own that costs as little as
// it can, so that nearly all that is measured is the server.
func dialBare(addr, key string) (*benchClient, error) { return newBenchClient(key).connect(addr) }

func (c *benchClient) connect(addr string) (*benchClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	reply := make([]byte, 4096)
	c.close = conn.Close
	c.exchange = func(request []byte) error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		for n := 0; n < len(reply); {
			m, err := conn.Read(reply[n:])
			if err != nil {
				return err
			}
			if n += m; bytes.HasSuffix(reply[:n], []byte("\r\n\r\n"+`{"success":true}`)) {
				return nil
			}
		}
		return errors.New("the reply is longer than any that was expected")
	}
	return c, nil
}

// dialHTTP makes a client that sends with net/http, as a sender in Go does.
func dialHTTP(addr, key string) (*benchClient, error) {
	c := newBenchClient(key)
	transport := new(http.Transport)
	c.close = func() error { transport.CloseIdleConnections(); return nil }
	body := bytes.Index(c.request, []byte("\r\n\r\n")) + 4
	c.exchange = func(request []byte) error {
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/events", bytes.NewReader(request[body:]))
		if err != nil {
			return err
		}
		req.Header.Set("X-API-Key", key)
		req.Header.Set("Content-Type", "application/json")
		reply, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, reply.Body); err != nil {
			return err
		}
		return reply.Body.Close()
	}
	return c, nil
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
	if len(c.sessions) > 0 {
		number := fmt.Appendf(nil, "%04d", c.random.IntN(benchSessions))
		for _, at := range c.sessions {
			copy(c.request[at+len(sessionPlaceholder)-len(number):], number)
		}
	}
}

// send sends one request, with fresh IDs, and waits for the reply.
func (c *benchClient) send() error {
	c.renew()
	began := time.Now()
	if err := c.exchange(c.request); err != nil {
		return err
	}
	c.times = append(c.times, time.Since(began))
	c.sent++
	return nil
}

// benchClients are the connections to one server.
type benchClients []*benchClient

// dialBench makes n clients and has each send one request, so that nothing is
// done for the first time while the clock runs.
func dialBench(n int, dial func(addr, key string) (*benchClient, error), addr, key string) (all benchClients, err error) {
	for range n {
		c, err := dial(addr, key)
		if err != nil {
			return all, err
		}
		all = append(all, c)
		if err := c.send(); err != nil {
			return all, err
		}
	}
	return all, nil
}

// load has all clients send for some time. It returns the time of each request,
// ascending, and how long it took altogether.
func (all benchClients) load(span time.Duration) (times []time.Duration, took time.Duration, err error) {
	var over atomic.Bool
	errs := make([]error, len(all))
	var running sync.WaitGroup
	began := time.Now()
	timer := time.AfterFunc(span, func() { over.Store(true) })
	defer timer.Stop()
	for i, c := range all {
		c.times = c.times[:0]
		running.Go(func() {
			for !over.Load() && errs[i] == nil {
				errs[i] = c.send()
			}
		})
	}
	running.Wait()
	took = time.Since(began)
	for _, c := range all {
		times = append(times, c.times...)
	}
	slices.Sort(times)
	return times, took, errors.Join(errs...)
}

func (all benchClients) sent() (n int) {
	for _, c := range all {
		n += c.sent
	}
	return n
}

func (all benchClients) close() {
	for _, c := range all {
		_ = c.close() // nothing is in flight
	}
}
