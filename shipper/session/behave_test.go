package session_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/shipper/shippertest/proxy"
	"forebay/wal"
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
	if ship.Next() != 1 || ship.Status().State != shipper.Failing {
		t.Errorf("position %d, %+v", ship.Next(), s)
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

// TestLittleIsSentAgain kills the sink while one session holds the position
// back and the others flow. What was delivered and saved is not sent again.
func TestLittleIsSentAgain(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var crashed, healed atomic.Bool
	var mu sync.Mutex
	var taken, sure, before uint64 // events taken; when the last two commits began
	rig.State.BeforeCommit = func([]shipper.Write) error {
		if crashed.Load() {
			return errors.New("the process is dead")
		}
		mu.Lock()
		defer mu.Unlock()
		sure, before = before, taken
		return nil
	}
	r, server := newReceiver(t, receiver.Options{
		Hook: func(d receiver.Delivery) receiver.Fault {
			if d.Session == "stuck" && !healed.Load() {
				return receiver.Fault{Status: 500}
			}
			return receiver.Fault{}
		},
		Taken: func(d receiver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			taken += uint64(len(d.Seqs))
		},
	})
	o := session.Options{URL: server.URL, Lanes: 4, RequestEvents: 5}
	rig.Append("shop", "stuck", 1)
	appendEvents(rig, 300, 3000)
	ship := rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitFor("a part is delivered", func() bool { mu.Lock(); defer mu.Unlock(); return taken > 1500 && sure > 0 })
	crashed.Store(true)
	ship.Stop()
	if ship.Next() != 1 {
		t.Fatalf("the position is %d", ship.Next())
	}
	mu.Lock()
	unsaved := taken - sure
	mu.Unlock()
	crashed.Store(false)

	sink := newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("the others are delivered", func() bool { return r.Report().Events == rig.Log.DurableSeq()-1 })
	if repeats := r.Report().Repeats; repeats > unsaved+4*5 {
		t.Errorf("%d events were sent again, of %d that were in flight or not saved", repeats, unsaved)
	}
	ship.WaitFor("the stuck session is parked again", func() bool {
		s := stats(sink)
		return s.ParkedCount == 1 && s.Parked[0].Session == "stuck" && s.Parked[0].Failures > 1
	})

	// All is saved now, so that nothing but the stuck session is left.
	ship.WaitFor("the marks are saved", func() bool { return stats(sink).Marks == 300 })
	ship.Stop()
	was := r.Report().Repeats
	healed.Store(true)
	ship = rig.Start(newSink(t, session.Options{URL: server.URL, Lanes: 7}), flush, shipper.Options{})
	ship.WaitDone()
	if report := wantAll(t, rig, r); report.Repeats != was {
		t.Errorf("%d events were sent again after an orderly stop", report.Repeats-was)
	}
	ship.WaitFor("the marks are forgotten", func() bool { return len(laneKeys(t, rig)) == 1 })
	if left := laneKeys(t, rig); !strings.HasSuffix(left[0], "/reach") {
		t.Errorf("left in the state: %v", left)
	}
}

// laneKeys are the keys of the sink's own state.
func laneKeys(t *testing.T, rig *shippertest.Rig) (keys []string) {
	t.Helper()
	err := rig.State.Scan("lane/", func(key string, _ []byte) error { keys = append(keys, key); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return keys
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

// TestGapSurvivesRestart buries the last event of a session, and tells
// the session once it goes on, in another life of the sink.
func TestGapSurvivesRestart(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Seqs[0] <= 2 && d.Seqs[len(d.Seqs)-1] >= 2 {
			return receiver.Fault{Status: 422}
		}
		return receiver.Fault{}
	}})
	o := session.Options{URL: server.URL}
	rig.Append("shop", "s", 2)
	ship := rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	if report := r.Report(); report.Events != 1 || report.Gaps != 0 {
		t.Fatalf("%+v", report)
	}
	rig.Append("shop", "s", 1)
	ship = rig.Start(newSink(t, o), flush, shipper.Options{})
	ship.WaitDone()
	if report := r.Report(); report.Events != 2 || report.Gaps != 1 || !report.InOrder() {
		t.Fatalf("%+v", report)
	}
	marks := r.Marks("shop", "s")
	if len(marks) != 1 || marks[0].Seq != 3 || marks[0].Gaps.String() != "2" {
		t.Errorf("%+v", marks)
	}
	ship.Stop()
	if left := laneKeys(t, rig); len(left) != 1 {
		t.Errorf("left in the state: %v", left)
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

// TestParkedTooLong sets a session aside that fails for too long: its events
// queue in the dead letters, in order, and so do later ones, also after a
// restart; the position goes on. Once one of them was requeued and delivered
// the session goes on, and gets the others in order.
func TestParkedTooLong(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	var mu sync.Mutex
	var got []uint64
	r, server := newReceiver(t, receiver.Options{
		Hook: func(d receiver.Delivery) receiver.Fault {
			if d.Session == "bad" && !healed.Load() {
				return receiver.Fault{Status: 500}
			}
			return receiver.Fault{}
		},
		Taken: func(d receiver.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if d.Session == "bad" {
				got = append(got, d.Seqs...)
			}
		},
	})
	o := session.Options{URL: server.URL, ParkedMaxAge: 100 * time.Millisecond}
	rig.Append("shop", "bad", 250) // more than one commit buries, more than 1 % of 10,000
	appendEvents(rig, 5, 50)
	sink := newSink(t, o)
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 250 || s.State == shipper.Paused {
		t.Fatalf("%+v", s)
	}
	ship.WaitFor("it is shown", func() bool { return stats(sink).Aside == 1 && stats(sink).ParkedCount == 0 })
	ship.Stop()

	sink = newSink(t, o)
	ship = rig.Start(sink, flush, shipper.Options{})
	rig.Append("shop", "bad", 10)
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 260 {
		t.Fatalf("after a restart: %+v", s)
	}
	err := ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		if d.Session != "bad" || !d.Queued || !strings.Contains(d.Reason, "500") {
			t.Errorf("%+v", d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	healed.Store(true)
	if _, err := ship.Requeue(shipper.Command{}, shipper.DeadFilter{Session: "bad"}); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("the letters are delivered", func() bool { return ship.Status().Dead == 0 })
	rig.Append("shop", "bad", 5)
	ship.WaitDone()
	report := r.Report()
	if !report.InOrder() || report.Events != rig.Log.DurableSeq() || report.Filled != 260 || stats(sink).Aside != 0 {
		t.Errorf("%+v, %+v", report, stats(sink))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(got) || len(got) != 265 {
		t.Errorf("the session got %v", got)
	}
}

// TestOutageSetsNobodyAside keeps parked sessions through an outage that is
// longer than a session may fail by itself.
func TestOutageSetsNobodyAside(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{})
	p := proxy.Start(t, server.Listener.Addr().String())
	p.Down()
	appendEvents(rig, 30, 60)
	sink := newSink(t, session.Options{URL: "http://" + p.Addr(), ParkedMaxAge: 300 * time.Millisecond})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it is down", func() bool { return stats(sink).Down })
	failed := stats(sink).Failed
	ship.WaitFor("it was down for long", func() bool { return stats(sink).Failed >= failed+4 })
	p.Up()
	ship.WaitDone()
	wantAll(t, rig, r)
	if s := ship.Status(); s.Dead != 0 {
		t.Errorf("%+v", s)
	}
}

// TestReleaseAndSetAside are the operator's ways to do both at once.
func TestReleaseAndSetAside(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var healed atomic.Bool
	r, server := newReceiver(t, receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if d.Session == "bad" && !healed.Load() {
			return receiver.Fault{Status: 500}
		}
		return receiver.Fault{}
	}})
	rig.Append("shop", "bad", 3)
	rig.Append("shop", "good", 3)
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitFor("it is parked", func() bool { return stats(sink).ParkedCount == 1 })
	ship.WaitFor("it is set aside", func() bool {
		sink.SetAsideParked()
		return ship.Next() > rig.Log.DurableSeq()
	})
	if s := ship.Status(); s.Dead != 3 {
		t.Errorf("%+v", s)
	}
	healed.Store(true)
	sink.Release("shop", "bad")
	ship.WaitFor("it is released", func() bool { return stats(sink).Aside == 0 })
	rig.Append("shop", "bad", 2)
	ship.WaitDone()
	if report := r.Report(); report.Events != 5 || report.Gaps != 3 || !report.InOrder() {
		t.Errorf("%+v", report)
	}
}

// TestLostEvents damages the log under a session: what is lost is announced
// to each session that goes on after it, also after a restart.
func TestLostEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 4 << 10, Compression: wal.CompressionNone, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	rig := &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()}
	appendEvents(rig, 4, 100)
	segments, err := log.Segments()
	if err != nil {
		t.Fatal(err)
	}
	damage(t, dir, segments)
	r, server := newReceiver(t, receiver.Options{})
	sink := newSink(t, session.Options{URL: server.URL})
	ship := rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	ship.Stop()
	lost := ship.Status().Lost
	if len(lost) != 1 {
		t.Fatalf("lost: %+v", lost)
	}
	n := lost[0].Last - lost[0].First + 1
	if report := r.Report(); report.Events != log.DurableSeq()-n || report.Gaps != 4*n || !report.InOrder() {
		t.Errorf("%d were lost; %+v", n, report)
	}
	rig.Append("shop", "late", 1)
	ship = rig.Start(sink, flush, shipper.Options{})
	ship.WaitDone()
	if marks := r.Marks("shop", "late"); len(marks) != 1 || marks[0].Gaps.Len() != n {
		t.Errorf("a session after a restart: %+v", marks)
	}
}

// damage flips a bit in the middle of the second segment.
func damage(t *testing.T, dir string, segments []wal.SegmentInfo) {
	t.Helper()
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	path := filepath.Join(dir, segments[1].Name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNewerStateIsRefused meets what a later release has saved.
func TestNewerStateIsRefused(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	_, server := newReceiver(t, receiver.Options{})
	rig.Append("shop", "s", 1)
	if err := rig.State.Commit(shipper.Write{Key: "lane/test/reach", Value: []byte(`{"version":2}`)}); err != nil {
		t.Fatal(err)
	}
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitFor("it is refused", func() bool { return strings.Contains(ship.Status().LastError, "version 2") })
}
