package session

import (
	"log/slog"
	"time"
)

// rememberSize is how long requests are kept to a size that the endpoint has
// shown to be its most, growSize how often that size doubles afterwards, up to
// the configured one.
const (
	rememberSize = 10 * time.Minute
	growSize     = time.Minute
)

// sameTries is how often a request goes out as it was before it is halved, if
// each try fails in a way that may be its size's; proofs is how often a half has
// to pass where the whole failed, for the size to be what the endpoint minds.
// Once may be chance: an endpoint that was down and came back.
const (
	sameTries = 3
	proofs    = 2
)

// size is how large a request is.
type size struct{ events, bytes int }

func sizeOf(events []event) size {
	s := size{events: len(events)}
	for _, e := range events {
		s.bytes += len(e.raw)
	}
	return s
}

// measure says which part of a size a refusal is about.
type measure int

const (
	eventsOrBytes measure = iota // nobody says
	bytesAlone                   // 413
	eventsAlone                  // 431: the header names each event
)

// SizeLimit is what requests are kept to, since the Session Manager, or what
// stands before it, has taken parts of larger requests and not the whole.
type SizeLimit struct {
	Events int       `json:"events"`
	Bytes  int       `json:"bytes"` // of raw events; a larger event goes alone
	Since  time.Time `json:"since"`
	Grows  time.Time `json:"grows_at"` // when it doubles next
	Cause  string    `json:"cause"`
}

// sizes is what the endpoint takes, as far as it is known. It outlives a call
// of Ship, so that a resume does not begin with the full size again, and
// belongs to the goroutine of run.loop.
type sizes struct {
	most   size       // as configured
	limit  *SizeLimit // nil: nothing smaller is known to be needed
	logger *slog.Logger
}

// at is the most that goes into one request now.
func (s *sizes) at(now time.Time) size {
	for s.limit != nil && !now.Before(s.limit.Grows) {
		l := *s.limit
		l.Events, l.Bytes, l.Grows = min(2*l.Events, s.most.events), min(2*l.Bytes, s.most.bytes), l.Grows.Add(growSize)
		if s.limit = &l; l.Events == s.most.events && l.Bytes == s.most.bytes {
			s.limit = nil
			s.logger.Info("requests have their configured size again", "since", l.Since)
		}
	}
	if s.limit == nil {
		return s.most
	}
	return size{s.limit.Events, s.limit.Bytes}
}

// learn keeps requests to a size that passed where a larger one did not.
func (s *sizes) learn(now time.Time, passed size, by measure, cause string) {
	old := s.at(now)
	l := SizeLimit{Events: old.events, Bytes: old.bytes, Since: now.UTC(), Grows: now.Add(rememberSize).UTC(), Cause: cause}
	if by != bytesAlone {
		l.Events = min(l.Events, passed.events)
	}
	if by != eventsAlone {
		l.Bytes = min(l.Bytes, max(passed.bytes, 1))
	}
	if s.limit != nil {
		l.Since = s.limit.Since
	}
	s.limit = &l
	s.logger.Warn("the Session Manager takes the parts of a request and not the whole: requests are kept smaller; "+
		"set shippers.session.request.events and shippers.session.request.bytes, or raise its limit",
		"events", l.Events, "bytes", l.Bytes, "until", l.Grows, "cause", cause)
}

// sized is what a lane knows of requests that were too large. A whole that was
// refused, and whose events have all passed in parts, was refused for its size.
type sized struct {
	part  size    // the largest part that passed since the whole was refused
	by    measure // of the refusal
	cause string

	tries  int  // failures in a row that may be the size's
	halved bool // the request that goes out is part of one that failed
	proofs int
}

// failed notes a failure of n events that may be their size's. It returns how
// many are to go instead.
func (s *sized) failed(n int, cause string) int {
	if s.tries++; n == 1 || s.tries < sameTries && !s.halved && s.proofs == 0 {
		return n
	}
	s.halved, s.cause = true, cause
	return n / 2
}

// passed notes that a request was taken whole; whole is whether it was as large
// as requests may be. It returns true once the size is what fails.
func (s *sized) passed(whole bool) (proven bool) {
	s.tries = 0
	switch {
	case s.halved:
		s.halved = false
		s.proofs++
	case whole:
		s.proofs = 0
	}
	if s.proofs < proofs {
		return false
	}
	s.proofs = 0
	return true
}
