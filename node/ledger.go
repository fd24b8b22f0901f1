package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/node/state"
	"forebay/router"
	"forebay/router/event"
	"forebay/shipper"
	"forebay/wal"
)

// ledgerKey is where the counts are saved, once a second while they change.
const ledgerKey = "ledger/tally"

// saveEvery is how often.
const saveEvery = time.Second

// The ceiling is saved so far ahead of the counts: two seconds' worth at the
// pace since the save before, within these bounds.
const (
	leastAhead = 100
	mostAhead  = 1_000_000
)

// savedTally is the counts as they were saved.
type savedTally struct {
	Tally   router.Tally `json:"tally"`
	Skipped uint64       `json:"skipped_seqs"` // seqs that the log stepped over at its opens, since they were used elsewhere
	Clean   bool         `json:"clean"`        // saved at a stop, with nothing in flight
	At      time.Time    `json:"at"`

	// No request and no event with a higher number was answered, see
	// router.Ceiling.
	CeilingRequests uint64 `json:"ceiling_requests"`
	CeilingEvents   uint64 `json:"ceiling_events"`

	Uncertain uncertainty `json:"uncertain"` // from crashes before
}

// uncertainty is how much more than what is counted may have been answered,
// at most: by all crashes since the counts began.
type uncertainty struct {
	Requests uint64 `json:"requests"`
	Events   uint64 `json:"events"` // dropped ones; accepted ones are in the log
}

// ledger carries the router's counts over restarts. `accepted` is the log's
// own count: after a crash it is every seq that the log gave out, whatever
// was saved last.
type ledger struct {
	router  *router.Router
	ceiling *router.Ceiling
	state   *state.Store
	log     *wal.Log
	logger  *slog.Logger

	skipped   uint64      // see savedTally
	uncertain uncertainty // likewise
	restored  router.Tally

	saving sync.Mutex // one save at a time
	last   savedTally // what was saved last
	ahead  [2]uint64  // how far the ceiling was put ahead then: requests, events

	mu  sync.Mutex
	err error // of the last save
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
	} else {
		s.settle(l.log.DurableSeq() - min(l.skipped, l.log.DurableSeq()))
		l.uncertain = s.Uncertain
		l.router.Restore(s.Tally)
	}
	l.restored = l.router.Tally()
	return l.save(false)
}

// settle makes of the counts saved before a crash what is known now: the log
// tells how many events it has accepted, the ceiling how much was answered at
// most. Of events accepted after the save nobody knows the project.
func (s *savedTally) settle(accepted uint64) {
	if s.Clean {
		return
	}
	r, e := s.Tally.Requests, s.Tally.Events
	s.Uncertain.Requests += above(s.CeilingRequests, r.Received-r.InFlight)
	s.Uncertain.Events += above(s.CeilingEvents, e.Decoded-e.InFlight)
	if more := above(accepted, e.Accepted); more > 0 {
		s.Tally.Events.Decoded += more
		s.Tally.Events.Accepted = accepted
		if s.Tally.Projects == nil {
			s.Tally.Projects = map[string]router.ProjectTally{}
		}
		p := s.Tally.Projects[router.UnknownProject]
		p.Events.Decoded += more
		p.Events.Accepted += more
		s.Tally.Projects[router.UnknownProject] = p
	}
}

func above(a, b uint64) uint64 { return a - min(a, b) }

// run saves the counts each second until ctx ends, and at once when an answer
// waits for that.
func (l *ledger) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.ceiling.Wanted():
		}
		l.note(l.save(false))
	}
}

// save makes the counts durable if they have changed since the last time, and
// puts the ceiling above them. clean says that no request will come any more;
// one may still be in flight, if it did not end in time.
func (l *ledger) save(clean bool) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	t := l.router.Tally()
	clean = clean && t.Requests.InFlight == 0 && t.Events.InFlight == 0
	s := savedTally{Tally: t, Skipped: l.skipped, Clean: clean, At: time.Now().UTC(), Uncertain: l.uncertain}
	since := s.At.Sub(l.last.At)
	ahead := [2]uint64{
		distance(s.Tally.Requests.Received-l.last.Tally.Requests.Received, since),
		distance(s.Tally.Events.Decoded-l.last.Tally.Events.Decoded, since),
	}
	if progress(s.Tally) == progress(l.last.Tally) && ahead == l.ahead && !clean && !l.ceiling.Overdue() && !l.last.At.IsZero() {
		return nil
	}
	s.CeilingRequests, s.CeilingEvents = s.Tally.Requests.Received+ahead[0], s.Tally.Events.Decoded+ahead[1]
	requests, events := l.ceiling.Get()
	if !l.ceiling.Overdue() { // a lower one holds before it is saved
		l.ceiling.Set(min(requests, s.CeilingRequests), min(events, s.CeilingEvents))
	}
	if err := l.state.SaveJSON(ledgerKey, s); err != nil {
		return fmt.Errorf("save the ledger: %w", err)
	}
	l.last, l.ahead = s, ahead
	l.ceiling.Set(s.CeilingRequests, s.CeilingEvents)
	return nil
}

