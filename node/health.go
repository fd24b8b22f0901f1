package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/shipper"
)

// checkEvery is how often the checks are made.
const checkEvery = time.Second

// logPatience is how long standard error may take a line.
const logPatience = 2 * time.Second

// health keeps the outcome of the checks, with the time since when each is as
// it is.
type health struct {
	node *Node

	looking sync.Mutex // one look at a time; guards what follows
	stuck   *stuckWatch
	stall   stall

	mu     sync.Mutex
	checks []admin.Check
	looked time.Time // when the checks were made last
}

func newHealth(n *Node) *health {
	h := &health{node: n, stuck: newStuckWatch(func(cursor string) time.Duration {
		c := n.config().Shippers
		return map[string]time.Duration{clickhouseCursor: c.ClickHouse.Flush.Age, archiveCursor: c.Archive.Flush.Age}[cursor]
	})}
	h.look(time.Now())
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
			h.look(time.Now())
		}
	}
}

// look makes every check once, as of a wall clock that says now. Those that
// stop new events from being taken also turn readiness.
func (h *health) look(now time.Time) {
	h.looking.Lock()
	defer h.looking.Unlock()
	wall, mono := now.Round(0).UTC(), time.Now()
	cursors, keys := h.node.cursorStatus(), h.keyState(wall)
	checks := []admin.Check{
		h.accept(keys), h.drain(), h.durable(mono), h.disk(mono), h.ship(cursors), h.parked(cursors, wall), h.moves(cursors, mono), h.records(), keys.check(), h.clock(), h.ledger(cursors), h.log(mono),
		h.descriptors(),
	}
	if c, wanted := h.token(); wanted {
		checks = append(checks, c)
	}
	if c, read := h.schema(); read {
		checks = append(checks, c)
	}
	if c, watched := h.proven(wall); watched {
		checks = append(checks, c)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range checks {
		checks[i].Since = wall
		before, known := named(h.checks, checks[i].Name)
		if known && before.OK == checks[i].OK {
			checks[i].Since = before.Since
		}
		switch {
		case checks[i].Pending: // it is told once it is known
		case known && !before.Pending && before.OK == checks[i].OK:
		case (!known || before.Pending) && checks[i].OK:
		default:
			h.tell(checks[i])
		}
	}
	h.checks, h.looked = checks, mono
}

// tell logs a check that has turned.
func (h *health) tell(c admin.Check) {
	if c.OK {
		h.node.logger.Info("in order again", "check", c.Name)
		return
	}
	h.node.logger.Warn("not in order", "check", c.Name, "reason", c.Reason, "remedy", c.Remedy, "ready", c.Ready)
}

// named is the check of that name.
func named(checks []admin.Check, name string) (c admin.Check, found bool) {
	for _, c := range checks {
		if c.Name == name {
			return c, true
		}
	}
	return c, false
}

func (h *health) all() []admin.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]admin.Check(nil), h.checks...)
}

// Alive tells whether the node's checks are being made, which touch its log,
// its state, its cursors and its front door: a watchdog restarts a node in
// which one of them hangs for 10 s.
func (n *Node) Alive() bool {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	return time.Since(n.health.looked) < 10*checkEvery
}

