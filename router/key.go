package router

import (
	"time"

	"forebay/router/auth"
	"forebay/router/event"
)

// findKey looks the key up that the header or the query shows. shown is false
// if there is none.
func (r *Router) findKey(p *passage) (shown bool) {
	text, shown := auth.FromRequest(p.req)
	if shown {
		r.lookUp(p, text)
	}
	return shown
}

// findKeyIn looks the key up that the body shows.
func (r *Router) findKeyIn(p *passage, body *buffer) {
	p.keyRule = ruleKeyMissing
	if body == nil || p.format != event.Envelope {
		return
	}
	if text := event.APIKey(body.b); text != nil {
		r.lookUp(p, string(text))
	}
}

// lookUp finds the key that a text stands for.
func (r *Router) lookUp(p *passage, text string) {
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
	p.key, p.keyRule, p.verdict.strict = key, "", key.Strict
}

// known reports whether the request's key is one that the operator has made.
func (p *passage) known() bool { return p.keyRule == "" }

// allow takes a token from the bucket that the request draws on.
func (r *Router) allow(p *passage) (ok bool, retryAfter time.Duration) {
	if p.known() {
		return r.limiter.Allow(p.key)
	}
	return r.limiter.AllowAddr(clientAddr(p.req, p.settings.TrustedProxies))
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