// distance is how far ahead of a count its ceiling is put, after so many more
// in so long.
func distance(more uint64, since time.Duration) uint64 {
	perSecond := float64(more) / max(since, time.Millisecond).Seconds()
	return uint64(min(max(2*perSecond, leastAhead), mostAhead))
}

// progress is another one whenever any count is.
func progress(t router.Tally) [4]uint64 {
	return [4]uint64{t.Requests.Received, t.Requests.InFlight, t.Events.Decoded, t.Events.InFlight}
}

func (l *ledger) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err == nil {
		l.logger.Error("counts cannot be saved", "err", err)
	}
	l.err = err
}

func (l *ledger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// snapshot is the ledger as operators see it.
func (l *ledger) snapshot(cursors []shipper.Status) admin.Ledger {
	t := l.router.Tally()
	return ledgerOf(t, l.uncertain, l.imbalance(t, cursors) == "")
}

func ledgerOf(t router.Tally, u uncertainty, balanced bool) admin.Ledger {
	return admin.Ledger{
		Requests: t.Requests, Events: t.Events, Projects: t.Projects,
		Uncertain: u.Requests + u.Events, UncertainRequests: u.Requests, UncertainEvents: u.Events,
		Balanced: balanced,
	}
}

// imbalance says what does not add up, "" if all does: what came in and what
// became of it, in all and by project, what the front door saw stored and what
// the log did store, and what the log gave out and what became of it at each
// cursor.
func (l *ledger) imbalance(t router.Tally, cursors []shipper.Status) string {
	if off := t.Unbalanced(); off != "" {
		return off
	}
	for _, c := range cursors {
		if c.Account.Imbalance != 0 {
			return fmt.Sprintf("cursor %s accounts for %d of %d seqs", c.Name, int64(c.Account.Accepted)-c.Account.Imbalance, c.Account.Accepted)
		}
	}
	stored := l.log.Stats().Events + l.restored.Events.Accepted
	most := l.router.Tally().Events
	// What failed may have been stored all the same: nobody was told that it was.
	failed := most.Dropped[event.Storage.String()] - l.restored.Events.Dropped[event.Storage.String()]
	if stored < t.Events.Accepted || stored > most.Accepted+most.InFlight+failed {
		return fmt.Sprintf("the log has stored %d events, the front door counts %d as accepted, %d in flight and %d failed", stored, most.Accepted, most.InFlight, failed)
	}
	return ""
}

// snapshot is the ledger of a node that does not run.
func (s *savedTally) snapshot(durable uint64, cursors []shipper.Status) admin.Ledger {
	s.settle(durable - min(s.Skipped, durable))
	balanced := s.Tally.Unbalanced() == "" && !slices.ContainsFunc(cursors, func(c shipper.Status) bool { return c.Account.Imbalance != 0 })
	return ledgerOf(s.Tally, s.Uncertain, balanced)
}

// ledger: does everything that came in have an outcome?
func (h *health) ledger(cursors []shipper.Status) admin.Check {
	const name, remedy = "ledger", "look at the disk of the state folder"
	l := h.node.ledger
	if off := l.imbalance(h.node.router.Tally(), cursors); off != "" {
		return bad(name, true, "this is a bug in forebay: keep the log and report it", "the ledger does not balance (%s)", off)
	}
	if err := l.failure(); err != nil {
		return bad(name, true, remedy, "%v: a crash would now leave out counts without a bound", err)
	}
	if l.ceiling.Overdue() {
		return bad(name, true, remedy, "the counts could not be saved within a second: a crash would now leave out counts without a bound")
	}
	return good(name)
}
