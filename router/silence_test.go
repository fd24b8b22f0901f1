package router_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/routertest"
	"forebay/wal"
)

// transports are the ways in which a request can be put on a connection.
var transports = map[string]func(path, body string, headers ...string) string{
	"length": routertest.Post,
	"chunked": func(path, body string, headers ...string) string {
		var b strings.Builder
		b.WriteString("POST " + path + " HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n")
		for len(body) > 0 {
			n := min(len(body), 1000)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return b.String() + "0\r\n\r\n"
	},
	"expect": func(path, body string, headers ...string) string {
		return routertest.Post(path, body, append(headers, "Expect: 100-continue")...)
	},
	"old": func(path, body string, headers ...string) string {
		return strings.Replace(routertest.Post(path, body, append(headers, "Connection: keep-alive")...), "HTTP/1.1", "HTTP/1.0", 1)
	},
	"closing": func(path, body string, headers ...string) string {
		return routertest.Post(path, body, append(headers, "Connection: close")...)
	},
}

// A sender cannot tell from the reply, nor from the connection, what became of
// its request: every outcome looks like that of a stored batch.
func TestSilence(t *testing.T) {
	log := &failingLog{}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		log.Log = o.Log
		o.Log = log
	})
	addr := door.Serve(nil)
	good := door.AddKey(auth.Key{})
	limited := door.AddKey(auth.Key{RequestsPerSecond: 1e-9, Burst: 1})
	revoked := door.AddKey(auth.Key{RevokedAt: testNow.Add(-time.Hour)})
	expired := door.AddKey(auth.Key{ExpiresAt: testNow})
	origins := door.AddKey(auth.Key{Origins: []string{"https://shop.example"}})
	routertest.Send(t, addr, routertest.Post("/v1/events", "", "X-API-Key: "+limited)) // takes its only token

	event, batch := anEvent("s", ""), aBatch(anEvent("s", ""))
	repeated := aBatch(anEvent("s", `,"idempotencyKey":"again"`))
	routertest.Send(t, addr, routertest.Post("/v1/events", repeated, "X-API-Key: "+good))
	bomb := compress(t, "gzip", strings.Repeat(" ", 4<<20))
	tests := []struct {
		name    string
		key     string
		body    string
		headers []string
		path    string
		drop    string // the drop that operators see
		log     error
	}{
		{name: "no key", body: batch, drop: "unauthorized  key_missing"},
		{name: "unknown key", key: "fbk_0123456789abcdef", body: batch, drop: "unauthorized  key_unknown"},
		{name: "malformed key", key: "k", body: batch, drop: "unauthorized  key_malformed"},
		{name: "revoked key", key: revoked, body: batch, drop: "unauthorized  key_revoked"},
		{name: "expired key", key: expired, body: batch, drop: "unauthorized  key_expired"},
		{name: "foreign origin", key: origins, body: batch, drop: "unauthorized  origin"},
		{name: "rate limited", key: limited, body: batch, drop: "rate_limited  "},
		{name: "blank body", key: good, body: " ", drop: "malformed  syntax"},
		{name: "garbage", key: good, body: "\x00\xff garbage", drop: "malformed  syntax"},
		{name: "unknown key and garbage", key: "fbk_0123456789abcdef", body: "garbage", drop: "unauthorized  key_unknown"},
		{name: "no events", key: good, body: "{}", drop: "malformed events missing"},
		{name: "media type", key: good, body: batch, headers: []string{"Content-Type: image/png"}, drop: "malformed  media_type"},
		{name: "encoding", key: good, body: batch, headers: []string{"Content-Encoding: lzma"}, drop: "malformed  encoding"},
		{name: "two encodings", key: good, body: batch, headers: []string{"Content-Encoding: gzip, br"}, drop: "malformed  encoding"},
		{name: "corrupt gzip", key: good, body: batch, headers: []string{"Content-Encoding: gzip"}, drop: "malformed  corrupt"},
		{name: "bomb", key: good, body: bomb, headers: []string{"Content-Encoding: gzip"}, drop: "too_large  batch_bytes"},
		{name: "bomb without a key", body: bomb, headers: []string{"Content-Encoding: gzip"}, drop: "too_large  batch_bytes"},
		{name: "large", key: good, body: aBatch(strings.Repeat(" ", 600<<10)), drop: "too_large  batch_bytes"},
		{name: "many events", key: good, body: aBatch(strings.TrimSuffix(strings.Repeat(event+",", 101), ",")), drop: "too_large  batch_events"},
		{name: "invalid event", key: good, body: aBatch("{}"), drop: "invalid eventType missing"},
		{name: "single invalid event", key: good, body: "{}", path: "/v1/event", drop: "invalid eventType missing"},
		{name: "duplicate", key: good, body: repeated, drop: "duplicate idempotencyKey "},
		{name: "log unavailable", key: good, body: batch, log: &wal.UnavailableError{Cause: errors.New("disk")}, drop: "storage  log_unavailable"},
		{name: "backlog", key: good, body: batch, log: wal.ErrOverloaded, drop: "storage  append_backlog"},
		{name: "lines", key: good, body: "x\ny\n", headers: []string{"Content-Type: application/x-ndjson"}, drop: "invalid  syntax"},
	}
	for transport, write := range transports {
		reference := routertest.Send(t, addr, write("/v1/events", batch, "X-API-Key: "+good))
		if reference.Status != 200 || reference.Body != `{"success":true}` {
			t.Fatalf("%s: %d %s", transport, reference.Status, reference.Body)
		}
		if reference.Open != (transport != "closing") {
			t.Errorf("%s: the connection is open: %v", transport, reference.Open)
		}
		for _, tt := range tests {
			t.Run(transport+"/"+tt.name, func(t *testing.T) {
				log.fail(tt.log)
				defer log.fail(nil)
				path, headers := "/v1/events", tt.headers
				if tt.path != "" {
					path = tt.path
				}
				if tt.key != "" {
					headers = append(headers, "X-API-Key: "+tt.key)
				}
				exchange := routertest.Send(t, addr, write(path, tt.body, headers...))
				if diff := reference.Diff(exchange); diff != "" {
					t.Error(diff)
				}
				if got := lastDrop(door.Router); got != tt.drop {
					t.Errorf("dropped as %q, want %q", got, tt.drop)
				}
			})
		}
	}
	tally := door.Router.Tally()
	balanced(t, tally)
	if stored := door.Stored(); uint64(len(stored)) != tally.Events.Accepted {
		t.Errorf("%d events stored, %d counted as accepted", len(stored), tally.Events.Accepted)
	}
}

