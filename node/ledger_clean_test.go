package node

import "testing"

// TestLedgerIsCleanOnlyWithNothingInFlight: what is under way when the counts are
// saved for the last time may still be answered, so the next process cannot take
// them for the whole truth.
func TestLedgerIsCleanOnlyWithNothingInFlight(t *testing.T) {
	b := openBooks(t, "")
	served := make(chan error, 1)
	go func() { served <- b.ingest.Serve() }() // the front door alone: a node that runs saves the counts, too
	saved := func(when string, clean bool) {
		t.Helper()
		if err := b.ledger.save(true); err != nil {
			t.Fatal(err)
		}
		var s savedTally
		if found, err := b.state.LoadJSON(ledgerKey, &s); err != nil || !found {
			t.Fatalf("%s: the saved counts: %v, %v", when, found, err)
		}
		if s.Clean != clean {
			t.Errorf("%s: saved as clean: %v, want %v; %+v", when, s.Clean, clean, s.Tally)
		}
	}
	inFlight := func(requests, events uint64) {
		t.Helper()
		eventually(t, func() bool {
			tally := b.router.Tally()
			return tally.Requests.InFlight == requests && tally.Events.InFlight == events
		}, "what is in flight is as it should be")
	}
	saved("at the start", true)

	conn, err := b.torn(b.keys["plain"], 100)
	if err != nil {
		t.Fatal(err)
	}
	inFlight(1, 0)
	saved("while a request is received", false)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	inFlight(0, 0)
	saved("after the request", true)

	b.gate.mu.Lock() // appends wait
	posted := make(chan error, 1)
	go func() { posted <- b.post(b.keys["plain"], "/v1/events", batchOf(eventOf("a", ""))) }()
	inFlight(0, 1)
	saved("while an event is stored", false)
	b.gate.mu.Unlock()
	if err := <-posted; err != nil {
		t.Fatal(err)
	}
	b.shut(t)
	if err := <-served; err != nil {
		t.Error(err)
	}

	b.open(t)
	defer b.shut(t)
	l := b.Status().Ledger
	if l.UncertainRequests == 0 || l.Events.Accepted != 1 || !l.Balanced {
		t.Errorf("after a stop that was not clean: %+v", l)
	}
}
