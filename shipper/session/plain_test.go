package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/shippertest"
	"forebay/wal/record"
)

// TestPlainReceiver knows no header: it only reads the body and answers 200,
// in one of several ways.
func TestPlainReceiver(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	var mu sync.Mutex
	got := map[string][]byte{}
	n := 0
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var b struct {
			SessionID string            `json:"session_id"`
			Events    []json.RawMessage `json:"events"`
		}
		if err := json.NewDecoder(req.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range b.Events {
			got[b.SessionID] = append(append(got[b.SessionID], e...), '\n')
		}
		if n++; n%2 == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("thanks "), 20_000)) // more than is read
	}))
	appendEvents(rig, 7, 100)
	ship := rig.Start(newSink(t, session.Options{URL: server.URL + "/"}), flush, shipper.Options{})
	ship.WaitDone()
	want := map[string][]byte{}
	for name, events := range readLog(t, rig) {
		for _, e := range events {
			want[name] = append(append(want[name], e...), '\n')
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("session %s: got\n%swant\n%s", name, got[name], want[name])
		}
	}
}

// readLog returns the raw events of each session, in the log's order.
func readLog(t *testing.T, rig *shippertest.Rig) map[string][][]byte {
	t.Helper()
	events := map[string][][]byte{}
	reader := rig.Log.NewReader(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is there, without waiting for more
	for {
		block, err := reader.Next(ctx)
		if err != nil {
			if err := reader.Close(); err != nil {
				t.Fatal(err)
			}
			return events
		}
		for _, entry := range block.Entries() {
			b, err := record.Decode(entry.Data)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range b.Events {
				events[e.Session] = append(events[e.Session], e.Raw)
			}
		}
	}
}
