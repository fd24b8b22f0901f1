package router

import (
	"net/http"
	"time"

	"forebay/router/auth"
	"forebay/router/event"
	"forebay/wal/record"
)

// passage is one request on its way through the pipeline. It is reused, and
// its slices with it.
type passage struct {
	req      *http.Request
	format   event.Format
	now      time.Time
	settings *settings
	key      auth.Key   // the zero Key if it is not known
	keyRule  event.Rule // why it is not known
	pool     *buffers   // where its memory comes from
	entered  bool       // it has a place among the requests that are handled
	waits    bool       // it counts among those that wait for their reply
	atOnce   bool       // there is no room to hold its reply, whatever becomes of it
	span     span       // what the time of its reply depends on
	stage    stage
	verdict  verdict

	number, lastEvent uint64 // of the request and its last event, as they are counted
	events            int    // as they were decoded

	live    []int    // the events that nothing has refused yet, as indices of verdict.events
	digests []uint64 // of their idempotency keys, dedupe.NoKey for those without
	batch   record.Batch

	looksLike string // whose SDK it seems to come from, if it brings nothing of the node's form
}

// ingest takes one request from its body to the log. It returns once every
// event is durable or dropped, and counted. Read it from top to bottom: each
// step either passes the request on or ends it with a refusal.
func (r *Router) ingest(p *passage) {
	p.number = r.tally.received()

	// Key: from the header or the query.
	shown := r.findKey(p)

	// Read: to the end or the wire cap, whoever sends.
	body, refusal := r.read(p, shown)
	defer func() { r.leave(p, body) }()

	// Key of a sender that can set no header: a bounded look into the body.
	if !shown {
		r.findKeyIn(p, body)
	}
	if refusal.Reason == event.Overloaded {
		r.drop(p, refusal, overloadRetry)
		return
	}

	// Rate limit: the key's own bucket, or the client address's.
	if ok, retryAfter := r.allow(p); !ok {
		r.drop(p, event.Refusal{Reason: event.RateLimited}, retryAfter)
		return
	}

	// Auth: known, active, not expired, origin allowed. A body that could not be
	// read may have held the key, so its own refusal tells more.
	rule := r.authorize(p)
	if rule != "" && (rule != ruleKeyMissing || !refusal.Refused()) {
		refusal = event.Refusal{Reason: event.Unauthorized, Rule: rule}
	}
	if refusal.Refused() {
		p.look(refusal, body)
		r.drop(p, refusal, 0)
		return
	}

	// Decode and validate. From here on refusals are the events' own.
	decoder := p.settings.decoders.Get().(*event.Decoder)
	batch, refusal := decoder.Decode(body.b, p.format, p.now)
	if refusal.Refused() {
		p.settings.putDecoder(decoder)
		p.look(refusal, body)
		r.drop(p, refusal, 0)
		return
	}
	if len(batch.Events) > 0 && batch.Events[0].Refusal.Rule == event.RuleMissing {
		p.looksLike = bodyLooksLike(p.req, body.b)
	}
	r.begin(p, batch)

	// Privacy: every key and string of every event.
	r.inspect(p, batch)

	// Dedupe: reserve the idempotency keys that nobody has.
	reservation := r.reserve(p, batch)
	defer reservation.Release() // does nothing after Commit

	// Append: what is stored is durable when this returns.
	entry := r.encode(p, batch, reservation)
	p.settings.putDecoder(decoder)
	p.pool.put(body)
	body = nil
	r.store(p, entry, reservation)
	r.settle(p)
}

// reset makes the passage ready for another request. It keeps the memory of
// its slices, up to what an ordinary batch needs.
func (p *passage) reset() {
	clear(p.verdict.events)
	clear(p.batch.Events)
	*p = passage{
		verdict: verdict{events: p.verdict.events[:0]},
		live:    p.live[:0],
		digests: p.digests[:0],
		batch:   record.Batch{Events: p.batch.Events[:0]},
	}
}
