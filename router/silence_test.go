package router_test

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// outcome is something that can become of a request.
type outcome struct {
	name    string
	at      *silentDoor // where it happens; nil: where all else does
	key     string
	body    string
	headers []string
	path    string
	drop    string // the drop that operators see
	log     error
}

// silentDoor is a door that speaks HTTP/1.1 and HTTP/2.
type silentDoor struct {
	*routertest.Door
	plain, tls string // addresses
	log        *failingLog
}

func openSilentDoor(t *testing.T, certFile, keyFile string, configure func(*router.Options)) *silentDoor {
	t.Helper()
	d := &silentDoor{log: &failingLog{}}
	d.Door = routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		if configure != nil {
			configure(o)
		}
		d.log.Log = o.Log
		o.Log = d.log
	})
	d.plain = d.Serve(nil)
	d.tls = d.Serve(func(o *router.ServerOptions) { o.CertFile, o.KeyFile = certFile, keyFile })
	return d
}

// blocked is a door where one request is being stored all the time, which
// takes all the places there are.
func openBlockedDoor(t *testing.T, certFile, keyFile string, configure func(*router.Options)) *silentDoor {
	t.Helper()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	d := openSilentDoor(t, certFile, keyFile, func(o *router.Options) {
		o.Log = &gatedLog{Log: o.Log, entered: entered, release: release}
		configure(o)
	})
	var first sync.WaitGroup
	body := []byte(aBatch(anEvent("s", "")))
	key := d.AddKey(auth.Key{})
	first.Go(func() { post(d.Router, key, "", body) })
	<-entered
	t.Cleanup(func() { close(release); first.Wait() })
	return d
}