// Past the wire cap, and on a body that breaks off, the connection ends, for
// known and unknown keys in the same way.
func TestSilencePastTheWireCap(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	addr := door.Serve(nil)
	good := "X-API-Key: " + door.AddKey(auth.Key{})
	bad := "X-API-Key: fbk_0123456789abcdef"
	big := strings.Repeat("x", 3<<20)
	for _, transport := range []string{"length", "chunked", "expect"} {
		write := transports[transport]
		reference := routertest.Send(t, addr, write("/v1/events", big, good))
		if reference.Status != 200 || reference.Body != `{"success":true}` || reference.Open {
			t.Errorf("%s: %+v", transport, reference)
		}
		if got := lastDrop(door.Router); got != "too_large  wire_bytes" {
			t.Errorf("%s: dropped as %q", transport, got)
		}
		if diff := reference.Diff(routertest.Send(t, addr, write("/v1/events", big, bad))); diff != "" {
			t.Errorf("%s: %s", transport, diff)
		}
	}
	chunk := "POST /v1/events HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n%s\r\n\r\nnot a chunk\r\n\r\n"
	reference := routertest.Send(t, addr, fmt.Sprintf(chunk, good))
	if got := lastDrop(door.Router); got != "malformed  read" || reference.Open {
		t.Errorf("dropped as %q, open: %v", got, reference.Open)
	}
	if diff := reference.Diff(routertest.Send(t, addr, fmt.Sprintf(chunk, bad))); diff != "" {
		t.Error(diff)
	}
	balanced(t, door.Router.Tally())
}

// A body that comes too slowly ends like one that breaks off.
func TestSilenceOfSlowBodies(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	addr := door.Serve(func(o *router.ServerOptions) { o.ReadTimeout = 100 * time.Millisecond })
	var replies []routertest.Exchange
	for _, key := range []string{door.AddKey(auth.Key{}), "fbk_0123456789abcdef"} {
		request := "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\nX-API-Key: " + key + "\r\n\r\n{"
		replies = append(replies, routertest.Send(t, addr, request))
	}
	if diff := replies[0].Diff(replies[1]); diff != "" {
		t.Error(diff)
	}
	if replies[0].Status != 200 || replies[0].Open {
		t.Errorf("%+v", replies[0])
	}
	balanced(t, door.Router.Tally())
}
