package session

import (
	"slices"
	"time"

	"forebay/shipper"
	"forebay/wal"
)

// parkedTold is the failure in a row at which a session that fails for itself
// is told of in the log: the first ones pass, as a rule.
const parkedTold = 3

// Front implements shipper.Fronted.
func (s *Sink) Front() (shipper.Front, bool) {
	f := s.front.Load()
	if f == nil {
		return shipper.Front{}, false
	}
	return *f, true
}

// publishFront makes visible how far delivery is beyond the position. A run that
// has not read as far as the one before it, in the same epoch, knows less.
func (r *run) publishFront() {
	old := r.sink.front.Load()
	if r.feed.Fill() || old != nil && old.Epoch == r.feed.Epoch() && r.next < old.Next {
		return
	}
	low := r.low()
	r.missing = slices.DeleteFunc(r.missing, func(g wal.Gap) bool { return g.Last < low })
	f := &shipper.Front{
		Epoch: r.feed.Epoch(), Next: r.next, Waiting: uint64(r.queued), Flowing: r.flowing(), Parked: r.trouble(),
	}
	for _, g := range r.missing {
		f.Lost += g.Last - max(g.First, low) + 1
	}
	switch {
	case r.breaker.open:
		f.NextTry = r.breaker.until.UTC()
	case len(r.waiting) > 0:
		f.NextTry = r.waiting[0].due.UTC()
	}
	r.sink.front.Store(f)
}

// flowing is the lowest seq that waits and is of no parked session. In the heap
// it is behind parked ones alone.
func (r *run) flowing() uint64 {
	lowest := r.next
	var look func(i int)
	look = func(i int) {
		if i >= len(r.byFirst) || r.byFirst[i].seq >= lowest {
			return
		}
		if r.byFirst[i].lane.failures == 0 {
			lowest = r.byFirst[i].seq
			return
		}
		look(2*i + 1)
		look(2*i + 2)
	}
	look(0)
	return lowest
}

// trouble sums up the parked sessions, nil if there are none.
func (r *run) trouble() *shipper.Parked {
	if len(r.parked) == 0 {
		return nil
	}
	p := &shipper.Parked{Sessions: len(r.parked)}
	for l := range r.parked {
		p.Events += uint64(len(l.queue))
		if !l.alone && r.passed.After(l.since) {
			l.alone = true
			r.troubles.changed[l.id] = l
			r.touch(r.passed)
		}
		if p.Since.IsZero() || l.since.Before(p.Since) {
			p.Since, p.Cause = l.since, l.cause
		}
	}
	p.Since = p.Since.UTC()
	if len(r.waiting) > 0 {
		p.NextTry = later(r.waiting[0].due, r.breaker.until).UTC()
	}
	return p
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
