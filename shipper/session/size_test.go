package session_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// capped stands in front of a receiver and turns away requests that are too
// large, as limit says, by turn.
type capped struct {
	next  http.Handler
	limit func(body []byte, req *http.Request) bool
	turn  http.HandlerFunc
	away  atomic.Int32
}

func (c *capped) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if c.limit(body, req) {
		c.away.Add(1)
		c.turn(w, req)
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	c.next.ServeHTTP(w, req)
}

func over(n int) func([]byte, *http.Request) bool {
	return func(body []byte, _ *http.Request) bool { return len(body) > n }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// tooLarge are the ways in which a size is refused.
func tooLarge() map[string]*capped {
	return map[string]*capped{
		"413":      {limit: over(20_000), turn: status(http.StatusRequestEntityTooLarge)},
		"400":      {limit: over(20_000), turn: status(http.StatusBadRequest)},
		"reset":    {limit: over(20_000), turn: reset},
		"502":      {limit: over(20_000), turn: status(http.StatusBadGateway)},
		"404":      {limit: over(20_000), turn: status(http.StatusNotFound)},  // IIS, of a body over its limit
		"403":      {limit: over(20_000), turn: status(http.StatusForbidden)}, // a firewall; the token is good
		"one only": {limit: over(2_000), turn: status(http.StatusRequestEntityTooLarge)},
		"431": {turn: status(http.StatusRequestHeaderFieldsTooLarge), limit: func(_ []byte, req *http.Request) bool {
			return len(req.Header.Get(header.Seqs)) > 60
		}},
	}
}

// TestTooLargeIsAnsweredBySmaller puts a backlog of many sessions before an
// endpoint that takes each event and no full request: all is delivered, nothing
// buried, nothing paused; what the endpoint takes is remembered, told, and known
// to the next call of Ship.
func TestTooLargeIsAnsweredBySmaller(t *testing.T) {
	t.Parallel()
	for name, c := range tooLarge() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			r, err := receiver.New(receiver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.next = r
			server := serve(t, c)
			text := strings.Repeat("x", 1000)
			fill := func(from, to int) {
				for i := from; i < to; i++ {
					rig.AppendText("shop", fmt.Sprint("s", i), 50, text)
				}
			}
			fill(0, 40)
			sink := newSink(t, session.Options{URL: server.URL})
			ship := rig.Start(sink, flush, shipper.Options{})
			ship.WaitDone()
			wantAll(t, rig, r)
			if s := ship.Status(); s.Dead != 0 || s.State != shipper.Running {
				t.Errorf("%+v", s)
			}
			limit := stats(sink).RequestLimit
			if limit == nil || limit.Events >= 50 && limit.Bytes >= 50_000 || limit.Cause == "" || !limit.Grows.After(limit.Since) {
				t.Fatalf("kept to %+v", limit)
			}
			ship.Stop()
			c.away.Store(0)
			fill(40, 60)
			ship = rig.Start(sink, flush, shipper.Options{}) // as after a resume
			ship.WaitDone()
			wantAll(t, rig, r)
			if n := c.away.Load(); n != 0 {
				t.Errorf("%d requests were too large although the size was known", n)
			}
		})
	}
}

// TestEventTooLargeAlone has one event that is over the limit on its own: it is
// refused, and the size of the others is not taken for the cause.
func TestEventTooLargeAlone(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, &capped{next: r, limit: over(20_000), turn: status(http.StatusRequestEntityTooLarge)})
	rig.AppendText("shop", "s1", 9, "small")
	rig.AppendText("shop", "s1", 1, strings.Repeat("x", 30_000))
	rig.AppendText("shop", "s1", 9, "small")
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if report := r.Report(); !report.InOrder() || report.Events != 18 || report.Gaps != 1 {
		t.Errorf("%+v", report)
	}
	if s := ship.Status(); s.Dead != 1 || stats(sink).RequestLimit != nil {
		t.Errorf("%+v, kept to %+v", s, stats(sink).RequestLimit)
	}
}

// TestOutageTeachesNoSize has an endpoint fail for a while, whatever the size:
// nothing is learnt from it.
func TestOutageTeachesNoSize(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var healed atomic.Bool
	server := serve(t, &capped{next: r, turn: reset, limit: func([]byte, *http.Request) bool { return !healed.Load() }})
	for i := range 5 {
		rig.Append("shop", fmt.Sprint("s", i), 300)
	}
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it has failed often", func() bool { return stats(sink).Failed > 30 })
	healed.Store(true)
	ship.WaitDone()
	wantAll(t, rig, r)
	if limit := stats(sink).RequestLimit; limit != nil {
		t.Errorf("kept to %+v", limit)
	}
}

// TestForeignAnswers serves what proxies and logins serve, with a 200, to all
// sessions: nothing counts as taken, nothing is buried, and delivery goes on as
// soon as the Session Manager is back.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	page := func(kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if kind != "" {
				w.Header().Set("Content-Type", kind)
			}
			_, _ = io.WriteString(w, text)
		}
	}
	for name, turn := range map[string]http.HandlerFunc{
		"html":       page("text/html; charset=utf-8", "<html>login</html>"),
		"empty html": page("text/html", ""),
		"no type":    page("", "\n <!DOCTYPE html>"),
		"wrong type": page("application/json", "\xef\xbb\xbf<html>"),
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		},
		"404": status(http.StatusNotFound),
		"405": status(http.StatusMethodNotAllowed),
		"410": status(http.StatusGone),
		"421": status(http.StatusMisdirectedRequest),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			r, err := receiver.New(receiver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var healed atomic.Bool
			server := serve(t, &capped{next: r, turn: turn, limit: func([]byte, *http.Request) bool { return !healed.Load() }})
			appendEvents(rig, 30, 60)
			sink := newSink(t, session.Options{URL: server.URL})
			ship := rig.Start(sink, flush, shipper.Options{})
			ship.WaitFor("it has failed often", func() bool { return stats(sink).Failed > 14 })
			if s := ship.Status(); s.State != shipper.Failing || s.Dead != 0 || s.NextSeq != 1 {
				t.Errorf("%+v", s)
			}
			healed.Store(true)
			ship.WaitDone()
			wantAll(t, rig, r)
		})
	}
}

// TestSimpleAnswersAreTaken has receivers that say little, or something else
// than the reference does.
func TestSimpleAnswersAreTaken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter){
		"204":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"202":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"ok":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, "OK\n") },
		"list":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "[]") },
		"blank": func(w http.ResponseWriter) { _, _ = io.WriteString(w, " \r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			r, err := receiver.New(receiver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				r.ServeHTTP(httptest.NewRecorder(), req)
				answer(w)
			}))
			appendEvents(rig, 3, 9)
			ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
			ship.WaitDone()
			if report := wantAll(t, rig, r); report.Repeats != 0 {
				t.Errorf("%+v", report)
			}
		})
	}
}
