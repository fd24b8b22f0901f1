package router

import (
	"strings"
	"time"

	"forebay/router/event"
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
// that are handled at a time. The body is nil if there is a refusal, or if the
// sender has shown a key that is not known: then nothing in it can count.
func (r *Router) read(p *passage, shown bool) (*buffer, event.Refusal) {
	e := parseEncoding(p.req.Header["Content-Encoding"])
	keep := p.settings.Limits.BatchBytes
	switch {
	case shown && !p.known():
		keep = keepNothing
	case e != encodingNone:
		// A body that is larger compressed than what may come out of it is made
		// to keep the decompressor busy.
		keep += p.settings.Limits.BatchBytes/16 + 1024
	}
	p.pool = &r.buffers
	if !shown {
		p.pool = &r.beacons
	}
	wire, wireBytes, ended, refusal := p.pool.readBody(p.req.Body, p.settings.WireBytes, keep)
	p.verdict.closes = !ended
	p.span = span{read: time.Now(), class: sizeClass(wireBytes), encoded: e != encodingNone}
	if r.waiting.Add(1) > r.maxWaiting {
		r.waiting.Add(-1)
		p.atOnce = true
		p.pool.put(wire)
		return nil, event.Refusal{Reason: event.Overloaded, Rule: ruleWaiting}
	}
	p.waits = true
	if wire == nil {
		return nil, refusal
	}
	if p.format, refusal = bodyFormat(p.req.Header.Get("Content-Type"), p.format); refusal.Refused() {
		p.pool.put(wire)
		return nil, refusal
	}
	if r.inFlight.Add(1) > r.maxRequests {
		r.inFlight.Add(-1)
		p.pool.put(wire)
		return nil, event.Refusal{Reason: event.Overloaded, Rule: ruleRequests}
	}
	p.entered = true
	if e == encodingNone {
		return wire, event.Refusal{}
	}
	defer p.pool.put(wire)
	return r.decompressors.decompress(departure(p.req), p.pool, wire.b, e, p.settings.Limits.BatchBytes)
}

// leave gives the request's place and its body's memory back.
func (r *Router) leave(p *passage, body *buffer) {
	p.pool.put(body)
	if p.entered {
		r.inFlight.Add(-1)
	}
}
