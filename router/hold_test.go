package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forebay/router/auth"
	"forebay/router/dedupe"
	"forebay/router/ratelimit"
	"forebay/wal"
	"forebay/wal/seedtest"
)

// scriptedLog stores nothing, and takes a scripted time for it.
type scriptedLog struct {
	mu   sync.Mutex
	took func(call int) time.Duration
	err  error
	call int
	seq  uint64
}

func (l *scriptedLog) Append(_ context.Context, e wal.Entry) (uint64, error) {
	l.mu.Lock()
	took, err := l.took(l.call), l.err
	l.call++
	first := l.seq + 1
	l.seq += uint64(e.Events)
	l.mu.Unlock()
	<-time.After(took)
	return first, err
}

func (l *scriptedLog) takes(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = func(int) time.Duration { return d }
}

// heldDoor is a router in a bubble of synctest, whose log is scripted.
type heldDoor struct {
	*Router
	log          *scriptedLog
	good, strict string
}

func newHeldDoor(t *testing.T, configure func(*Options)) *heldDoor {
	t.Helper()
	d := &heldDoor{log: &scriptedLog{}}
	d.log.takes(0)
	keys := auth.NewDirectory(0)
	var all []auth.Key
	for _, into := range []*string{&d.good, &d.strict} {
		text, digest := auth.Generate()
		all = append(all, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Strict: into == &d.strict})
		*into = text
	}
	if err := keys.Replace(all); err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Log: d.log, Keys: keys, Window: dedupe.New(dedupe.Options{}), Hasher: dedupe.NewHasher([16]byte{1}),
		Limiter: ratelimit.New(ratelimit.Options{RequestsPerSecond: 1e6, Burst: 1_000_000}),
	}
	if configure != nil {
		configure(&opts)
	}
	var err error
	if d.Router, err = New(opts); err != nil {
		t.Fatal(err)
	}
	d.holding.alarm.fine = func(time.Duration) bool { return false } // the kernel's time is not the bubble's
	return d
}

const wrongKey = "fbk_0123456789abcdef"

// aRequest is a batch of one event, blown up to about the given size.
func aRequest(key string, size int, extra string) *http.Request {
	body := fmt.Sprintf(`{"events":[{"eventType":"click","timestamp":%q,"sessionId":"s","route":"/","target":{"type":"page"}%s}]}`,
		time.Now().UTC().Format(time.RFC3339), extra)
	body += strings.Repeat(" ", max(size-len(body), 0))
	req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
	req.Header.Set("X-API-Key", key)
	return req
}

// answer is how long the reply to a request takes.
func (d *heldDoor) answer(req *http.Request) time.Duration {
	begun := time.Now()
	d.ServeHTTP(httptest.NewRecorder(), req)
	return time.Since(begun)
}

// Before anything has been stored a reply is held for a time of the stated
// range, give or take what it is set earlier or later.
func TestHoldBeforeAnythingIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		seen := map[time.Duration]bool{}
		for range 200 {
			took := d.answer(aRequest(wrongKey, 0, ""))
			if took < firstHoldMin-firstHoldMin/4 || took > firstHoldMax+firstHoldMax/4 {
				t.Errorf("held for %s", took)
			}
			seen[took] = true
		}
		if len(seen) < 100 {
			t.Errorf("only %d different times", len(seen))
		}
	})
}

// No threshold on the time separates refused requests from stored ones, though
// those take very different times as a sync is at its beginning or its end, and
// though one takes forever now and then.
func TestHoldDrawsFromStoredTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, draw := newHeldDoor(t, nil), seedtest.New(t)
		script := []time.Duration{3 * time.Millisecond, 4 * time.Millisecond, 30 * time.Millisecond, 4 * time.Millisecond, 7 * time.Millisecond}
		d.log.took = func(call int) time.Duration {
			if call%100 == 99 {
				return 800 * time.Millisecond
			}
			return script[call%len(script)] + time.Duration(draw.IntN(500_000))
		}
		var stored, refused []time.Duration
		for range 3000 {
			stored = append(stored, d.answer(aRequest(d.good, 0, "")))
			refused = append(refused, d.answer(aRequest(wrongKey, 0, "")))
		}
		if got := areaUnderCurve(stored[100:], refused[100:]); got < leastArea || got > mostArea {
			t.Errorf("a threshold separates them with an area of %.3f", got)
		}
		// The tail is drawn as often as it happens, too: 30 times of 3000. Fewer than 6 come by chance once in ten millions.
		long := func(all []time.Duration) (n int) {
			for _, took := range all {
				if took > 100*time.Millisecond {
					n++
				}
			}
			return n
		}
		if n := long(refused); n < 6 || n > 90 {
			t.Errorf("%d long holds of 3000, where %d of the stored ones took as long", n, long(stored))
		}
	})
}

