package session_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// flush is how a node reads for this sink.
var flush = shipper.Flush{Rows: 4096, Bytes: 4 << 20}

// newReceiver starts a reference receiver on a free port.
func newReceiver(tb testing.TB, o receiver.Options) (*receiver.Receiver, *httptest.Server) {
	tb.Helper()
	r, err := receiver.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(r)
	tb.Cleanup(func() {
		server.Close()
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r, server
}

func newSink(tb testing.TB, o session.Options) *session.Sink {
	tb.Helper()
	s, err := session.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func TestDeliversInOrder(t *testing.T) {
	rig := shippertest.NewRig(t)
	r, server := newReceiver(t, receiver.Options{})
	for i := range 400 {
		rig.Append("shop", fmt.Sprintf("s%d", i%40), 1+i%3)
	}
	start := time.Now()
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitDone()
	report := r.Report()
	t.Logf("%d requests, %s", report.Requests, time.Since(start))
	if !report.InOrder() || report.Events != rig.Log.DurableSeq() || report.Repeats != 0 || report.Sessions != 40 {
		t.Fatalf("%+v", report)
	}
}