func bad(name string, ready bool, remedy, format string, args ...any) admin.Check {
	return admin.Check{Name: name, Ready: ready, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// pending is a check that cannot say yet: what it asks has not been tried. It is not
// in order, and not logged.
func pending(name string, ready bool, format string, args ...any) admin.Check {
	c := bad(name, ready, "wait a moment", format, args...)
	c.Pending = true
	return c
}

func good(name string) admin.Check { return admin.Check{Name: name, OK: true, Ready: true} }

// accept: is there room, and are there keys to let anyone in?
func (h *health) accept(keys keyState) admin.Check {
	const name = "accept"
	d := h.node.disk.state()
	switch {
	case d.share >= unreadyAbove:
		outcome := "will soon drop new events"
		if d.share >= refuseAbove {
			outcome = "drops new events"
		}
		return bad(name, false, "free space, raise wal.disk_budget, or mend the destination of the cursor that lags",
			"the log holds %s of %s and %s; %s", admin.BytesText(d.used), admin.BytesText(d.budget), outcome, h.holder())
	}
	return keys.accept(name)
}

// holder names the cursor that the log is kept for.
func (h *health) holder() string {
	text, lowest := "no cursor holds it", h.node.log.DurableSeq()
	for _, c := range h.node.cursors.All() {
		if next := c.Next(); next <= lowest {
			lowest = next
			text = fmt.Sprintf("cursor %s holds it from seq %d on, %d events behind", c.Name(), next, h.node.log.DurableSeq()-next+1)
		}
	}
	return text
}

// durable: does the log take appends, and can cursors be saved?
func (h *health) durable(now time.Time) admin.Check {
	const name, remedy = "durable", "check the disk and the kernel's messages (dmesg); nothing that was accepted is lost"
	if err := h.node.disk.state().gone; err != nil {
		return bad(name, false, "put it back where it was (mv, mount), then the node goes on by itself; if it is lost, restart the node: it begins an empty log, and cursors with it",
			"%v", err)
	}
	s := h.node.log.Stats()
	if u := s.Unavailable; u != nil {
		return bad(name, false, remedy, "the log takes no appends since %s (%v); it tries again by itself", u.Since.UTC().Format(time.RFC3339), u.Cause)
	}
	if since := h.stall.hungSince(s.Commits, s.PendingBytes, now); !since.IsZero() {
		return bad(name, false, remedy, "appends wait for the disk since %s: it does not answer", since.UTC().Format(time.RFC3339))
	}
	if since := h.node.state.FullSince(); !since.IsZero() {
		return bad(name, true, "free space on the disk of node.data_dir: then it goes on by itself; what is delivered meanwhile is delivered again after a crash",
			"the state folder has had no space since %s: cursors cannot be saved", since.UTC().Format(time.RFC3339))
	}
	if err := h.node.disk.state().err; err != nil {
		return bad(name, true, remedy, "%v", err)
	}
	return good(name)
}

// disk: does it sync as fast as it did?
func (h *health) disk(now time.Time) admin.Check {
	if slow := h.node.syncs.slow(now); slow != "" {
		return bad("disk", true, "look for what else uses the disk (iostat -x 1), and at the disk itself (smartctl -a): a disk often slows down before it dies", "%s", slow)
	}
	return good("disk")
}

// log: do the node's own lines reach their reader?
func (h *health) log(now time.Time) admin.Check {
	o := h.node.logOutput()
	if !o.Since.IsZero() && now.Sub(o.Since) > logPatience {
		return bad("log", true, "have the reader of standard error read again (a pager, a full disk or pipe, a container's log driver); the node goes on without it",
			"standard error takes no lines since %s: %d wait, %d are lost; forebay status and the console show the last ones",
			o.Since.UTC().Format(time.RFC3339), o.Waiting, o.Lost)
	}
	return good("log")
}

// ship: is some cursor failing or paused?
func (h *health) ship(cursors []shipper.Status) admin.Check {
	var reasons, remedies []string
	for _, s := range cursors {
		if s.State != shipper.Running {
			remedies = append(remedies, s.Remedy())
		}
		switch {
		case s.State == shipper.Paused:
			reasons = append(reasons, fmt.Sprintf("cursor %s is paused by %s: %s", s.Name, s.Pause.By, s.Pause.Reason))
		case s.State == shipper.Failing:
			reasons = append(reasons, fmt.Sprintf("cursor %s fails since %s and is %d events behind: %s", s.Name, s.ErrorSince.Format(time.RFC3339), s.LagEvents, s.LastError))
		}
	}
	if len(reasons) > 0 {
		return bad("ship", true, strings.Join(remedies, "; "), "%s", strings.Join(reasons, "; "))
	}
	return good("ship")
}

// parkedPatience is how long sessions may fail before the check says so: most
// failures pass.
const parkedPatience = time.Minute

// parked: do some sessions fail while others are delivered?
func (h *health) parked(cursors []shipper.Status, now time.Time) admin.Check {
	for _, s := range cursors {
		if p := s.Parked; p != nil && s.State == shipper.Running && now.Sub(p.Since) > parkedPatience {
			return bad("parked", true, s.Remedy(), "%d of the sessions of cursor %s fail while others are delivered, since %s; %d events of theirs wait: %s",
				p.Sessions, s.Name, p.Since.Format(time.RFC3339), p.Events, p.Cause)
		}
	}
	return good("parked")
}

// moves: is some cursor stuck, neither failing nor paused?
func (h *health) moves(cursors []shipper.Status, now time.Time) admin.Check {
	var reasons, remedies []string
	for _, s := range cursors {
		if since := h.stuck.since(s, now); !since.IsZero() {
			reasons = append(reasons, fmt.Sprintf("cursor %s stands at seq %d since %s with %d events to deliver: %s",
				s.Name, s.NextSeq, since.UTC().Format(time.RFC3339), s.LagEvents, whyStuck(s)))
			remedies = append(remedies, fmt.Sprintf("look at the destination; forebay cursor pause %s and then resume %s begins its requests anew", s.Name, s.Name))
		}
	}
	if len(reasons) > 0 {
		return bad("progress", true, strings.Join(remedies, "; "), "%s", strings.Join(reasons, "; "))
	}
	return good("progress")
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
			BudgetBytes: d.budget, Full: d.full, FullIn: d.fullInSeconds(), RewindTo: log.OldestTime,
		},
		Cursors: n.cursorStatus(), Replays: n.unendedReplays(),
		Keys: n.keyring.status(),
	}
	s.Ledger, s.Drain = n.ledger.snapshot(s.Cursors), n.drained()
	if !n.readOnly {
		d := n.descriptors()
		s.Descriptors = &d
	}
	for _, c := range s.Checks {
		s.Accepting = s.Accepting && c.Ready
	}
	return s
}

// cursorStatus reads every cursor.
func (n *Node) cursorStatus() []shipper.Status {
	all := []shipper.Status{}
	for _, c := range n.cursors.All() {
		all = append(all, c.Status())
	}
	return all
}