// leastArea and mostArea bound the area that WIRE.md promises.
const leastArea, mostArea = 0.45, 0.55

// areaUnderCurve is the chance that a refused request took longer than a stored
// one: 0.5 if the time tells nothing.
func areaUnderCurve(stored, refused []time.Duration) float64 {
	stored = slices.Sorted(slices.Values(stored))
	sum := 0.0
	for _, took := range refused {
		below, _ := slices.BinarySearch(stored, took)
		upTo, _ := slices.BinarySearch(stored, took+1)
		sum += float64(below) + float64(upTo-below)/2
	}
	return sum / float64(len(stored)) / float64(len(refused))
}

// about fails the test unless a hold took what was drawn, or was set earlier by no
// more than it may be.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want-want/4 || got > want {
		t.Errorf("%s: took %s, want %s", what, got, want)
	}
}

// Times are drawn by the size of the body, compressed bodies apart. A class of
// which nothing is known takes the nearest one's.
func TestHoldByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		zipped := func(req *http.Request) *http.Request {
			req.Header.Set("Content-Encoding", "identity, none") // refused, but compressed as far as the class goes
			return req
		}
		for size, took := range map[int]time.Duration{500: 5 * time.Millisecond, 3000: 20 * time.Millisecond, 100_000: 70 * time.Millisecond} {
			d.log.takes(took)
			for range fewTimes {
				d.answer(aRequest(d.good, size, ""))
			}
		}
		for size, want := range map[int]time.Duration{
			500: 5 * time.Millisecond, 3000: 20 * time.Millisecond, 2049: 20 * time.Millisecond, 4096: 20 * time.Millisecond, 100_000: 70 * time.Millisecond,
			5000: 20 * time.Millisecond, 60_000: 70 * time.Millisecond, 400_000: 70 * time.Millisecond,
		} {
			about(t, fmt.Sprint(size), d.answer(aRequest(wrongKey, size, "")), want)
			about(t, fmt.Sprint(size, " compressed"), d.answer(zipped(aRequest(d.good, size, ""))), want)
		}
		s := span{read: time.Now().Add(-time.Second), class: sizeClass(500), encoded: true}
		for range fewTimes {
			d.holding.stored(s)
		}
		about(t, "compressed, once those are known", d.answer(zipped(aRequest(d.good, 500, ""))), time.Second)
		about(t, "plain", d.answer(aRequest(wrongKey, 500, "")), 5*time.Millisecond)
	})
}

// Old times are forgotten as soon as there are new ones, and not before.
func TestHoldForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		d.log.takes(90 * time.Millisecond)
		for range 500 {
			d.answer(aRequest(d.good, 0, ""))
		}
		time.Sleep(24 * time.Hour)
		about(t, "a day later", d.answer(aRequest(wrongKey, 0, "")), 90*time.Millisecond)
		d.log.takes(10 * time.Millisecond)
		for range fewTimes {
			d.answer(aRequest(d.good, 0, ""))
		}
		for range 200 {
			about(t, "after new ones", d.answer(aRequest(wrongKey, 0, "")), 10*time.Millisecond)
		}
	})
}

// A hold is bounded, and counts from the body's last byte: what a request took
// by itself is not added.
func TestHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		d.log.takes(50 * time.Millisecond)
		for range fewTimes {
			d.answer(aRequest(d.good, 0, ""))
		}
		d.log.err = errors.New("no disk")
		for _, own := range []time.Duration{0, 20 * time.Millisecond, 80 * time.Millisecond} {
			d.log.takes(own)
			about(t, "after "+own.String()+" of its own", d.answer(aRequest(d.good, 0, "")), max(own, 50*time.Millisecond))
		}
		d.log.err = nil
		d.log.takes(time.Minute)
		for range keptTimes {
			d.holding.stored(span{read: time.Now().Add(-time.Minute)})
		}
		about(t, "where storing takes a minute", d.answer(aRequest(wrongKey, 0, "")), defaultMaxHold)
	})
}

