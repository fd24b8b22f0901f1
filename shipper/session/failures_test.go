package session_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/shipper/shippertest/proxy"
)

// serve starts a server in front of a handler.
func serve(tb testing.TB, h http.Handler) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(h)
	tb.Cleanup(server.Close)
	return server
}

// appendEvents appends events to so many sessions, in turn.
func appendEvents(rig *shippertest.Rig, sessions, requests int) {
	for i := range requests {
		rig.Append("shop", fmt.Sprintf("s%d", i%sessions), 1+i%3)
	}
}

// wantAll fails the test unless the receiver has taken the whole log, each
// event once and in order.
func wantAll(t *testing.T, rig *shippertest.Rig, r *receiver.Receiver) receiver.Report {
	t.Helper()
	report := r.Report()
	if !report.InOrder() || report.Events != rig.Log.DurableSeq() || report.Gaps != 0 {
		t.Fatalf("of %d events: %+v", rig.Log.DurableSeq(), report)
	}
	return report
}

// stats are the figures of a sink.
func stats(s *session.Sink) session.Stats { return s.Status().(session.Stats) }

func TestRefusedConnection(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	appendEvents(rig, 5, 20)
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := held.Addr().String()
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, session.Options{URL: "http://" + addr})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the refusal is shown", func() bool {
		s := ship.Status()
		return s.State == shipper.Failing && strings.Contains(s.LastError, "refused") && stats(sink).Down
	})
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: r}}
	server.Start()
	t.Cleanup(server.Close)
	ship.WaitDone()
	wantAll(t, rig, r)
	ship.WaitFor("it is shown as running", func() bool { return ship.Status().State == shipper.Running })
}

func TestNameNotResolvable(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	appendEvents(rig, 1, 1)
	sink := newSink(t, session.Options{URL: "http://session-manager.invalid"})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the name is shown", func() bool {
		s := ship.Status()
		return s.State == shipper.Failing && strings.Contains(s.LastError, "session-manager.invalid") && stats(sink).Down
	})
}

// TestCutConnections cuts the connection before, in the middle of and after
// the body, and before, in the middle of and after the answer.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	for _, cut := range []struct {
		name string
		cut  func(*proxy.Proxy) <-chan struct{}
	}{
		{"before the request", func(p *proxy.Proxy) <-chan struct{} { return p.CutAfterSent(0) }},
		{"within the header", func(p *proxy.Proxy) <-chan struct{} { return p.CutAfterSent(100) }},
		{"within the body", func(p *proxy.Proxy) <-chan struct{} { return p.CutAfterSent(1500) }},
		{"before the answer", func(p *proxy.Proxy) <-chan struct{} { return p.CutAfterReceived(0) }},
		{"within the answer", func(p *proxy.Proxy) <-chan struct{} { return p.CutAfterReceived(10) }},
	} {
		t.Run(cut.name, func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			r, server := newReceiver(t, receiver.Options{})
			p := proxy.Start(t, server.Listener.Addr().String())
			done := cut.cut(p)
			appendEvents(rig, 3, 60)
			ship := rig.Start(newSink(t, session.Options{URL: "http://" + p.Addr()}), flush, shipper.Options{})
			<-done
			ship.WaitDone()
			wantAll(t, rig, r)
		})
	}
}

// TestHalfOpen has the network swallow everything, for longer than a request
// may take.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{})
	p := proxy.Start(t, server.Listener.Addr().String())
	p.Pause()
	appendEvents(rig, 3, 30)
	sink := newSink(t, session.Options{URL: "http://" + p.Addr(), Timeout: 200 * time.Millisecond})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the timeout is shown", func() bool {
		return strings.Contains(ship.Status().LastError, "no answer from the Session Manager within 200ms")
	})
	p.Resume()
	ship.WaitDone()
	wantAll(t, rig, r)
}

// TestSlow has the receiver take the events after the sink gave up on them,
// and then meet their retry.
func TestSlow(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var slow atomic.Int32
	r, server := newReceiver(t, receiver.Options{Hook: func(receiver.Delivery) receiver.Fault {
		if slow.Add(1) <= 6 {
			return receiver.Fault{Delay: 600 * time.Millisecond}
		}
		return receiver.Fault{}
	}})
	appendEvents(rig, 2, 30)
	ship := rig.Start(newSink(t, session.Options{URL: server.URL, Timeout: 200 * time.Millisecond}), flush, shipper.Options{})
	ship.WaitDone()
	ship.WaitFor("the slow requests have ended", func() bool { return r.Report().Repeats > 0 })
	wantAll(t, rig, r)
}

// TestPassingFailures answers the first requests of each session wrongly in
// all ways that promise better times.
func TestPassingFailures(t *testing.T) {
	t.Parallel()
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
	var strayed atomic.Int32
	elsewhere := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	failures := map[string]http.HandlerFunc{
		"garbage":        hijack("\x00\x01 what?\r\n\r\n"),
		"no answer":      hijack(""),
		"half an answer": hijack("HTTP/1.1 200"),
		"endless header": hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)),
		"switching":      hijack("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
		"status 999":     hijack("HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n"),
	}
	for _, code := range []int{301, 302, 307, 308} {
		failures[fmt.Sprint(code)] = func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, elsewhere.URL, code)
		}
	}
	for _, code := range []int{304, 407, 408, 425, 429, 500, 501, 502, 503, 504, 507, 599} {
		failures[fmt.Sprint(code)] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			rig := shippertest.NewRig(t)
			r, err := receiver.New(receiver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var n atomic.Int32
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if n.Add(1) <= 3 {
					_, _ = io.Copy(io.Discard, req.Body)
					fail(w, req)
					return
				}
				r.ServeHTTP(w, req)
			}))
			appendEvents(rig, 2, 20)
			sink := newSink(t, session.Options{URL: server.URL})
			ship := rig.Start(sink, flush, shipper.Options{})
			ship.WaitDone()
			wantAll(t, rig, r)
			if s := ship.Status(); s.Dead != 0 || stats(sink).Failed == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	if strayed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestRetryAfter gives both forms of Retry-After to one session, which comes
