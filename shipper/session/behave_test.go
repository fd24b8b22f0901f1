package session_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// gauge wraps a receiver: how many requests are in it, how many came, and
// whether it is down.
type gauge struct {
	next http.Handler
	down atomic.Bool

	mu       sync.Mutex
	inside   int
	highest  int
	requests int
	answered int                        // with success, since it was last up
	onEnter  func(inside, answered int) // with mu held
}

func (g *gauge) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	g.mu.Lock()
	g.inside++
	g.requests++
	g.highest = max(g.highest, g.inside)
	if g.onEnter != nil {
		g.onEnter(g.inside, g.answered)
	}
	g.mu.Unlock()
	if g.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		g.next.ServeHTTP(w, req)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.answered++
}

func (g *gauge) reset(onEnter func(inside, answered int)) (requests, highest int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests, highest = g.requests, g.highest
	g.requests, g.highest, g.answered, g.onEnter = 0, 0, 0, onEnter
	return requests, highest
}

// TestOutage takes the whole endpoint down. After the first failures requests
// come one at a time and ever more seldom; when it is up again their number
// in flight grows with the answers.
func TestOutage(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := &gauge{next: r}
	g.down.Store(true)
	server := serve(t, g)
	appendEvents(rig, 200, 600)
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the breaker opens", func() bool { return stats(sink).Down })
	first, _ := g.reset(nil)
	if first > 42 {
		t.Errorf("%d requests until the endpoint was taken as down", first)
	}
	start := time.Now()
	ship.WaitFor("some probes fail", func() bool { return stats(sink).Failed >= uint64(first)+3 })
	probes, highest := g.reset(nil)
	if highest > 1 {
		t.Errorf("%d probes at a time", highest)
	}
	if most := 4 + int(time.Since(start)/(50*time.Millisecond)); probes > most {
		t.Errorf("%d probes in %s", probes, time.Since(start))
	}
	g.reset(func(inside, answered int) {
		if inside > answered+1 {
			t.Errorf("%d requests in flight after %d answers", inside, answered)
		}
	})
	g.down.Store(false)
	ship.WaitDone()
	g.reset(nil)
	wantAll(t, rig, r)
	ship.WaitFor("it is shown as running", func() bool {
		return ship.Status().State == shipper.Running && !stats(sink).Down && stats(sink).ParkedCount == 0
	})
}

