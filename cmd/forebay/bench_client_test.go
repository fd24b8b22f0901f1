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
	return fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
		key, len(body), body)
}

// benchClient sends one request after the other.
type benchClient struct {
	request  []byte
	ids      []int // where the placeholders stand
	random   *rand.Rand
	exchange func(request []byte) error // sends a request and waits for its reply
	close    func() error
	times    []time.Duration
	sent     int
}

func newBenchClient(key string) *benchClient {
	c := &benchClient{request: benchRequest(key), random: rand.New(rand.NewPCG(rand.Uint64(), 1))}
	for at := 0; ; {
		i := bytes.Index(c.request[at:], []byte(idPlaceholder))
		if i < 0 {
			return c
		}
		c.ids = append(c.ids, at+i)
		at += i + len(idPlaceholder)
	}
}

// dialBare makes a client with a connection of its own that costs as little as
// it can, so that nearly all that is measured is the server.
func dialBare(addr, key string) (*benchClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := newBenchClient(key)
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
