package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"forebay/node/state"
	"forebay/router"
	"forebay/wal"
)

// ledgerKey is where the counts are saved, once a second while they change.
const ledgerKey = "ledger/tally"

// saveEvery is how often; after a crash, what was dropped in the last such
// span may be missing from the counts.
const saveEvery = time.Second

// savedTally is the counts as they were saved.
type savedTally struct {
	Tally   router.Tally `json:"tally"`
	Skipped uint64       `json:"skipped_seqs"` // seqs that the log stepped over at its opens, since they were used elsewhere
	Clean   bool         `json:"clean"`        // saved at a stop, with nothing in flight
	At      time.Time    `json:"at"`
}

// ledger carries the router's counts over restarts. `accepted` is the log's
// own count: after a crash it is every seq that the log gave out, whatever
// was saved last.
type ledger struct {
	router  *router.Router
	state   *state.Store
	log     *wal.Log
	logger  *slog.Logger
	skipped uint64 // see savedTally

	mu        sync.Mutex
	uncertain uint64
	saved     [4]uint64 // what the counts came to at the last save, see progress
	err       error
}

// restore gives the router what the process before had counted.
func (l *ledger) restore() error {
	var s savedTally
	found, err := l.state.LoadJSON(ledgerKey, &s)
	if err != nil {
		return fmt.Errorf("load the ledger: %w", err)
	}
	l.skipped = s.Skipped
	if lost := l.log.Recovery().Lost; lost != nil {
		l.skipped += lost.Last - lost.First + 1
	}
	if !found {
		// Nothing is known of what came before. What comes now is, even if a
		// crash comes within the first second: so the beginning is saved.
		l.skipped = l.log.DurableSeq()
		return l.write(l.router.Tally(), false)
	}
	if accepted := l.log.DurableSeq() - min(l.skipped, l.log.DurableSeq()); !s.Clean && accepted > s.Tally.Events.Accepted {
		s.Tally.Events.Decoded += accepted - s.Tally.Events.Accepted
		s.Tally.Events.Accepted = accepted
		l.uncertain = s.Tally.Requests.InFlight + s.Tally.Events.InFlight
	}
	l.router.Restore(s.Tally)
	return nil
}

// run saves the counts each second until ctx ends.
func (l *ledger) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.note(l.save(false))
		}
	}
}

// save makes the counts durable if they have changed since the last time.
func (l *ledger) save(clean bool) error {
	t := l.router.Tally()
	mark := progress(t)
	l.mu.Lock()
	same := mark == l.saved && !clean
	l.mu.Unlock()
	if same {
		return nil
	}
	if err := l.write(t, clean); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = mark
	return nil
}

// progress is another one whenever any count is.
func progress(t router.Tally) [4]uint64 {
	return [4]uint64{t.Requests.Received, t.Requests.InFlight, t.Events.Decoded, t.Events.InFlight}
}

func (l *ledger) write(t router.Tally, clean bool) error {
	err := l.state.SaveJSON(ledgerKey, savedTally{Tally: t, Skipped: l.skipped, Clean: clean, At: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("save the ledger: %w", err)
	}
	return nil
}

func (l *ledger) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err == nil {
		l.logger.Error("counts cannot be saved", "err", err)
	}
	l.err = err
}