// no earlier, while another goes on.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for form, value := range map[string]func() string{
			"seconds": func() string { return "1" },
			"date":    func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) },
		} {
			t.Run(fmt.Sprint(code, form), func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				var told time.Time
				var waited time.Duration
				r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
					mu.Lock()
					defer mu.Unlock()
					if d.Session != "s0" {
						return receiver.Fault{}
					}
					if told.IsZero() {
						told = time.Now()
						return receiver.Fault{Status: code, RetryAfter: value()}
					}
					if waited == 0 {
						waited = time.Since(told)
					}
					return receiver.Fault{}
				}})
				rig := shippertest.NewRig(t)
				appendEvents(rig, 2, 10)
				ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
				ship.WaitDone()
				wantAll(t, rig, r)
				mu.Lock()
				defer mu.Unlock()
				if waited < 950*time.Millisecond {
					t.Errorf("came again after %s", waited)
				}
			})
		}
	}
}

// TestRefusedEvents has one event in a full request refused: it dies alone,
// and the next request of its session carries the gap until it is
// acknowledged.
func TestRefusedEvents(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 404, 409, 410, 413, 422, 431} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			for i := range 10 {
				rig.Append("shop", "s0", 10)
				rig.Append("shop", fmt.Sprint("other", i), 3)
			}
			const bad = 31 // of s0: its 24th
			var mu sync.Mutex
			var gaps []string
			failed := false
			r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
				mu.Lock()
				defer mu.Unlock()
				if slices.Contains(d.Seqs, bad) {
					return receiver.Fault{Status: code}
				}
				if len(d.Gaps) > 0 {
					gaps = append(gaps, d.Session+":"+d.Gaps.String())
					if !failed {
						failed = true
						return receiver.Fault{Status: 500, After: true}
					}
				}
				return receiver.Fault{}
			}})
			sink := newSink(t, session.Options{URL: server.URL, Patience: 50 * time.Millisecond})
			ship := rig.Start(sink, flush, shipper.Options{})
			for ship.Status().Dead == 0 { // others are taken meanwhile: it is not the endpoint
				rig.Append("shop", "steady", 1)
				at := rig.Log.DurableSeq()
				ship.WaitFor("another session is taken", func() bool {
					marks := r.Marks("shop", "steady")
					return len(marks) > 0 && marks[0].Seq >= at
				})
			}
			ship.WaitDone()
			report := r.Report()
			if !report.InOrder() || report.Events != rig.Log.DurableSeq()-1 || report.Gaps != 1 {
				t.Fatalf("%+v", report)
			}
			mu.Lock()
			defer mu.Unlock()
			if want := []string{"s0:31", "s0:31"}; !slices.Equal(gaps, want) {
				t.Errorf("gaps announced: %v, want %v", gaps, want)
			}
			err := ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
				if d.Seq != bad || d.Session != "s0" || !strings.Contains(d.Reason, fmt.Sprint(code)) || d.Attempts < 1 {
					t.Errorf("%+v", d)
				}
				return nil
			})
			if err != nil || ship.Status().Dead != 1 {
				t.Errorf("%d dead letters, %v", ship.Status().Dead, err)
			}
			if s := stats(sink); s.Refused > 12 || s.Buried != 1 {
				t.Errorf("to find one event: %+v", s)
			}
		})
	}
}

// TestRefusedWholesale has everything refused: the cursor pauses instead of
// burying it.
func TestRefusedWholesale(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	appendEvents(rig, 50, 200)
	server := serve(t, status(http.StatusUnprocessableEntity))
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitFor("the cursor pauses itself", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Dead > 20 || !strings.Contains(s.Pause.Reason, "refused 20 events of") {
		t.Errorf("%+v", s)
	}
}

// TestStaleEpoch meets a receiver that has seen a higher epoch of the log.
func TestStaleEpoch(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{})
	rig.Append("shop", "s0", 2)
	key := header.Key{LogID: rig.Log.ID().String(), Epoch: 1 << 40, Session: header.NewSessionID("shop", "s0"), First: 1, Last: 1}
	req := httptest.NewRequest(http.MethodPost, "/v1/sessions/events", strings.NewReader(`{"project_id":"shop","session_id":"s0","events":[{}]}`))
	req.Header.Set(header.IdempotencyKey, key.String())
	req.Header.Set(header.Epoch, fmt.Sprint(key.Epoch))
	req.Header.Set(header.Seqs, "1")
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, req); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitFor("the cursor pauses itself", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); !strings.Contains(s.Pause.Reason, "higher epoch") || s.Dead != 0 || s.NextSeq != 1 {
		t.Errorf("%+v", s)
	}
}
