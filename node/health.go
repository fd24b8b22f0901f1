package node

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/shipper"
)

// checkEvery is how often the checks are made.
const checkEvery = time.Second

// staleKeys is the age from which cached keys are worth a word.
const staleKeys = 5 * time.Minute

// health keeps the outcome of the checks, with the time since when each is as
// it is.
type health struct {
	node *Node

	mu     sync.Mutex
	checks []admin.Check
}

func newHealth(n *Node) *health {
	h := &health{node: n}
	h.look(time.Now().UTC())
	return h
}

// run makes the checks until ctx ends.
func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.look(time.Now().UTC())
		}
	}
}

// look makes every check once. Those that stop new events from being taken
// also turn readiness.
func (h *health) look(now time.Time) {
	checks := []admin.Check{h.accept(), h.durable(), h.ship(), h.keys(), h.clock(now), h.ledger()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range checks {
		checks[i].Since = now
		if len(h.checks) == len(checks) && h.checks[i].OK == checks[i].OK {
			checks[i].Since = h.checks[i].Since
		}
	}
	h.checks = checks
}

func (h *health) all() []admin.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]admin.Check(nil), h.checks...)
}

func bad(name string, ready bool, format string, args ...any) admin.Check {
	return admin.Check{Name: name, Ready: ready, Reason: fmt.Sprintf(format, args...)}
}

func good(name string) admin.Check { return admin.Check{Name: name, OK: true, Ready: true} }

// accept: is there room, and are there keys to let anyone in?
func (h *health) accept() admin.Check {
	const name = "accept"
	d := h.node.disk.state()
	switch {
	case d.share >= refuseAbove:
		return bad(name, false, "the log holds %d of %d bytes that it may: new events are dropped; free space, raise wal.disk_budget, or mend the shipper that lags", d.used, d.budget)
	case d.share >= unreadyAbove:
		return bad(name, false, "the log holds %d of %d bytes that it may and will soon drop new events: free space, raise wal.disk_budget, or mend the shipper that lags", d.used, d.budget)
	case h.node.keys.Stale():
		return bad(name, false, "the cached keys are older than keys.max_stale, so no key is believed: bring back their source")
	case h.node.keys.Len() == 0:
		return bad(name, true, "there are no keys, so every request is dropped: create one with forebay keys create")
	}
	return good(name)
}

// durable: does the log take appends?
func (h *health) durable() admin.Check {
	const name = "durable"
	if u := h.node.log.Stats().Unavailable; u != nil {
		return bad(name, false, "the log takes no appends since %s (%v); it tries again by itself: check the disk", u.Since.UTC().Format(time.RFC3339), u.Cause)
	}
	if err := h.node.disk.state().err; err != nil {
		return bad(name, true, "%v", err)
	}
	return good(name)
}

// ship: is some cursor failing or paused?
func (h *health) ship() admin.Check {
	const name = "ship"
	for _, c := range h.node.cursors.All() {
		s := c.Status()
		switch {
		case s.State == shipper.Paused:
			return bad(name, true, "cursor %s is paused by %s: %s", s.Name, s.Pause.By, s.Pause.Reason)
		case s.State == shipper.Failing:
			return bad(name, true, "cursor %s fails since %s and is %d events behind: %s", s.Name, s.ErrorSince.Format(time.RFC3339), s.LagEvents, s.LastError)
		}
	}
	return good(name)
}

// keys: can their source be reached?
func (h *health) keys() admin.Check {
	const name = "keys"
	stats, age := h.node.source.Stats(), h.node.keys.Age()
	if stats.LastError != "" {
		return bad(name, true, "keys are %s old, their source (%s) cannot be read: %s", age.Round(time.Second), stats.Source, stats.LastError)
	}
	if age > staleKeys {
		return bad(name, true, "keys are %s old: their source (%s) has not answered since", age.Round(time.Second), stats.Source)
	}
	return good(name)
}

// ledger: does everything that came in have an outcome?
func (h *health) ledger() admin.Check {
	const name = "ledger"
	if requests, events := h.node.router.Tally().Imbalance(); requests != 0 || events != 0 {
		return bad(name, true, "the ledger does not balance (requests %+d, events %+d): this is a bug in forebay; keep the log and report it", requests, events)
	}
	return good(name)
}

// Checks implements admin.Node.
func (n *Node) Checks() []admin.Check { return n.health.all() }

// Status implements admin.Node.
func (n *Node) Status() admin.Status {
	log, d := n.log.Stats(), n.disk.state()
	s := admin.Status{
		NodeID: n.cfg.Node.ID, LogID: n.log.ID().String(), Version: n.version, StartedAt: n.started,
		Accepting: true, Checks: n.health.all(),
		Log: admin.LogStatus{
			FirstSeq: log.FirstSeq, DurableSeq: log.DurableSeq, Segments: log.Segments, Bytes: log.Bytes,
			BudgetBytes: d.budget, FullIn: math.Round(d.fullIn.Seconds()), RewindTo: log.OldestTime,
		},
		Cursors: []shipper.Status{},
		Keys: admin.KeyStatus{
			Source: n.cfg.Keys.Source, Count: n.keys.Len(), AgeSeconds: n.keys.Age().Seconds(),
			LastError: n.source.Stats().LastError,
		},
		Ledger: n.ledger.snapshot(),
	}
	for _, c := range s.Checks {
		s.Accepting = s.Accepting && c.Ready
	}
	for _, c := range n.cursors.All() {
		s.Cursors = append(s.Cursors, c.Status())
	}
	return s
}

// snapshot is the ledger as operators see it.
func (l *ledger) snapshot() admin.Ledger {
	t := l.router.Tally()
	requests, events := t.Imbalance()
	l.mu.Lock()
	defer l.mu.Unlock()
	return admin.Ledger{
		Requests: t.Requests, Events: t.Events, Projects: t.Projects,
		Uncertain: l.uncertain, Balanced: requests == 0 && events == 0,
	}
}
