package session

import "time"

// maxListed bounds the parked sessions that Stats names.
const maxListed = 100

// Parked is one session in trouble, as operators see it.
type Parked struct {
	Project  string    `json:"project"`
	Session  string    `json:"session"`
	Since    time.Time `json:"since"`
	Failures int       `json:"failures"`
	Cause    string    `json:"cause"`
	First    uint64    `json:"first_seq"` // its oldest undelivered event
	Waiting  int       `json:"waiting"`   // its undelivered events in memory
	Next     time.Time `json:"next_try"`
}

// Stats is what there is to know of a Sink; while it ships it is at most some
// 100 ms old. The counters are since New.
type Stats struct {
	Sessions    int       `json:"sessions"`   // with undelivered events in memory
	HeldBytes   int64     `json:"held_bytes"` // of those events
	InFlight    int       `json:"in_flight"`
	Marks       int       `json:"marks"`        // sessions delivered further than the cursor's position
	GapsPending int       `json:"gaps_pending"` // sessions with gaps they have not been told of
	Down        bool      `json:"down"`         // the whole endpoint is taken as down, and probed
	DownSince   time.Time `json:"down_since,omitzero"`
	ParkedCount int       `json:"parked_count"`
	Parked      []Parked  `json:"parked,omitempty"` // the first hundred
	Aside       int       `json:"aside"`            // sessions whose events are queued in the dead letters

	RequestEvents int        `json:"request_events"` // in a request at most
	RequestBytes  int        `json:"request_bytes"`
	RequestLimit  *SizeLimit `json:"request_limit,omitempty"` // nil: requests have their configured size

	Requests  uint64 `json:"requests"`
	Delivered uint64 `json:"delivered"` // events
	Failed    uint64 `json:"failed"`    // requests that are tried again
	Refused   uint64 `json:"refused"`   // requests answered with a 4xx
	Buried    uint64 `json:"buried"`    // events

	GapsForgotten uint64 `json:"gaps_forgotten"` // sessions that will not be told of gaps, since too many wait for it
}

// Stats returns the latest figures.
func (s *Sink) Stats() Stats {
	var st Stats
	if latest := s.stats.Load(); latest != nil {
		st = *latest
	} else {
		st.RequestEvents, st.RequestBytes = s.opts.RequestEvents, s.opts.RequestBytes
	}
	st.Requests, st.Delivered = s.requests.Load(), s.delivered.Load()
	st.Failed, st.Refused, st.Buried = s.failed.Load(), s.refused.Load(), s.buried.Load()
	st.GapsForgotten = s.forgotten.Load()
	return st
}

// Status implements shipper.Reporter.
func (s *Sink) Status() any { return s.Stats() }

// count adds one answered request to the counters.
func (s *Sink) count(done result) {
	s.requests.Add(1)
	switch done.answer.verdict {
	case accepted:
		s.delivered.Add(uint64(len(done.request.events)))
	case refused:
		s.refused.Add(1)
	default:
		s.failed.Add(1)
	}
}

// publish makes the loop's figures visible to Stats.
func (r *run) publish(now time.Time) {
	st := &Stats{
		Sessions: len(r.lanes), HeldBytes: r.held, InFlight: r.inFlight,
		Marks: len(r.marks.bySess), GapsPending: len(r.gaps.bySess),
		Down: r.breaker.open, ParkedCount: len(r.parked), Aside: len(r.troubles.aside),
	}
	if st.Down {
		st.DownSince = r.breaker.opened.UTC()
	}
	most := r.sink.sizes.at(now)
	st.RequestEvents, st.RequestBytes = most.events, most.bytes
	st.RequestLimit = r.sink.sizes.limit
	for _, l := range r.waiting[:min(len(r.waiting), maxListed)] {
		st.Parked = append(st.Parked, Parked{
			Project: l.key.project, Session: l.key.session, Since: l.since.UTC(), Failures: l.failures,
			Cause: l.cause, First: l.first(), Waiting: len(l.queue), Next: l.due.UTC(),
		})
	}
	r.sink.stats.Store(st)
	r.publishFront()
}

// SetAsideParked sets aside all sessions that are parked at the moment, so
// that the position can pass them: for a disk that is nearly full. While the
// sink does not ship it does nothing: when it ships again there may be room.
func (s *Sink) SetAsideParked() {
	s.setAside.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