// Whatever it is that nothing is stored of a request, it is held; strict
// senders, and senders whose body has no end, are answered at once.
func TestWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, func(o *Options) { o.WireBytes = 10_000 })
		const took = 40 * time.Millisecond
		d.log.takes(took)
		for range fewTimes {
			d.answer(aRequest(d.good, 0, ""))
		}
		d.answer(aRequest(d.good, 0, `,"idempotencyKey":"again"`))
		with := func(key, body string) *http.Request {
			req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
			req.Header.Set("X-API-Key", key)
			return req
		}
		for name, req := range map[string]*http.Request{
			"wrong key":    aRequest(wrongKey, 0, ""),
			"no key":       with("", "{}"),
			"garbage":      with(d.good, "garbage"),
			"privacy":      aRequest(d.good, 0, `,"metadata":{"email":"x"}`),
			"duplicate":    aRequest(d.good, 0, `,"idempotencyKey":"again"`),
			"no events":    with(d.good, `{"events":[]}`),
			"stored":       aRequest(d.good, 0, ""),
			"batch bytes":  with(d.good, strings.Repeat(" ", 9000)),
			"stored, kept": aRequest(d.strict, 0, ""),
		} {
			about(t, name, d.answer(req), took)
		}
		for name, req := range map[string]*http.Request{
			"strict garbage": with(d.strict, "garbage"),
			"wire cap":       with(d.good, strings.Repeat(" ", 10_001)),
		} {
			about(t, name, d.answer(req), 0)
		}
	})
}

// Held requests hold neither memory for bodies nor a place among those that are
// handled, start no goroutine, and are bounded in number: past that everybody
// is refused, and answered at once, known or not.
func TestHeldRequestsAreBounded(t *testing.T) {
	const places = 50
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, func(o *Options) { o.MaxWaiting, o.MaxRequests = places, 2 })
		d.log.takes(time.Second)
		d.answer(aRequest(d.good, 0, ""))
		d.log.takes(0)
		var all sync.WaitGroup
		for i := range places {
			all.Go(func() {
				about(t, "held", d.answer(aRequest([]string{wrongKey, d.good}[i%2], 3000, `,"metadata":{"email":"x"}`)), time.Second)
			})
			synctest.Wait() // it is held
		}
		if s := d.Stats(); s != (Stats{Waiting: places}) {
			t.Errorf("while they are held: %+v", s)
		}
		for range 10 {
			for _, key := range []string{d.good, wrongKey} {
				about(t, "past the bound", d.answer(aRequest(key, 3000, "")), 0)
				if last := d.Drops(1)[0]; last.Reason != "overloaded" || last.Rule != string(ruleWaiting) {
					t.Errorf("%+v", last)
				}
			}
		}
		all.Wait()
		if s := d.Stats(); s != (Stats{}) {
			t.Errorf("left behind: %+v", s)
		}
		d.answer(aRequest(d.good, 0, ""))
		if n := d.Tally().Events.Accepted; n != 2 {
			t.Errorf("%d events accepted", n)
		}
	})
}

// A stream that its sender has reset is held no longer. A connection of HTTP/1
// on which nothing more will come is: its sender may be waiting for the reply.
func TestHoldEndsWithItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		d.log.takes(1500 * time.Millisecond)
		d.answer(aRequest(d.good, 0, ""))
		for major, want := range map[int]time.Duration{1: 1500 * time.Millisecond, 2: 300 * time.Millisecond} {
			ctx, leave := context.WithCancel(t.Context())
			time.AfterFunc(300*time.Millisecond, leave)
			req := aRequest(wrongKey, 0, "").WithContext(ctx)
			req.ProtoMajor = major
			about(t, fmt.Sprint("HTTP/", major), d.answer(req), want)
		}
	})
}

// pipes is a listener within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// A stop of the server waits for held requests no longer than a hold lasts, and
// their replies still go out.
func TestHoldEndsBeforeAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHeldDoor(t, nil)
		d.log.takes(1500 * time.Millisecond)
		d.answer(aRequest(d.good, 0, ""))
		listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: d}
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		conn, there := net.Pipe()
		defer conn.Close()
		listener.conns <- there
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: test\r\nX-API-Key: %s\r\nContent-Length: 2\r\n\r\n{}", wrongKey)
		synctest.Wait()
		if d.Stats().Waiting != 1 {
			t.Fatal("the request is not held")
		}
		reply := make(chan string, 1)
		go func() {
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				reply <- err.Error()
				return
			}
			body, _ := io.ReadAll(res.Body)
			reply <- string(body)
		}()
		begun := time.Now()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > defaultMaxHold+time.Second {
			t.Errorf("the stop took %s", took)
		}
		if got := <-reply; got != replyOK {
			t.Errorf("the reply to the held request: %s", got)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// However many wait for the kernel's timers, none wakes too early, and none not at all.
func TestAlarm(t *testing.T) {
	a := newAlarm()
	var all sync.WaitGroup
	for i := range 4 * 64 {
		all.Go(func() {
			d := time.Duration(i%40) * 100 * time.Microsecond
			begun := time.Now()
			a.wait(t.Context(), begun.Add(d))
			if took := time.Since(begun); took < d {
				t.Errorf("woke after %s of %s", took, d)
			}
		})
	}
	all.Wait()
	gone, leave := context.WithCancel(t.Context())
	leave()
	a.wait(gone, time.Now().Add(time.Hour))
}
