package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/node/nodetest"
)

// TestKilledNodeBoundsWhatItsLedgerLacks kills a node under load. What was
// answered is in the ledger afterwards, but for as much as it says may be
// missing at most; and what was accepted is exact.
func TestKilledNodeBoundsWhatItsLedgerLacks(t *testing.T) {
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true}}\n")
	p.start()
	var attempted, answered, invalid atomic.Uint64
	stop := make(chan struct{})
	body := func() string {
		return `{"events":[{"eventType":"click","timestamp":"` + now() + `","sessionId":"a","route":"/","target":{"type":"page"}},{"eventType":"nonsense"}]}`
	}
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			again := time.NewTicker(5 * time.Millisecond)
			defer again.Stop()
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest(http.MethodPost, "http://"+p.ingest+"/v1/events", strings.NewReader(body()))
				if err != nil {
					t.Error(err)
					return
				}
				known := i > 0
				req.Header.Set("X-API-Key", "nosuch")
				if known {
					req.Header.Set("X-API-Key", p.key)
				}
				attempted.Add(1)
				res, err := client.Do(req)
				if err != nil {
					attempted.Add(1) // a client tries again by itself if a connection was closed while it was idle
					<-again.C
					continue
				}
				_ = res.Body.Close()
				answered.Add(1)
				if known && res.StatusCode == http.StatusOK {
					invalid.Add(1)
				}
			}
		})
	}
	for range 3 {
		enough := answered.Load() + 200
		nodetest.Eventually(t, waitLimit, func() bool { return answered.Load() >= enough }, "%d requests are answered", enough)
		p.kill()
		p.start()
	}
	close(stop)
	clients.Wait()
	s, err := p.admin.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	l := s.Ledger
	if got := l.Requests.Received; got > attempted.Load() || got+l.UncertainRequests < answered.Load() {
		t.Errorf("%d requests were sent and %d answered; the ledger has %d, uncertain <= %d", attempted.Load(), answered.Load(), got, l.UncertainRequests)
	}
	if got := l.Events.Dropped["invalid"]; got+l.UncertainEvents < invalid.Load() {
		t.Errorf("%d invalid events were answered; the ledger has %d, uncertain <= %d", invalid.Load(), got, l.UncertainEvents)
	}
	if !l.Balanced || l.Events.Accepted != s.Log.DurableSeq || l.UncertainRequests == 0 {
		t.Errorf("the log has %d events; %+v", s.Log.DurableSeq, l)
	}
	if out := p.forebay("status", "--admin", p.adminAddr); !strings.Contains(out, "uncertain: <= ") {
		t.Errorf("status does not say what is uncertain:\n%s", out)
	}
	t.Logf("%d sent, %d answered, %d received, uncertain <= %d requests and <= %d events",
		attempted.Load(), answered.Load(), l.Requests.Received, l.UncertainRequests, l.UncertainEvents)
}
