package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/cmd/internal/sample"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/session/receiver"
	"forebay/wal/seedtest"
)

// receipts are the seqs that strict clients were promised, by their key.
type receipts struct {
	mu   sync.Mutex
	seqs map[uint64]string
}

func (r *receipts) add(seq uint64, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, twice := r.seqs[seq]; twice {
		return fmt.Errorf("seq %d was given to %s and to %s", seq, other, key)
	}
	r.seqs[seq] = key
	return nil
}

func (r *receipts) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seqs)
}

// TestAcceptedEventsSurviveKills is the promise of the node: whatever a strict
// client was told is accepted is in ClickHouse, once, and at the Session
// Manager, once and in order, although the node is killed again and again.
func TestAcceptedEventsSurviveKills(t *testing.T) {
	kills := 5
	if os.Getenv("FOREBAY_TORTURE") != "" {
		kills = 50
	}
	seed := seedtest.Of(t)
	random := rand.New(rand.NewPCG(seed, 0))

	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 100ms, rows: 500}}
  session: {url: %q}
`, server.Addr(), sessions.url))
	p.start()

	got := &receipts{seqs: map[uint64]string{}}
	stop := make(chan struct{})
	generator := sample.New(seed, 16)
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			if err := send(p, generator, i, got, stop); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	for range kills {
		enough := got.count() + 50 + random.IntN(450)
		nodetest.Eventually(t, waitLimit, func() bool { return got.count() >= enough }, "%d events are accepted", enough)
		p.kill()
		p.start()
	}
	close(stop)
	clients.Wait()
	status := p.settled()
	p.stop()

	if accepted := status.Ledger.Events.Accepted; accepted != status.Log.DurableSeq {
		t.Errorf("the ledger accepted %d events, the log has %d", accepted, status.Log.DurableSeq)
	}
	if !status.Ledger.Balanced {
		t.Errorf("the ledger does not balance: %+v", status.Ledger)
	}
	rows := map[uint64]int{}
	for _, line := range strings.Fields(server.MustQuery(t, "SELECT seq FROM events FINAL")) {
		seq, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows[seq]++
	}
	for seq, key := range got.seqs {
		if rows[seq] != 1 {
			t.Errorf("event %s, accepted as seq %d, is %d times in ClickHouse", key, seq, rows[seq])
		}
		if n := sessions.times(seq); n != 1 {
			t.Errorf("event %s, accepted as seq %d, reached the Session Manager %d times", key, seq, n)
		}
	}
	if report := sessions.receiver.Report(); !report.InOrder() {
		t.Errorf("sessions out of order: %+v", report)
	}
	t.Logf("%d kills, %d events accepted, %d in the log, %d rows; the receiver dropped %d repeats",
		kills, len(got.seqs), status.Log.DurableSeq, len(rows), sessions.receiver.Report().Repeats)
}

// send posts batches of the sessions i, i+4, … until stop is closed. What gets
// no answer is sent again as it was.
func send(p *process, g *sample.Generator, i int, got *receipts, stop <-chan struct{}) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for session := i; ; session = (session + 4) % g.Sessions() {
		b := g.Batch(session, 5)
		for {
			r, err := p.post(client, b.Body)
			if err == nil {
				for j, e := range r.Events {
					if e.Seq == 0 {
						continue // a repeat of what was accepted before its answer was lost
					}
					if err := got.add(e.Seq, b.Keys[j]); err != nil {
						return err
					}
				}
				break
			}
			if !errors.Is(err, errTryAgain) {
				return err
			}
			<-again.C
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// taken is a Session Manager that counts how often each seq took effect.
type taken struct {
	receiver *receiver.Receiver
	url      string
	poisoned atomic.Bool // refuse what holds the key "poison"
	mu       sync.Mutex
	seqs     map[uint64]int
}

func newTaken(t *testing.T) *taken {
	t.Helper()
	s := &taken{seqs: map[uint64]int{}}
	var err error
	s.receiver, err = receiver.New(receiver.Options{Hook: s.refuse, Taken: func(d receiver.Delivery) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, seq := range d.Seqs {
			s.seqs[seq]++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.receiver)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// refuse is the receiver's hook.
func (s *taken) refuse(d receiver.Delivery) receiver.Fault {
	for _, e := range d.Events {
		if s.poisoned.Load() && bytes.Contains(e, []byte(`"idempotencyKey":"poison"`)) {
			return receiver.Fault{Status: http.StatusUnprocessableEntity}
		}
	}
	return receiver.Fault{}
}

func (s *taken) times(seq uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seqs[seq]
}