// openOutcomes returns a door, a request that is stored there, and all that can
// become of requests instead.
func openOutcomes(t *testing.T) (*silentDoor, outcome, []outcome) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	door := openSilentDoor(t, certFile, keyFile, nil)
	small := openSilentDoor(t, certFile, keyFile, func(o *router.Options) { o.MaxBytes = 16 << 10 })
	busy := openBlockedDoor(t, certFile, keyFile, func(o *router.Options) { o.MaxRequests = 1 })
	crowded := openBlockedDoor(t, certFile, keyFile, func(o *router.Options) { o.MaxWaiting = 1 })
	broken := openSilentDoor(t, certFile, keyFile, func(o *router.Options) { o.Log = &panickingLog{Log: o.Log} })

	good := door.AddKey(auth.Key{})
	limited := door.AddKey(auth.Key{RequestsPerSecond: 1e-9, Burst: 1})
	revoked := door.AddKey(auth.Key{RevokedAt: testNow.Add(-time.Hour)})
	expired := door.AddKey(auth.Key{ExpiresAt: testNow})
	origins := door.AddKey(auth.Key{Origins: []string{"https://shop.example"}})
	routertest.Send(t, door.plain, routertest.Post("/v1/events", "", "X-API-Key: "+limited)) // takes its only token

	event, batch := anEvent("s", ""), aBatch(anEvent("s", ""))
	repeated := aBatch(anEvent("s", `,"idempotencyKey":"again"`))
	routertest.Send(t, door.plain, routertest.Post("/v1/events", repeated, "X-API-Key: "+good))
	bomb := compress(t, "gzip", strings.Repeat(" ", 4<<20))
	const unknown = "fbk_0123456789abcdef"
	return door, outcome{name: "stored", key: good, body: batch}, []outcome{
		{name: "stored as one event", key: good, body: event, path: "/v1/event"},
		{name: "stored in part", key: good, body: aBatch(event, "{}"), drop: "invalid eventType missing"},
		{name: "nothing to store", key: good, body: aBatch()},
		{name: "no key", body: batch, drop: "unauthorized  key_missing"},
		{name: "unknown key", key: unknown, body: batch, drop: "unauthorized  key_unknown"},
		{name: "malformed key", key: "k", body: batch, drop: "unauthorized  key_malformed"},
		{name: "revoked key", key: revoked, body: batch, drop: "unauthorized  key_revoked"},
		{name: "expired key", key: expired, body: batch, drop: "unauthorized  key_expired"},
		{name: "foreign origin", key: origins, body: batch, drop: "unauthorized  origin"},
		{name: "rate limited", key: limited, body: batch, drop: "rate_limited  "},
		{name: "blank body", key: good, body: " ", drop: "malformed  syntax"},
		{name: "garbage", key: good, body: "\x00\xff garbage", drop: "malformed  syntax"},
		{name: "unknown key and garbage", key: unknown, body: "garbage", drop: "unauthorized  key_unknown"},
		{name: "no events", key: good, body: "{}", drop: "malformed events missing"},
		{name: "media type", key: good, body: batch, headers: []string{"Content-Type: image/png"}, drop: "malformed  media_type"},
		{name: "encoding", key: good, body: batch, headers: []string{"Content-Encoding: lzma"}, drop: "malformed  encoding"},
		{name: "two encodings", key: good, body: batch, headers: []string{"Content-Encoding: gzip, br"}, drop: "malformed  encoding"},
		{name: "corrupt gzip", key: good, body: batch, headers: []string{"Content-Encoding: gzip"}, drop: "malformed  corrupt"},
		{name: "bomb", key: good, body: bomb, headers: []string{"Content-Encoding: gzip"}, drop: "too_large  batch_bytes"},
		{name: "bomb without a key", body: bomb, headers: []string{"Content-Encoding: gzip"}, drop: "too_large  batch_bytes"},
		{name: "large", key: good, body: aBatch(strings.Repeat(" ", 600<<10)), drop: "too_large  batch_bytes"},
		{name: "large, unknown key", key: unknown, body: aBatch(strings.Repeat(" ", 600<<10)), drop: "unauthorized  key_unknown"},
		{name: "many events", key: good, body: aBatch(strings.TrimSuffix(strings.Repeat(event+",", 101), ",")), drop: "too_large  batch_events"},
		{name: "invalid event", key: good, body: aBatch("{}"), drop: "invalid eventType missing"},
		{name: "single invalid event", key: good, body: "{}", path: "/v1/event", drop: "invalid eventType missing"},
		{name: "personal data", key: good, body: aBatch(anEvent("s", `,"note":"ann@example.com"`)), drop: "privacy note email"},
		{name: "personal data of the sender", key: good, body: strings.Replace(batch, `"shop"`, `"ann@example.com"`, 1), drop: "privacy app_id email"},
		{name: "duplicate", key: good, body: repeated, drop: "duplicate idempotencyKey "},
		{name: "log unavailable", key: good, body: batch, log: &wal.UnavailableError{Cause: errors.New("disk")}, drop: "storage  log_unavailable"},
		{name: "disk full", key: good, body: batch, log: &wal.UnavailableError{Cause: syscall.ENOSPC}, drop: "storage  log_unavailable"},
		{name: "backlog", key: good, body: batch, log: wal.ErrOverloaded, drop: "storage  append_backlog"},
		{name: "lines", key: good, body: "x\ny\n", headers: []string{"Content-Type: application/x-ndjson"}, drop: "invalid  syntax"},
		{name: "no room for the body", at: small, key: small.AddKey(auth.Key{}), body: batch + strings.Repeat(" ", 20<<10), drop: "overloaded  in_flight_bytes"},
		{name: "no place", at: busy, key: busy.AddKey(auth.Key{}), body: batch, drop: "overloaded  in_flight_requests"},
		{name: "too many wait", at: crowded, key: crowded.AddKey(auth.Key{}), body: batch, drop: "overloaded  waiting_requests"},
		{name: "a bug", at: broken, key: broken.AddKey(auth.Key{}), body: batch, drop: "storage  internal"},
	}
}

// request is the outcome's path and headers.
func (o *outcome) request() (path string, headers []string) {
	path, headers = cmp.Or(o.path, "/v1/events"), slices.Clip(o.headers)
	if o.key != "" {
		headers = append(headers, "X-API-Key: "+o.key)
	}
	return path, headers
}

// happens sends a request for the outcome and fails the test if something else
// became of it.
func (o *outcome) happens(t *testing.T, usual *silentDoor, send func(*silentDoor)) {
	t.Helper()
	door := usual
	if o.at != nil {
		door = o.at
	}
	door.log.fail(o.log)
	defer door.log.fail(nil)
	before := dropsOf(door)
	send(door)
	if after := dropsOf(door); (after > before) != (o.drop != "") {
		t.Errorf("%d drops", after-before)
	} else if got := lastDrop(door.Router); o.drop != "" && got != o.drop {
		t.Errorf("dropped as %q, want %q", got, o.drop)
	}
}

func dropsOf(door *silentDoor) uint64 {
	last := door.Router.Drops(1)
	if len(last) == 0 {
		return 0
	}
	return last[0].Number
}

// ends are what a sender can do about its connection besides sending a request
// and waiting for the reply: what follows the request.
var ends = map[string]string{
	"and nothing more": "",
	"trailing bytes":   "trailing bytes\r\n\r\n",
	"another request":  "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n",
	"half a request":   "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf",
}