// TestIsolation has some sessions fail at once and others never answer, each
// for itself: all others get everything meanwhile.
func TestIsolation(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	hang := make(chan struct{})
	r, err := receiver.New(receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		switch {
		case healed.Load():
		case strings.HasPrefix(d.Session, "fail"):
			return receiver.Fault{Status: 500}
		case strings.HasPrefix(d.Session, "hang"):
			<-hang
		}
		return receiver.Fault{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r)
	defer server.Close()
	release := sync.OnceFunc(func() { close(hang) })
	defer release()

	for i := range 5 {
		rig.Append("shop", fmt.Sprint("hang", i), 2)
		rig.Append("shop", fmt.Sprint("fail", i), 2)
	}
	sink := newSink(t, session.Options{URL: server.URL, Lanes: 8, Timeout: 300 * time.Millisecond})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("they are parked", func() bool { return stats(sink).ParkedCount == 10 })
	first := rig.Log.DurableSeq() + 1
	appendEvents(rig, 50, 500)
	ship.WaitFor("the others are delivered", func() bool { return r.Report().Events == rig.Log.DurableSeq()-first+1 })

	ship.WaitFor("the figures tell", func() bool {
		s := stats(sink)
		return s.ParkedCount == 10 && s.Sessions == 10 && !s.Down && len(s.Parked) > 0
	})
	s := stats(sink)
	if ship.Next() != 1 {
		t.Errorf("position %d, %+v", ship.Next(), s)
	}
	ship.WaitFor("twenty events wait", func() bool { return ship.Status().LagEvents == 20 })
	if got := ship.Status(); got.State != shipper.Running || got.Parked == nil || got.Parked.Sessions != 10 || got.Parked.Events != 20 ||
		got.LagEvents != 20 || got.Account.Pending != 20 || got.Account.Shipped != rig.Log.DurableSeq()-20 || got.Account.Imbalance != 0 {
		t.Errorf("ten sessions of two events each wait, and the others flow: %+v", got)
	}
	for _, p := range s.Parked {
		if p.Project != "shop" || p.Cause == "" || p.Since.IsZero() || p.Failures < 1 || p.Waiting != 2 {
			t.Errorf("parked: %+v", p)
		}
	}
	healed.Store(true)
	release()
	ship.WaitDone()
	wantAll(t, rig, r)
}

// TestBounds has the cursor wait at each bound: nothing is dropped, and all
// goes on when there is room again.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]session.Options{
		"parked sessions": {MaxParked: 3},
		"held bytes":      {MaxHeldBytes: 8 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := shippertest.NewRig(t)
			var healed atomic.Bool
			r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
				if !healed.Load() && strings.HasPrefix(d.Session, "bad") {
					return receiver.Fault{Status: 500}
				}
				return receiver.Fault{}
			}})
			o.URL = server.URL
			sink := newSink(t, o)
			ship := rig.Start(sink, shipper.Flush{Rows: 10, Bytes: 1 << 20}, shipper.Options{})
			for i := range 60 {
				rig.Append("shop", fmt.Sprint("bad", i%6), 2)
				rig.Append("shop", fmt.Sprint("good", i%6), 1)
			}
			ship.WaitFor("sessions are parked", func() bool { return stats(sink).ParkedCount >= 3 })
			ship.WaitFor("it takes no more", func() bool {
				s := stats(sink)
				return s.Sessions == s.ParkedCount && (s.ParkedCount >= o.MaxParked && o.MaxParked > 0 || s.HeldBytes >= o.MaxHeldBytes && o.MaxHeldBytes > 0)
			})
			if s := stats(sink); s.HeldBytes > 8<<10+20*600 && o.MaxHeldBytes > 0 || s.ParkedCount > 6 {
				t.Errorf("%+v", s)
			}
			if report := r.Report(); report.Events >= 60 {
				t.Errorf("it went on: %+v", report)
			}
			healed.Store(true)
			ship.WaitDone()
			wantAll(t, rig, r)
		})
	}
}

// TestTLS speaks HTTP/2 with a server whose certificate only the own CA file
// vouches for, and nothing without it.
func TestTLS(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var major atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		major.Store(int32(req.ProtoMajor))
		r.ServeHTTP(w, req)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	appendEvents(rig, 40, 100)

	stranger := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(stranger, flush, shipper.Options{})
	ship.WaitFor("the certificate is refused", func() bool {
		return strings.Contains(ship.Status().LastError, "certificate") && stats(stranger).Down
	})
	ship.Stop()

	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	ship = rig.Start(newSink(t, session.Options{URL: server.URL, CAFile: ca, Gzip: true}), flush, shipper.Options{})
	ship.WaitDone()
	wantAll(t, rig, r)
	if major.Load() != 2 {
		t.Errorf("HTTP/%d", major.Load())
	}
}

// TestEndlessAnswer acknowledges and then never stops talking.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.ServeHTTP(httptest.NewRecorder(), req)
		talk := make([]byte, 4096)
		for {
			if _, err := w.Write(talk); err != nil {
				return
			}
		}
	}))
	appendEvents(rig, 5, 30)
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitDone()
	if report := wantAll(t, rig, r); report.Repeats != 0 {
		t.Errorf("%+v", report)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for url, want := range map[string]string{
		"":                        "want http",
		"ftp://host":              "want http",
		"http://":                 "want http",
		"http://user:pw@host":     "token file",
		"http://host/?x=1":        "no query",
		"http://host/#f":          "no query",
		"http://host:notaport/":   "port",
		"http://[::1":             "",
		"host:8081":               "want http",
		"https://host/base/path/": "ok",
	} {
		_, err := session.New(session.Options{URL: url})
		if want == "ok" {
			if err != nil {
				t.Errorf("%q: %v", url, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
	}
	if _, err := session.New(session.Options{URL: "http://h", Lanes: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
	if _, err := session.New(session.Options{URL: "https://h", CAFile: "/nowhere/ca.pem"}); err == nil {
		t.Error("a missing CA file was taken")
	}
}
