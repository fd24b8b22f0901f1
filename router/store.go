package router

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"forebay/router/dedupe"
	"forebay/router/event"
	"forebay/wal"
	"forebay/wal/record"
)

// Retry-After for strict senders, where the time is not known exactly.
const (
	overloadRetry = time.Second
	storageRetry  = 5 * time.Second
)

// drop ends a request that was not decoded.
func (r *Router) drop(p *passage, refusal event.Refusal, retryAfter time.Duration) {
	p.verdict.refusal, p.verdict.retryAfter = refusal, retryAfter
	r.tally.droppedRequest(p.stage, p.key.Project, refusal.Reason)
	p.stage = stageDone
	r.tap.add(newDrop(p, refusal))
}

// begin takes over the events of a decoded batch: from here on each has an
// outcome of its own.
func (r *Router) begin(p *passage, batch *event.Batch) {
	p.events = len(batch.Events)
	p.lastEvent = r.tally.decoded(p.stage, p.key.Project, p.events)
	p.stage = stageDecoded
	p.batch = record.Batch{
		Project: p.key.Project, SDKVersion: string(batch.SDKVersion), AppID: string(batch.AppID), Events: p.batch.Events[:0],
	}
	for i := range batch.Events {
		digest := dedupe.NoKey
		if key := batch.Events[i].IdempotencyKey; key != nil {
			digest = r.hasher.Digest(p.key.Project, alias(key))
		}
		p.verdict.events = append(p.verdict.events, eventOutcome{refusal: batch.Events[i].Refusal, digest: digest})
	}
}

// alias views b as a string without copying it. The string holds only as long
// as b does not change: it is for calls that keep nothing.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// reserve notes which events are still to be stored, refuses those that were
// stored before, and reserves the idempotency keys of the others. An event
// whose key another request holds right now is left out: that request decides.
func (r *Router) reserve(p *passage, batch *event.Batch) *dedupe.Reservation {
	for i := range batch.Events {
		if e := &p.verdict.events[i]; !e.refusal.Refused() {
			p.live = append(p.live, i)
			p.digests = append(p.digests, e.digest)
		}
	}
	return r.window.Reserve(p.digests)
}

// encode writes the events that are free to be stored as one record. It
// returns nil if there are none, or no room for them.
func (r *Router) encode(p *passage, batch *event.Batch, reservation *dedupe.Reservation) *buffer {
	size := len(p.batch.Project) + len(p.batch.SDKVersion) + len(p.batch.AppID) + 64
	for n, outcome := range reservation.Outcomes() {
		if outcome == dedupe.Free {
			e := &batch.Events[p.live[n]]
			p.batch.Events = append(p.batch.Events, record.Event{Session: alias(e.Session), Raw: e.Raw})
			size += len(e.Session) + len(e.Raw) + 16
		}
	}
	if len(p.batch.Events) == 0 {
		return nil
	}
	entry := p.pool.get(size)
	if entry != nil {
		entry.b = record.Append(entry.b, &p.batch)
	}
	return entry
}

// store appends the entry, and gives every live event its outcome.
func (r *Router) store(p *passage, entry *buffer, reservation *dedupe.Reservation) {
	defer p.pool.put(entry)
	// A sender that goes away does not undo its request: what has come this far
	// is stored or fails for a reason of its own.
	ctx := context.WithoutCancel(p.req.Context())
	var failure event.Rule
	if n := len(p.batch.Events); n > 0 {
		failure = r.append(ctx, p, entry, reservation.Reserved())
	}
	if failure == "" {
		reservation.Commit()
	} else {
		reservation.Release()
	}
	if err := reservation.Wait(ctx); err != nil {
		failure = ruleHolder
	}
	seq := p.verdict.firstSeq
	for n, outcome := range reservation.Outcomes() {
		e := &p.verdict.events[p.live[n]]
		switch {
		case outcome == dedupe.Duplicate:
			e.refusal = event.Refusal{Reason: event.Duplicate, Field: "idempotencyKey"}
		case outcome != dedupe.Free:
			e.refusal = event.Refusal{Reason: event.Storage, Rule: ruleHolder}
		case failure != "":
			e.refusal = event.Refusal{Reason: event.Storage, Rule: failure}
		default:
			e.seq = seq
			seq++
		}
	}
}

// append hands the entry to the log and returns the rule that kept it out.
func (r *Router) append(ctx context.Context, p *passage, entry *buffer, digests []uint64) event.Rule {
	if entry == nil {
		return ruleBytes
	}
	first, err := r.log.Append(ctx, wal.Entry{Data: entry.b, Events: len(p.batch.Events), Digests: digests})
	switch {
	case err == nil:
		p.verdict.firstSeq = first
		return ""
	case errors.Is(err, wal.ErrOverloaded):
		return ruleBacklog
	case errors.Is(err, wal.ErrTooLarge):
		return ruleEntryBytes
	}
	return ruleLog
}

// settle counts what became of the events.
func (r *Router) settle(p *passage) {
	var o outcome
	var failure event.Rule
	v := &p.verdict
	for i := range v.events {
		refusal := v.events[i].refusal
		if !refusal.Refused() {
			o.accepted++
			continue
		}
		o.dropped[refusal.Reason]++
		if refusal.Reason == event.Storage {
			failure = refusal.Rule
		}
		d := newDrop(p, refusal)
		d.IdempotencyDigest = v.events[i].digest
		r.tap.add(d)
	}
	v.accepted = o.accepted
	r.tally.settled(p.stage, p.key.Project, p.events, &o)
	p.stage = stageDone
	if o.dropped[event.Storage] > 0 && o.accepted == 0 {
		// Nothing is stored, so the sender may send all of it again.
		v.refusal, v.retryAfter = event.Refusal{Reason: event.Storage, Rule: failure}, storageRetry
	}
}

// abandon counts a request that a bug has ended. Events that have no outcome
// yet count as not stored: whether the log has them is not known.
func (r *Router) abandon(p *passage) {
	switch p.stage {
	case stageReceived:
		r.drop(p, event.Refusal{Reason: event.Overloaded, Rule: ruleInternal}, overloadRetry)
	case stageDecoded:
		for i := range p.verdict.events {
			if e := &p.verdict.events[i]; !e.refusal.Refused() && e.seq == 0 {
				e.refusal = event.Refusal{Reason: event.Storage, Rule: ruleInternal}
			}
		}
		r.settle(p)
	case stageDone:
	}
}
