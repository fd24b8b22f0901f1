package router_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
)

// until polls a condition with a limit.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit.C:
			t.Fatalf("still not so: %s", what)
		case <-tick.C:
		}
	}
}

// With every place taken, further requests are shed and counted, and answered
// like all others. When the log moves again, so does everything.
func TestOverload(t *testing.T) {
	const places = 8
	entered, release := make(chan struct{}, 100), make(chan struct{})
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.MaxRequests = places
		o.Log = &gatedLog{Log: o.Log, entered: entered, release: release}
	})
	addr := door.Serve(nil)
	key, strict := door.AddKey(auth.Key{}), door.AddKey(auth.Key{Strict: true})
	body := aBatch(anEvent("s", ""))
	request := routertest.Post("/v1/events", body, "X-API-Key: "+key)
	replies := make([]routertest.Exchange, places)
	var all sync.WaitGroup
	for i := range places {
		all.Go(func() { replies[i] = routertest.Send(t, addr, request) })
	}
	for range places {
		<-entered
	}
	if s := door.Router.Stats(); s.Requests != places {
		t.Errorf("%+v", s)
	}
	const shed = 5 * places
	var first routertest.Exchange
	for i := range shed {
		exchange := routertest.Send(t, addr, request)
		if i == 0 {
			first = exchange
		}
		if diff := first.Diff(exchange); diff != "" {
			t.Error(diff)
		}
	}
	reply := post(door.Router, strict, "", []byte(body))
	if reply.Code != 503 || reply.Header().Get("Retry-After") != "1" || !strings.Contains(reply.Body.String(), "in_flight_requests") {
		t.Errorf("%d %s", reply.Code, reply.Body)
	}
	close(release)
	all.Wait()
	for _, exchange := range replies {
		if diff := exchange.Diff(first); diff != "" {
			t.Error(diff)
		}
	}
	routertest.Send(t, addr, request)
	tally := door.Router.Tally()
	balanced(t, tally)
	if n := len(door.Stored()); n != places+1 {
		t.Errorf("%d events stored", n)
	}
	if got := dropped(tally); fmt.Sprint(got) != fmt.Sprint(map[string]uint64{"overloaded": shed + 1}) {
		t.Errorf("dropped %v", got)
	}
}

// Slow senders without a key fill their share of the memory and no more: those
// with a key are not shed. Memory for bodies stays within its bound.
func TestSlowSendersTakeTheirShare(t *testing.T) {
	const limit = 256 << 10
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.MaxBytes = limit
	})
	addr := door.Serve(nil)
	slow := func(header string) net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n%s\r\n%s", header, strings.Repeat(" ", 15<<10))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for range 20 {
		slow("")
	}
	until(t, "the share of senders without a key is full", func() bool { return door.Router.Stats().Bytes >= limit/4-16<<10 })
	key := door.AddKey(auth.Key{})
	for range 20 {
		slow("X-API-Key: fbk_0123456789abcdef\r\n") // nothing of these is kept
	}
	request := routertest.Post("/v1/events", aBatch(anEvent("s", "")), "X-API-Key: "+key)
	if exchange := routertest.Send(t, addr, request); !exchange.Open {
		t.Errorf("%+v", exchange)
	}
	if n := len(door.Stored()); n != 1 {
		t.Errorf("%d events stored", n)
	}
	// With a key the rest of the memory can be filled, and then it is full.
	for range 40 {
		slow("X-API-Key: " + key + "\r\n")
	}
	until(t, "all memory is taken", func() bool { return door.Router.Stats().Bytes >= limit-32<<10 })
	routertest.Send(t, addr, routertest.Post("/v1/events", strings.Repeat(" ", 100<<10), "X-API-Key: "+key))
	if got := lastDrop(door.Router); got != "overloaded  in_flight_bytes" {
		t.Errorf("dropped as %q", got)
	}
	if s := door.Router.Stats(); s.Bytes > limit {
		t.Errorf("%d bytes are out, over %d", s.Bytes, limit)
	}
}

// Many times the load that the places and the memory allow: every request is
// answered alike, every one is counted, and what was not shed is stored.
func TestFlood(t *testing.T) {
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.MaxRequests, o.MaxBytes = 4, 96<<10
	})
	addr := door.Serve(nil)
	key := door.AddKey(auth.Key{})
	request := routertest.Post("/v1/events", aBatch(anEvent("s", ""))+strings.Repeat(" ", 6000), "X-API-Key: "+key)
	const senders, each = 48, 10
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for range each {
				if exchange := routertest.Send(t, addr, request); exchange.Body != `{"success":true}` || !exchange.Open {
					t.Errorf("%+v", exchange)
				}
			}
		})
	}
	all.Wait()
	tally := door.Router.Tally()
	balanced(t, tally)
	drops := dropped(tally)
	if tally.Requests.Received != senders*each || tally.Events.Accepted+drops["overloaded"]+drops["storage"] != senders*each {
		t.Errorf("received %d, accepted %d, dropped %v", tally.Requests.Received, tally.Events.Accepted, drops)
	}
	if n := len(door.Stored()); uint64(n) != tally.Events.Accepted || n == 0 {
		t.Errorf("%d events stored, %d accepted", n, tally.Events.Accepted)
	}
	if s := door.Router.Stats(); s != (router.Stats{}) {
		t.Errorf("left behind: %+v", s)
	}
	// And at once all is well again.
	before := tally.Events.Accepted
	for range 20 {
		routertest.Send(t, addr, request)
	}
	if got := door.Router.Tally().Events.Accepted; got != before+20 {
		t.Errorf("%d of 20 accepted after the flood", got-before)
	}
}