// A sender cannot tell from the reply, nor from the connection, what became of
// its request: every outcome looks like that of a stored batch.
func TestSilence(t *testing.T) {
	door, stored, outcomes := openOutcomes(t)
	for transport, write := range transports {
		path, headers := stored.request()
		reference := routertest.Send(t, door.plain, write(path, stored.body, headers...))
		if reference.Status != 200 || reference.Body != `{"success":true}` {
			t.Fatalf("%s: %d %s", transport, reference.Status, reference.Body)
		}
		if reference.Open != (transport != "closing") {
			t.Errorf("%s: the connection is open: %v", transport, reference.Open)
		}
		for _, o := range outcomes {
			t.Run(transport+"/"+o.name, func(t *testing.T) {
				o.happens(t, door, func(d *silentDoor) {
					path, headers := o.request()
					if diff := reference.Diff(routertest.Send(t, d.plain, write(path, o.body, headers...))); diff != "" {
						t.Error(diff)
					}
				})
			})
		}
	}
	for end, more := range ends {
		path, headers := stored.request()
		reference := routertest.SendAll(t, door.plain, routertest.Post(path, stored.body, headers...)+more)
		if n := strings.Count(reference, "HTTP/1.1 "); n != 2 && more != "" || !strings.Contains(reference, `{"success":true}`) {
			t.Errorf("%s: %d replies: %q", end, n, reference)
		}
		for _, o := range outcomes {
			if end == "half a request" && o.at != nil {
				continue // what becomes of the half request hides what is looked for
			}
			t.Run(end+"/"+o.name, func(t *testing.T) {
				send := func(d *silentDoor) {
					path, headers := o.request()
					if got := routertest.SendAll(t, d.plain, routertest.Post(path, o.body, headers...)+more); got != reference {
						t.Errorf("replies differ:\n%q\n%q", reference, got)
					}
				}
				if end == "half a request" {
					send(door)
					return
				}
				o.happens(t, door, send)
			})
		}
	}
	path, headers := stored.request()
	reference := routertest.SendExpecting(t, door.plain, transports["expect"](path, stored.body, headers...))
	for _, o := range outcomes {
		t.Run("continue/"+o.name, func(t *testing.T) {
			o.happens(t, door, func(d *silentDoor) {
				path, headers := o.request()
				if diff := reference.Diff(routertest.SendExpecting(t, d.plain, transports["expect"](path, o.body, headers...))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
	tally := door.Router.Tally()
	balanced(t, tally)
	if stored := door.Stored(); uint64(len(stored)) != tally.Events.Accepted {
		t.Errorf("%d events stored, %d counted as accepted", len(stored), tally.Events.Accepted)
	}
}

// The same over HTTP/2, frame by frame.
func TestSilenceHTTP2(t *testing.T) {
	door, stored, outcomes := openOutcomes(t)
	for _, shape := range []routertest.Shape{{}, {Length: true}, {Length: true, Expect: true}, {Trailer: true, Frame: 1000}} {
		path, headers := stored.request()
		reference := routertest.SendHTTP2(t, door.tls, shape, path, stored.body, headers...)
		if !strings.Contains(reference, "success") || !strings.Contains(reference, ":status: 404") {
			t.Fatalf("%+v: %s", shape, reference)
		}
		for _, o := range outcomes {
			t.Run(fmt.Sprintf("%+v/%s", shape, o.name), func(t *testing.T) {
				o.happens(t, door, func(d *silentDoor) {
					path, headers := o.request()
					if got := routertest.SendHTTP2(t, d.tls, shape, path, o.body, headers...); got != reference {
						t.Errorf("replies differ:\n%s\n%s", reference, got)
					}
				})
			})
		}
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
	for _, header := range []string{
		"X-API-Key: " + door.AddKey(auth.Key{}), "X-API-Key: fbk_0123456789abcdef", "X-API-Key: k", "X-Nothing: here",
		"X-API-Key: " + door.AddKey(auth.Key{RevokedAt: testNow}), "X-API-Key: " + door.AddKey(auth.Key{RequestsPerSecond: 1e-9, Burst: 1}),
	} {
		for _, begun := range []string{"", "{", "garbage"} {
			request := "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n" + header + "\r\n\r\n" + begun
			replies = append(replies, routertest.Send(t, addr, request))
			if diff := replies[0].Diff(replies[len(replies)-1]); diff != "" {
				t.Errorf("%s, %q: %s", header, begun, diff)
			}
		}
	}
	if replies[0].Status != 200 || replies[0].Open {
		t.Errorf("%+v", replies[0])
	}
	balanced(t, door.Router.Tally())
}
