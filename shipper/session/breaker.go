package session

import (
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
)

// tripSessions is how many sessions must begin to fail in a row, with no
// success in between, for the endpoint to be taken as down.
const tripSessions = 10

// startLimit is how many requests may be in flight at first, growEvery how
// often their number grows by one while none is answered: the first sessions
// may be just those that hang.
const (
	startLimit = 4
	growEvery  = time.Second
)

// breaker guards the endpoint as a whole. While it is open, requests go out
// one at a time, with growing pauses; once one is answered, the number of
// requests in flight grows from one, doubling each round trip. A session that
// is known to fail tells nothing new about the endpoint and does not count.
type breaker struct {
	lanes int // requests in flight when all is well

	limit   int       // requests in flight allowed while closed
	grown   time.Time // when it grew last
	failing map[header.SessionID]struct{}
	backoff shipper.Backoff
	open    bool
	until   time.Time // while open: no request before
	opened  time.Time
	outages time.Duration // how long it was open before, in all
}

func newBreaker(lanes int, now time.Time) breaker {
	return breaker{lanes: lanes, limit: min(startLimit, lanes), grown: now, failing: map[header.SessionID]struct{}{}}
}

// allowed is how many requests may be in flight now.
func (b *breaker) allowed(now time.Time) int {
	switch {
	case !b.open:
		return b.limit
	case now.Before(b.until):
		return 0
	}
	return 1
}

// answered notes that the endpoint is alive. It returns true if it had been
// taken as down.
func (b *breaker) answered(now time.Time) (again bool) {
	clear(b.failing)
	if b.open {
		b.open, b.limit, b.grown = false, 1, now
		b.outages += now.Sub(b.opened)
		b.backoff.Reset()
		return true
	}
	b.grow(now)
	return false
}

// grow allows one request more in flight.
func (b *breaker) grow(now time.Time) {
	b.limit, b.grown = min(b.limit+1, b.lanes), now
}

// stuck says whether those in flight are as many as may be, for now.
func (b *breaker) stuck(inFlight int) bool {
	return !b.open && inFlight >= b.limit && b.limit < b.lanes
}

// wait allows one more when those in flight take long.
func (b *breaker) wait(now time.Time, inFlight int) {
	if b.stuck(inFlight) && !now.Before(b.grown.Add(growEvery)) {
		b.grow(now)
	}
}

// failed notes a failed request: of which session, whether it is the
// session's first, whether a connection came about at all, and how long the
// endpoint asked to be left alone.
func (b *breaker) failed(now time.Time, id header.SessionID, first, down bool, retryAfter time.Duration) {
	if b.open {
		if !now.Before(b.until) { // the probe; others were under way when it opened
			b.until = now.Add(max(b.backoff.Next(), retryAfter))
		}
		return
	}
	if first {
		b.failing[id] = struct{}{}
	}
	if down || len(b.failing) >= tripSessions {
		b.open, b.opened = true, now
		b.until = now.Add(max(b.backoff.Next(), retryAfter))
		clear(b.failing)
	}
}

// outage is how long the endpoint was down in all.
func (b *breaker) outage(now time.Time) time.Duration {
	if b.open {
		return b.outages + now.Sub(b.opened)
	}
	return b.outages
}
