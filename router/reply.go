package router

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"forebay/router/event"
)

// replyOK is what every sender with an ordinary key gets, and everyone without
// a key, whatever became of the request.
const replyOK = `{"success":true}`

// verdict is how a request ended, as far as the reply depends on it.
type verdict struct {
	strict     bool          // the sender may know
	closes     bool          // the body was not read to its end, so the connection ends
	refusal    event.Refusal // of the whole request
	retryAfter time.Duration // with RateLimited, Overloaded and Storage
	accepted   int
	firstSeq   uint64
	events     []eventOutcome
}

// eventOutcome is what became of one event.
type eventOutcome struct {
	refusal event.Refusal
	seq     uint64
	digest  uint64 // of its idempotency key, dedupe.NoKey without one
}

// receipt is the reply to a strict sender whose request was decoded.
type receipt struct {
	Success  bool          `json:"success"`
	Accepted int           `json:"accepted"`
	FirstSeq uint64        `json:"first_seq,omitempty"`
	Events   []eventResult `json:"events"`
}

type eventResult struct {
	Index   int    `json:"index"`
	Seq     uint64 `json:"seq,omitempty"`
	Dropped string `json:"dropped,omitempty"`
	Field   string `json:"field,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

// rejection is the reply to a strict sender whose request was dropped whole.
type rejection struct {
	Success bool   `json:"success"`
	Error   string `json:"error"`
	Field   string `json:"field,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

// fixedHeaders are values that replies share; nobody changes them.
type fixedHeaders struct{ json, origin, yes, close []string }

func newFixedHeaders() fixedHeaders {
	return fixedHeaders{json: []string{"application/json"}, origin: []string{"Origin"}, yes: []string{"true"}, close: []string{"close"}}
}

// reply answers a request. Without strict, nothing but the bytes on the wire
// before the reply decides what it looks like.
func (r *Router) reply(w http.ResponseWriter, req *http.Request, v *verdict) {
	header := w.Header()
	r.allowOrigin(header, req)
	header["Content-Type"] = r.headers.json
	if v.closes {
		header["Connection"] = r.headers.close
	}
	if v.strict {
		r.replyStrict(w, v)
		return
	}
	// A sender that has gone away cannot be told.
	_, _ = w.Write(r.replyOK)
}

// replyStrict tells a trusted sender what became of the request.
func (r *Router) replyStrict(w http.ResponseWriter, v *verdict) {
	var body any
	status := statusOf(v.refusal.Reason)
	if status != http.StatusOK {
		body = rejection{Error: v.refusal.Reason.String(), Field: v.refusal.Field, Rule: string(v.refusal.Rule)}
	} else {
		body = v.receipt()
	}
	text, err := json.Marshal(body)
	if err != nil { // plain structs of strings and numbers always marshal
		panic("router: " + err.Error())
	}
	if v.retryAfter > 0 {
		seconds := (v.retryAfter + time.Second - 1) / time.Second
		w.Header()["Retry-After"] = []string{strconv.Itoa(int(seconds))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func (v *verdict) receipt() receipt {
	out := receipt{Success: true, Accepted: v.accepted, FirstSeq: v.firstSeq, Events: make([]eventResult, len(v.events))}
	for i, e := range v.events {
		out.Events[i] = eventResult{Index: i, Seq: e.seq}
		if e.refusal.Refused() {
			out.Events[i] = eventResult{Index: i, Dropped: e.refusal.Reason.String(), Field: e.refusal.Field, Rule: string(e.refusal.Rule)}
		}
	}
	return out
}

// statusOf is the honest status for a request that was dropped whole.
func statusOf(reason event.Reason) int {
	switch reason {
	case event.None:
		return http.StatusOK
	case event.Unauthorized:
		return http.StatusUnauthorized
	case event.RateLimited:
		return http.StatusTooManyRequests
	case event.TooLarge:
		return http.StatusRequestEntityTooLarge
	case event.Overloaded, event.Storage:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// allowOrigin lets the sending page read the reply, whichever page it is: a
// list that is checked here would tell known keys from unknown ones. A
// project's origins decide about the events instead.
func (r *Router) allowOrigin(header http.Header, req *http.Request) {
	header["Vary"] = r.headers.origin
	if origin := req.Header["Origin"]; len(origin) > 0 {
		header["Access-Control-Allow-Origin"] = origin[:1]
		header["Access-Control-Allow-Credentials"] = r.headers.yes
	}
}

// preflightSeconds is how long a browser may remember a preflight. Chromium
// caps it at two hours.
const preflightSeconds = "86400"

// preflight answers a browser that asks whether it may send: it always may.
func (r *Router) preflight(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	r.allowOrigin(header, req)
	header.Set("Vary", "Origin, Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", "POST")
	if asked := req.Header["Access-Control-Request-Headers"]; len(asked) > 0 {
		header["Access-Control-Allow-Headers"] = asked
	}
	header.Set("Access-Control-Max-Age", preflightSeconds)
	w.WriteHeader(http.StatusNoContent)
}
