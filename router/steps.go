package router

import (
	"context"
	"errors"
	"strings"
	"time"
	"unsafe"

	"forebay/router/auth"
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

// Rules of refusals outside the body.
const (
	ruleMediaType  event.Rule = "media_type"    // an unknown Content-Type
	ruleKeyMissing event.Rule = "key_missing"   // no key in the request
	ruleKeyForm    event.Rule = "key_malformed" // a text that cannot be a key
	ruleKeyUnknown event.Rule = "key_unknown"
	ruleRevoked    event.Rule = "key_revoked"
	ruleExpired    event.Rule = "key_expired"
	ruleOrigin     event.Rule = "origin"             // the key may not be used by this page
	ruleBacklog    event.Rule = "append_backlog"     // too many appends are waiting for the disk
	ruleLog        event.Rule = "log_unavailable"    // the log takes no appends
	ruleEntryBytes event.Rule = "entry_bytes"        // more than the log takes at once
	ruleHolder     event.Rule = "held_and_failed"    // the request that held the key failed
	ruleBytes      event.Rule = "in_flight_bytes"    // no room for the body
	ruleRequests   event.Rule = "in_flight_requests" // too many requests are being handled
)

// bodyFormat is the layout of a body. JSON is what a path takes by default,
// text/plain is how a beacon sends it.
func bodyFormat(contentType string, path event.Format) (event.Format, event.Refusal) {
	mediaType, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "", "application/json", "text/plain":
		return path, event.Refusal{}
	case "application/x-ndjson":
		if path == event.Single {
			return event.Single, event.Refusal{}
		}
		return event.Lines, event.Refusal{}
	}
	return path, event.Refusal{Reason: event.Malformed, Rule: ruleMediaType}
}

// read reads the body, decompresses it, and takes a place among the requests
// that are handled at a time. The body is nil if there is a refusal.
func (r *Router) read(p *passage) (*buffer, event.Refusal) {
	e := parseEncoding(p.req.Header["Content-Encoding"])
	keep := r.batchBytes
	if e != encodingNone {
		keep = r.wireBytes
	}
	wire, ended, refusal := r.buffers.readBody(p.req.Body, r.wireBytes, keep)
	p.verdict.closes = !ended
	if refusal.Refused() {
		return nil, refusal
	}
	if p.format, refusal = bodyFormat(p.req.Header.Get("Content-Type"), p.format); refusal.Refused() {
		r.buffers.put(wire)
		return nil, refusal
	}
	if r.inFlight.Add(1) > r.maxRequests {
		r.inFlight.Add(-1)
		r.buffers.put(wire)
		return nil, event.Refusal{Reason: event.Overloaded, Rule: ruleRequests}
	}
	p.entered = true
	if e == encodingNone {
		return wire, event.Refusal{}
	}
	defer r.buffers.put(wire)
	return r.decompressors.decompress(p.req.Context(), &r.buffers, wire.b, e, r.batchBytes)
}

// leave gives the request's place and its body's memory back.
func (r *Router) leave(p *passage, body *buffer) {
	r.buffers.put(body)
	if p.entered {
		r.inFlight.Add(-1)
	}
}

// findKey finds the key's text in the request or its body, and the key that it
// stands for.
func (r *Router) findKey(p *passage, body *buffer) {
	text, found := auth.FromRequest(p.req)
	if !found && body != nil && p.format == event.Envelope {
		inBody := event.APIKey(body.b)
		text, found = string(inBody), inBody != nil
	}
	if !found {
		p.keyRule = ruleKeyMissing
		return
	}
	digest, err := auth.ParseKey(text)
	if err != nil {
		p.keyRule = ruleKeyForm
		return
	}
	key, known := r.keys.Lookup(digest)
	if !known {
		p.keyRule = ruleKeyUnknown
		return
	}
	p.key, p.verdict.strict = key, key.Strict
}

// known reports whether the request's key is one that the operator has made.
func (p *passage) known() bool { return p.keyRule == "" }

// allow takes a token from the bucket that the request draws on.
func (r *Router) allow(p *passage) (ok bool, retryAfter time.Duration) {
	if p.known() {
		return r.limiter.Allow(p.key)
	}
	return r.limiter.AllowAddr(clientAddr(p.req, r.trustedProxies))
}

// authorize returns the rule by which the key may not send, or "".
func (r *Router) authorize(p *passage) event.Rule {
	if !p.known() {
		return p.keyRule
	}
	now := p.now
	if now.IsZero() { // an expiry is judged even by a clock that is not believed
		now = time.Now()
	}
	switch p.key.State(now, p.req.Header.Get("Origin")) {
	case auth.Active:
		return ""
	case auth.Revoked:
		return ruleRevoked
	case auth.Expired:
		return ruleExpired
	case auth.OriginRefused:
		return ruleOrigin
	}
	return ruleKeyUnknown
}

// drop ends a request that was not decoded.
func (r *Router) drop(p *passage, refusal event.Refusal, retryAfter time.Duration) {
	p.verdict.refusal, p.verdict.retryAfter = refusal, retryAfter
	r.tally.droppedRequest(p.key.Project, refusal.Reason)
	r.tap.add(newDrop(time.Now(), p, refusal))
}

// begin takes over the events of a decoded batch: from here on each has an
// outcome of its own.
func (r *Router) begin(p *passage, batch *event.Batch) {
	p.batch = record.Batch{
		Project: p.key.Project, SDKVersion: string(batch.SDKVersion), AppID: string(batch.AppID), Events: p.batch.Events[:0],
	}
	for i := range batch.Events {
		p.verdict.events = append(p.verdict.events, eventOutcome{refusal: batch.Events[i].Refusal})
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
		if e := &batch.Events[i]; !p.verdict.events[i].refusal.Refused() {
			digest := dedupe.NoKey
			if e.IdempotencyKey != nil {
				digest = r.hasher.Digest(p.key.Project, alias(e.IdempotencyKey))
			}
			p.live = append(p.live, i)
			p.digests = append(p.digests, digest)
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
	entry := r.buffers.get(size)
	if entry != nil {
		entry.b = record.Append(entry.b, &p.batch)
	}
	return entry
}

// store appends the entry, and gives every live event its outcome.
func (r *Router) store(p *passage, entry *buffer, reservation *dedupe.Reservation) {
	// A sender that goes away does not undo its request: what has come this far
	// is stored or fails for a reason of its own.
	ctx := context.WithoutCancel(p.req.Context())
	var failure event.Rule
	if n := len(p.batch.Events); n > 0 {
		failure = r.append(ctx, p, entry, reservation.Reserved())
	}
	r.buffers.put(entry)
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
	v := &p.verdict
	for i := range v.events {
		refusal := v.events[i].refusal
		if !refusal.Refused() {
			o.accepted++
			continue
		}
		o.dropped[refusal.Reason]++
		r.tap.add(newDrop(time.Now(), p, refusal))
	}
	v.accepted = o.accepted
	r.tally.settled(p.key.Project, &o)
	if o.dropped[event.Storage] > 0 && o.accepted == 0 {
		// Nothing is stored, so the sender may send all of it again.
		v.refusal, v.retryAfter = event.Refusal{Reason: event.Storage}, storageRetry
	}
}
